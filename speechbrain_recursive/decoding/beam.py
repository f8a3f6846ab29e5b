"""CTC beam search with a word n-gram."""

from dataclasses import dataclass
from pathlib import Path

from speechbrain_recursive.decoding.arpa import is_binary
from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting
from speechbrain_recursive.decoding.lexicon import read_lexicon
from speechbrain_recursive.decoding.lm import import_kenlm
from speechbrain_recursive.decoding.ngram import check_order
from speechbrain_recursive.decoding.prefix import Options
from speechbrain_recursive.decoding.search import LexiconSearch
from speechbrain_recursive.nn.request import Outputs


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
        return OfBatch(LexiconSearch(setting.tokenizer, arpa, self.options))

    @property
    def options(self) -> Options:
        """What the search weighs and keeps."""
        return Options(self.width, self.weight, self.bonus, self.threshold)

    def engine(self, decode: "OfBatch") -> str:
        """The engine that runs, with its version."""
        return decode.engine


class OfBatch:
    """Searches every utterance of a batch.

    Arguments
    ---------
    search : LexiconSearch
        What searches one.

    Attributes
    ----------
    engine : str
        What searches, with its version.
    """

    def __init__(self, search: LexiconSearch):
        self._search = search
        self.engine = search.engine

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
        return [self._search(row[:count]) for row, count in zip(batch, counts, strict=True)]
