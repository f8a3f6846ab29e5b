"""Corpora, tokenisers and the dataset pipeline that every recipe shares."""
