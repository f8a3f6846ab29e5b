"""Corpora, tokenizers and the dataset pipeline that every recipe shares."""
