"""CTC beam search with a KenLM word n-gram, in the C++ of ``flashlight-text``."""

import math

import numpy as np
from flashlight.lib.text.decoder import (
    CriterionType,
    LexiconDecoder,
    LexiconDecoderOptions,
    SmearingMode,
    Trie,
)
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary

from speechbrain_recursive.decoding.arpa import read_unigrams
from speechbrain_recursive.errors import UserError

NEVER = -1e4  # a log-probability that no path recovers from


class NgramBeam:
    """Finds the words that maximize log p_ctc + weight * log p_lm + bonus * number of words.

    Logarithms are natural. The words are those of the n-gram, spelled by the tokenizer; nothing else can
    come out. All alignments that the beam keeps of one word sequence are summed. With the piece ``|``
    between words the search is that of CTC. Where words are not divided by a piece of their own
    (SentencePiece, Chinese characters), consecutive frames with the same best piece are joined
    beforehand, because the search underneath cannot stay on the last piece of a word.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, ``encode`` and ``blank``; see :mod:`speechbrain_recursive.data.tokenizers`.
    ngram : str or Path
        An ARPA file, plain or gzipped, or a KenLM binary, of order 2 or above.
    width : int
        Number of hypotheses kept at each frame.
    weight : float
        Weight of the n-gram.
    bonus : float
        Added for each word.
    threshold : float
        Hypotheses that fall this far (natural log) below the best are dropped. SpeechBrain
        drops them there too; 15 takes two to three times as long, for fewer errors where the posteriors
        are flat.

    Raises
    ------
    UserError
        If there is no such n-gram, KenLM cannot load it, or its words hold letters that no piece has.

    Example
    -------
    >>> beam = NgramBeam(tokenizer, "lm.arpa", width=100)  # doctest: +SKIP
    >>> [tokenizer.decode(ids) for ids in beam(log_probs, frames)]  # doctest: +SKIP
    """

    def __init__(self, tokenizer, ngram, width=100, weight=0.5, bonus=1.0, threshold=10.0):
        words = read_lexicon(tokenizer, ngram)
        self.blank = tokenizer.blank
        self.boundary = tokenizer.pieces.index("|") if "|" in tokenizer.pieces else None
        self.spellings = [tokenizer.encode(word) for word in words]
        try:
            self._lm = KenLM(str(ngram), Dictionary(words))
        except RuntimeError as error:  # KenLM names its source line before the reason
            raise UserError(f"KenLM cannot load {ngram}: {str(error).splitlines()[-1]}") from None
        silence = self.blank if self.boundary is None else self.boundary
        self._trie = Trie(len(tokenizer.pieces), silence)
        start, end = self._lm.start(False), [] if self.boundary is None else [self.boundary]
        for index, spelling in enumerate(self.spellings):
            self._trie.insert([*spelling, *end], index, self._lm.score(start, index)[1])
        self._trie.smear(SmearingMode.MAX)
        options = LexiconDecoderOptions(
            beam_size=width,
            beam_size_token=min(len(tokenizer.pieces), 50),
            beam_threshold=threshold,
            lm_weight=weight * math.log(10),  # KenLM's scores are log10
            word_score=bonus,
            unk_score=-math.inf,
            sil_score=0.0,
            log_add=True,
            criterion_type=CriterionType.CTC,
        )
        self._decoder = LexiconDecoder(options, self._trie, self._lm, silence, self.blank, -1, [], False)

    def __call__(self, log_probs, frames):
        """Decodes a batch.

        Arguments
        ---------
        log_probs : torch.Tensor
            CTC log-posteriors [B, T, V].
        frames : torch.Tensor
            Number of frames of each utterance [B].

        Returns
        -------
        list of list of int
            Token ids of each utterance; ``tokenizer.decode`` gives the words.
        """
        batch = log_probs.detach().float().cpu().numpy()
        return [self._search(row[:count])[0] for row, count in zip(batch, frames.tolist(), strict=True)]

    def _search(self, log_probs):
        """One utterance, array [T, V] -> token ids, score."""
        if len(log_probs) == 0:
            return [], 0.0
        log_probs = (
            self._join_runs(log_probs) if self.boundary is None else self._close_last_word(log_probs)
        )
        best = self._decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        end = [] if self.boundary is None else [self.boundary]
        tokens = [token for word in best.words if word >= 0 for token in [*self.spellings[word], *end]]
        return tokens[: len(tokens) - len(end)] if tokens else [], best.score

    def _close_last_word(self, log_probs):
        """Adds a frame of the boundary alone, with which every spelling ends: [T, V] -> [T + 1, V]."""
        closed = np.full((len(log_probs) + 1, log_probs.shape[1]), NEVER, dtype=np.float32)
        np.maximum(log_probs, NEVER, out=closed[:-1])
        closed[-1, self.boundary] = 0.0
        return closed

    def _join_runs(self, log_probs):
        """Sums consecutive frames whose best piece is the same and not blank: [T, V] -> [T', V]."""
        best = log_probs.argmax(axis=1)
        new = np.append(True, (best[1:] != best[:-1]) | (best[1:] == self.blank))
        return np.add.reduceat(np.maximum(log_probs, NEVER), np.flatnonzero(new), axis=0)


def read_lexicon(tokenizer, ngram):
    """The words of an n-gram, all of which the tokenizer can spell.

    KenLM, which loads a large n-gram for minutes, is not asked, so that a run can refuse one before it
    trains.

    Arguments
    ---------
    tokenizer : object
        With ``pieces``, ``blank``, ``bos``, ``eos`` and ``unk``.
    ngram : str or Path
        An ARPA file, plain or gzipped, or a KenLM binary.

    Returns
    -------
    list of str

    Raises
    ------
    UserError
        If there is no such n-gram, KenLM could not read it, or its words hold letters that no piece has.
    """
    words = read_unigrams(ngram)
    marks = {tokenizer.blank, tokenizer.bos, tokenizer.eos, tokenizer.unk}
    letters = {
        letter for index, piece in enumerate(tokenizer.pieces) if index not in marks for letter in piece
    }
    foreign = sorted({letter for word in words for letter in word} - (letters - {"|", "\u2581"}))
    if foreign:
        raise UserError(
            f"{ngram} has letters that the tokenizer lacks: {' '.join(foreign[:20])}; "
            f"the tokenizer's are: {' '.join(sorted(letters)[:60])}. Use an n-gram of the same letters"
        )
    return words
