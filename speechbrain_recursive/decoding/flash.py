"""CTC beam search with KenLM in the C++ of ``flashlight-text``, where it and ``kenlm`` are installed."""

import math
import os
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

from speechbrain_recursive.decoding.lexicon import Lexicon
from speechbrain_recursive.decoding.prefix import Options
from speechbrain_recursive.errors import UserError

try:
    from flashlight.lib.text import decoder as flashlight
    from flashlight.lib.text.decoder.kenlm import KenLM
    from flashlight.lib.text.dictionary import Dictionary
except ImportError:  # flashlight-text has no wheels for this Python, or kenlm did not compile
    ENGINE = None
else:
    ENGINE = f"flashlight-text {version('flashlight-text')} with KenLM"


@contextmanager
def _quiet():
    """Keep what C++ prints of its progress off the standard error."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class FlashlightSearch:
    """The search of :class:`speechbrain_recursive.decoding.prefix.PrefixSearch`, with a boundary only.

    Without a boundary, flashlight's search cannot stay on the last token of a word, so that it would
    miss most alignments.

    Arguments
    ---------
    lexicon : Lexicon
        The words.
    ngram : str or Path
        An ARPA file or KenLM binary.
    options : Options
        Weights and limits.

    Raises
    ------
    UserError
        If KenLM cannot load the n-gram.
    """

    def __init__(self, lexicon: Lexicon, ngram: str | Path, options: Options):
        try:
            with _quiet():
                self._lm = KenLM(str(ngram), Dictionary(lexicon.words))
        except RuntimeError as error:  # the reason is the last line, after a source location
            raise UserError(f"KenLM cannot load {ngram}: {str(error).splitlines()[-1]}") from None
        (silence,), start = lexicon.boundary, self._lm.start(False)
        self._trie = flashlight.Trie(lexicon.size, silence)
        for index, spelling in enumerate(lexicon.spellings):
            self._trie.insert(spelling, index, self._lm.score(start, index)[1])
        self._trie.smear(flashlight.SmearingMode.MAX)
        settings = flashlight.LexiconDecoderOptions(
            beam_size=options.width,
            beam_size_token=min(lexicon.size, options.tokens),
            beam_threshold=options.threshold,
            lm_weight=options.weight * math.log(10),  # KenLM's scores are log10
            word_score=options.bonus,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=True,
            criterion_type=flashlight.CriterionType.CTC,
        )
        parts = settings, self._trie, self._lm, silence, lexicon.blank
        self._decoder = flashlight.LexiconDecoder(*parts, -1, [], False)

    def __call__(self, log_probs: np.ndarray) -> tuple[list[int], float]:
        """Search one utterance; see :meth:`PrefixSearch.__call__`."""
        best = self._decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        return [word for word in best.words if word >= 0], best.score
