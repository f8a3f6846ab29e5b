"""Beam search over the words of an n-gram, in the engine that is installed."""

import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from speechbrain_recursive.decoding import flash
from speechbrain_recursive.decoding.lexicon import Lexicon
from speechbrain_recursive.decoding.lm import load_ngram
from speechbrain_recursive.decoding.prefix import Options, PrefixSearch

logger = logging.getLogger(__name__)


class LexiconSearch:
    """The search of :class:`~speechbrain_recursive.decoding.beam.NgramBeam`, which needs no PyTorch.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, ``encode``, ``blank`` and ``unk``.
    ngram : str or Path
        An ARPA file or KenLM binary.
    options : Options
        Weights and limits.

    Attributes
    ----------
    engine : str
        What searches, with its version.
    """

    def __init__(self, tokenizer: Any, ngram: str | Path, options: Options):
        self._lexicon = Lexicon(tokenizer, ngram)
        if flash.ENGINE and self._lexicon.boundary:
            self.engine = flash.ENGINE
            self._engine = flash.FlashlightSearch(self._lexicon, ngram, options)
        else:
            self.engine = f"NumPy {version('numpy')}"
            self._engine = PrefixSearch(self._lexicon, load_ngram(ngram), options)
        logger.info("n-gram beam search over %s runs in %s", ngram, self.engine)

    def __call__(self, log_probs: np.ndarray) -> list[int]:
        """Token ids of an utterance, from its CTC log-posteriors [T, V]."""
        if len(log_probs) == 0:
            return []
        words, _ = self._engine(self._lexicon.frames(log_probs))
        return self._lexicon.tokens(words)
