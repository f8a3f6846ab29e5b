"""Hooks that condition the loops of a block: on depth, entry state, posteriors, low-rank weights."""
