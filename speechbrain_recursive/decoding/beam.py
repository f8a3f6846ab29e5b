"""CTC beam search with a word n-gram."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speechbrain.utils.logger import get_logger

from speechbrain_recursive.decoding import flash
from speechbrain_recursive.decoding.arpa import is_binary
from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting
from speechbrain_recursive.decoding.lexicon import Lexicon, read_lexicon
from speechbrain_recursive.decoding.lm import import_kenlm, load_ngram
from speechbrain_recursive.decoding.ngram import check_order
from speechbrain_recursive.decoding.prefix import Options, PrefixSearch
from speechbrain_recursive.nn.request import Outputs

logger = get_logger(__name__)


@dataclass(frozen=True)
class NgramBeam(Decoder):
    """Finds the words that maximize log p_ctc + weight * log p_lm + bonus * number of words.

    Logarithms are natural, and p_lm includes the end of the sentence. Only words of the n-gram can come
    out, spelled by the tokenizer. The probabilities of all alignments of one word sequence that stay in
    the beam are summed.

    Two engines give the same scores. If the tokenizer has a piece ``|`` between words, the search runs
    in the C++ of flashlight-text where this is installed with kenlm. Otherwise, and for all tokenizers
    without ``|`` (SentencePiece, Chinese characters), whose alignments flashlight cannot sum, it runs in
    NumPy (:class:`speechbrain_recursive.decoding.prefix.PrefixSearch`).

    Arguments
    ---------
    ngram : str or Path, optional
        An ARPA file, plain or gzipped, or a KenLM binary, of order 2 or above. Binaries need the package
        kenlm. By default an n-gram is estimated from the training transcripts and written to the results
        folder, for example to ``ngram4.arpa`` if ``order`` is 4.
    order : int
        Length in words of the longest n-gram that is estimated, 2 to 6.
    width : int
        Number of hypotheses kept at each frame.
    weight : float
        Weight of the n-gram.
    bonus : float
        Added for each word.
    threshold : float
        Hypotheses whose score (natural log) is this far below the best are dropped. 10 is SpeechBrain's
        default; 15 takes two to three times as long and makes fewer errors where posteriors are flat.

    Raises
    ------
    UserError
        If the order is out of range. :meth:`check` and :meth:`build` raise it if there is no such
        n-gram, it cannot be loaded, or its words contain letters that the tokenizer lacks.

    Example
    -------
    >>> decode = NgramBeam("lm.arpa", width=100).build(setting)  # doctest: +SKIP
    >>> [tokenizer.decode(ids) for ids in decode(outputs)]  # doctest: +SKIP
    """

    ngram: str | Path | None = None
    order: int = 4
    width: int = 100
    weight: float = 0.5
    bonus: float = 1.0
    threshold: float = 10.0

    def __post_init__(self):
        check_order(self.order, least=2)

    def check(self, setting: Setting) -> None:
        """Check the n-gram if one is given, without loading it; see :meth:`Decoder.check`."""
        if self.ngram is not None:
            read_lexicon(setting.tokenizer, self.ngram)
            if is_binary(self.ngram):
                import_kenlm(self.ngram)

    def build(self, setting: Setting) -> Decode:
        """Load or estimate the n-gram and make the decoding function; see :meth:`Decoder.build`."""
        if self.ngram is None:
            arpa = setting.own_ngram(f"ngram{self.order}.arpa", self.order)
        else:
            arpa = setting.find(self.ngram)
        return LexiconSearch(
            setting.tokenizer, arpa, Options(self.width, self.weight, self.bonus, self.threshold)
        )

    def engine(self, decode: "LexiconSearch") -> str:
        """The engine that runs, with its version."""
        return decode.engine


class LexiconSearch:
    """The search that :class:`NgramBeam` builds.

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

    def __call__(self, outputs: Outputs) -> list[list[int]]:
        """Decode a batch.

        Arguments
        ---------
        outputs : Outputs
            With CTC log-posteriors [B, T, V] and frame counts [B].

        Returns
        -------
        list of list of int
            Token ids of each utterance.
        """
        batch = outputs.log_probs.detach().float().cpu().numpy()
        counts = outputs.frames.tolist()
        return [self._search(row[:count])[0] for row, count in zip(batch, counts, strict=True)]

    def _search(self, log_probs):
        """Decode one utterance [T, V] to token ids and a score."""
        if len(log_probs) == 0:
            return [], 0.0
        words, score = self._engine(self._lexicon.frames(log_probs))
        return self._lexicon.tokens(words), score
