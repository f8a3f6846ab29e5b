"""CTC beam search with a KenLM word n-gram, in the C++ of ``flashlight-text``."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flashlight.lib.text import decoder as flashlight
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary

from speechbrain_recursive.decoding.arpa import read_unigrams
from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting
from speechbrain_recursive.decoding.ngram import check_order, estimate_ngram
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.request import Outputs

NEVER = -1e4  # a log-probability low enough to rule a path out


@dataclass(frozen=True)
class NgramBeam(Decoder):
    """Finds the words that maximize log p_ctc + weight * log p_lm + bonus * number of words.

    Logarithms are natural. Only words of the n-gram can come out, spelled by the tokenizer. The
    probabilities of all alignments of one word sequence that stay in the beam are summed. If the
    tokenizer has a piece ``|`` between words, this is standard CTC beam search. Other tokenizers
    (SentencePiece, Chinese characters) need one more step, because flashlight's search cannot stay on
    the last piece of a word: consecutive frames with the same best piece are merged first.

    Arguments
    ---------
    ngram : str or Path, optional
        An ARPA file, plain or gzipped, or a KenLM binary, of order 2 or above. By default an n-gram is
        estimated from the training transcripts and written to ``ngram.arpa`` in the results folder.
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
        n-gram, KenLM cannot load it, or its words contain letters that the tokenizer lacks.

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
        """Check the words of the n-gram if one is given; see :meth:`Decoder.check`."""
        if self.ngram is not None:
            read_lexicon(setting.tokenizer, self.ngram)

    def build(self, setting: Setting) -> Decode:
        """Load or estimate the n-gram and make the decoding function; see :meth:`Decoder.build`."""
        ngram = self.ngram or estimate_ngram(setting.text(), setting.folder / "ngram.arpa", self.order)
        options = flashlight.LexiconDecoderOptions(
            beam_size=self.width,
            beam_size_token=min(len(setting.tokenizer.pieces), 50),
            beam_threshold=self.threshold,
            lm_weight=self.weight * math.log(10),  # KenLM's scores are log10
            word_score=self.bonus,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=True,
            criterion_type=flashlight.CriterionType.CTC,
        )
        return LexiconSearch(setting.tokenizer, ngram, options)


class LexiconSearch:
    """The search that :class:`NgramBeam` builds.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, ``encode`` and ``blank``.
    ngram : str or Path
        An ARPA file or KenLM binary.
    options : LexiconDecoderOptions
        Flashlight's options.
    """

    def __init__(self, tokenizer: Any, ngram: str | Path, options: flashlight.LexiconDecoderOptions):
        words = read_lexicon(tokenizer, ngram)
        self.blank = tokenizer.blank
        self.end = [index for index, piece in enumerate(tokenizer.pieces) if piece == "|"]
        self.spellings = [tokenizer.encode(word) for word in words]
        try:
            self._lm = KenLM(str(ngram), Dictionary(words))
        except RuntimeError as error:  # the reason is the last line, after a source location
            raise UserError(f"KenLM cannot load {ngram}: {str(error).splitlines()[-1]}") from None
        silence = self.end[0] if self.end else self.blank
        self._trie, start = flashlight.Trie(len(tokenizer.pieces), silence), self._lm.start(False)
        for index, spelling in enumerate(self.spellings):
            self._trie.insert([*spelling, *self.end], index, self._lm.score(start, index)[1])
        self._trie.smear(flashlight.SmearingMode.MAX)
        parts = options, self._trie, self._lm, silence, self.blank
        self._decoder = flashlight.LexiconDecoder(*parts, -1, [], False)

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
        prepare = self._close_last_word if self.end else self._merge_runs
        log_probs = prepare(log_probs)
        best = self._decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        tokens = [t for word in best.words if word >= 0 for t in [*self.spellings[word], *self.end]]
        return tokens[: len(tokens) - len(self.end)], best.score

    def _close_last_word(self, log_probs):
        """Append a frame of the boundary alone, since every spelling ends with it: [T + 1, V]."""
        closed = np.full((len(log_probs) + 1, log_probs.shape[1]), NEVER, dtype=np.float32)
        np.maximum(log_probs, NEVER, out=closed[:-1])
        closed[-1, self.end] = 0.0
        return closed

    def _merge_runs(self, log_probs):
        """Sum consecutive frames that share a best piece other than blank: [T', V]."""
        best = log_probs.argmax(axis=1)
        new = np.append(True, (best[1:] != best[:-1]) | (best[1:] == self.blank))
        return np.add.reduceat(np.maximum(log_probs, NEVER), np.flatnonzero(new), axis=0)


def read_lexicon(tokenizer: Any, ngram: str | Path) -> list[str]:
    """The words of an n-gram, after checking that the tokenizer can spell them.

    This does not load the n-gram into KenLM, which takes minutes for a large file, so that a run can
    check it before training.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, and with ``unk``, the last id before the pieces of text.
    ngram : str or Path
        An ARPA file, plain or gzipped, or a KenLM binary.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If there is no such n-gram, KenLM could not read it, or its words contain letters that the
        tokenizer lacks.
    """
    words = read_unigrams(ngram)
    letters = {*"".join(tokenizer.pieces[tokenizer.unk + 1 :])}
    foreign = sorted({letter for word in words for letter in word} - (letters - {"|", "\u2581"}))
    if foreign:
        raise UserError(
            f"{ngram} has letters that the tokenizer lacks: {' '.join(foreign[:20])}; "
            f"the tokenizer's are: {' '.join(sorted(letters)[:60])}. Use an n-gram of the same letters"
        )
    return words
