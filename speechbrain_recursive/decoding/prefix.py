"""CTC prefix beam search over the words of a lexicon, with an n-gram, over NumPy."""

from dataclasses import dataclass, replace

import numpy as np

from speechbrain_recursive.decoding.arpa import EOS
from speechbrain_recursive.decoding.lexicon import Lexicon
from speechbrain_recursive.decoding.lm import BinaryNgram, Ngram


@dataclass(frozen=True)
class Options:
    """What a search weighs and keeps; see :class:`speechbrain_recursive.decoding.beam.NgramBeam`.

    Arguments
    ---------
    width : int
        Number of hypotheses kept at each frame.
    weight : float
        Weight of the n-gram's natural log-probability.
    bonus : float
        Added for each word.
    threshold : float
        Hypotheses whose score is this far below the best are dropped.
    tokens : int
        Number of tokens of each frame, the best ones, that may continue a hypothesis.
    """

    width: int
    weight: float
    bonus: float
    threshold: float
    tokens: int = 50


@dataclass(frozen=True)
class Beam:
    """Hypotheses [N]: history of whole words, node of the trie, label of the last frame, and score."""

    history: np.ndarray
    node: np.ndarray
    last: np.ndarray
    score: np.ndarray

    def __getitem__(self, rows):
        return Beam(self.history[rows], self.node[rows], self.last[rows], self.score[rows])


class PrefixSearch:
    """Finds the words with the best sum over their alignments, n-gram score and word bonus.

    A hypothesis is a history of whole words, a node of the trie of spellings, and the label of the last
    frame. Hypotheses that agree in all three are merged by adding their probabilities (Hannun et al.,
    2014, "First-pass large vocabulary continuous speech recognition using bi-directional recurrent
    DNNs"). Each alignment of a sequence of words is one path through such hypotheses, so an unlimited
    beam is exact, whether or not a boundary stands between words: a word that has ended may last, since
    its hypothesis keeps its last label. Two ways to split the same tokens into words are two histories.
    Within a word, the score includes the best n-gram score at the start of a sentence of the words
    below its node.

    Arguments
    ---------
    lexicon : Lexicon
        The words.
    ngram : Ngram or BinaryNgram
        Their n-gram.
    options : Options
        Weights and limits.
    """

    def __init__(self, lexicon: Lexicon, ngram: Ngram | BinaryNgram, options: Options):
        self.ngram, self.options, self.blank, self.size = ngram, options, lexicon.blank, lexicon.size
        self.words, self.end = ngram.ids(lexicon.words), ngram.ids([EOS])
        starts = np.full(len(self.words), ngram.start)
        self._build(lexicon, ngram.score(starts, self.words)[0].tolist())

    def _build(self, lexicon, scores):
        """Make the trie: arrays of the arcs, sorted by the node that they leave."""
        children, best, arcs = {}, [0.0], []
        for word, spelling in enumerate(lexicon.spellings):
            node = 0
            for token in spelling[:-1]:
                source, node = node, children.setdefault((node, token), len(best))
                if node == len(best):
                    best.append(-np.inf)
                    arcs.append((source, token, node, -1))
                best[node] = max(best[node], scores[word])
            arcs.append((node, spelling[-1], 0, word))
        arcs += [(0, token, 0, -1) for token in lexicon.boundary]  # silence between words
        source, self.token, self.target, self.word = np.array(sorted(arcs)).T
        ahead = self.options.weight * np.array(best)
        self.gain = np.where(self.word < 0, ahead[self.target], self.options.bonus) - ahead[source]
        self.first = np.searchsorted(source, np.arange(len(best) + 1))

    def __call__(self, log_probs: np.ndarray) -> tuple[list[int], float]:
        """Search one utterance.

        Arguments
        ---------
        log_probs : np.ndarray
            What :meth:`Lexicon.frames` returns, [T, V].

        Returns
        -------
        list of int, float
            Indices of the words, and their score. Where the beam holds no whole word at the end, the
            part of a word is left out.
        """
        weight, histories = self.options.weight, Histories(self.ngram, self.words)
        beam = Beam(*np.array([[0], [0], [self.blank]]), np.zeros(1))
        for frame in log_probs.astype(np.float64):
            beam = self._step(beam, frame, histories)
        whole = beam.node == 0
        beam = beam[whole] if whole.any() else beam
        rows, score = merge(beam.history * len(self.first) + beam.node, beam.score)
        history = beam.history[rows]
        ends = np.repeat(self.end, len(history))
        score = score + weight * self.ngram.score(histories.context[history], ends)[0]
        return histories.words(history[score.argmax()]), float(score.max())

    def _step(self, beam, frame, histories):
        """Extend all hypotheses by one frame [V]."""
        voiced = beam[beam.last != self.blank]
        lasting = replace(beam, score=beam.score + frame[beam.last])
        silent = replace(
            voiced,
            last=np.full_like(voiced.last, self.blank),
            score=voiced.score + frame[self.blank],
        )
        floor = max(lasting.score.max(), silent.score.max(initial=-np.inf)) - self.options.threshold
        beam = join(lasting, silent, self._advance(beam, frame, histories, floor))
        beam = beam[beam.score >= beam.score.max() - self.options.threshold]
        rows, score = merge(
            (beam.history * len(self.first) + beam.node) * self.size + beam.last, beam.score
        )
        if len(rows) > self.options.width:
            best = np.argpartition(-score, self.options.width)[: self.options.width]
            rows, score = rows[best], score[best]
        return replace(beam[rows], score=score)

    def _advance(self, beam, frame, histories, floor):
        """Take the arcs with the best tokens of the frame, where the score can reach a floor."""
        allowed = np.ones(self.size, dtype=bool)
        allowed[
            np.argpartition(-frame, min(self.options.tokens, self.size) - 1)[self.options.tokens :]
        ] = False
        nodes, of_node = np.unique(beam.node, return_inverse=True)
        owner, arcs = ragged(self.first[nodes], self.first[nodes + 1])
        kept = allowed[self.token[arcs]]
        owner, arcs = owner[kept], arcs[kept]
        ends = np.searchsorted(owner, np.arange(len(nodes) + 1))
        rows, at = ragged(ends[of_node], ends[of_node + 1])
        arcs = arcs[at]
        score = beam.score[rows] + frame[self.token[arcs]] + self.gain[arcs]
        word = self.word[arcs]
        kept = beam.last[rows] != self.token[arcs]
        # A word's n-gram score is at most 0, so that it need not be known where even 0 is too little.
        kept &= (score >= floor) | ((word >= 0) & (self.options.weight < 0))
        rows, arcs, score, word = rows[kept], arcs[kept], score[kept], word[kept]
        history, whole = beam.history[rows], np.flatnonzero(word >= 0)
        history[whole] = histories.extend(history[whole], word[whole])
        score[whole] += self.options.weight * histories.log_prob[history[whole]]
        return Beam(history, self.target[arcs], self.token[arcs], score)


class Histories:
    """Sequences of whole words that hypotheses of one utterance share; 0 has no words.

    Arguments
    ---------
    ngram : Ngram or BinaryNgram
        Scores each word once.
    words : np.ndarray
        The ids that the n-gram gives to the words of the lexicon.

    Attributes
    ----------
    context, log_prob : np.ndarray
        Of each history: the n-gram's context after its last word, and that word's natural
        log-probability.
    """

    def __init__(self, ngram: Ngram | BinaryNgram, words: np.ndarray):
        self._ngram, self._ids = ngram, words
        self._pairs, self._numbers = [0], {}  # history * number of words + word, and back
        self.context, self.log_prob = np.array([ngram.start]), np.zeros(1)

    def extend(self, history: np.ndarray, word: np.ndarray) -> np.ndarray:
        """Numbers [N] of the histories [N] with one more word [N] each."""
        pairs, inverse = np.unique(history * len(self._ids) + word, return_inverse=True)
        numbers = [self._numbers.setdefault(pair, len(self._numbers) + 1) for pair in pairs.tolist()]
        new = pairs[np.array(numbers, dtype=np.int64) > len(self._pairs) - 1]
        if len(new):
            before, last = np.divmod(new, len(self._ids))
            log_prob, context = self._ngram.score(self.context[before], self._ids[last])
            self._pairs += new.tolist()
            self.log_prob = np.append(self.log_prob, log_prob)
            self.context = np.append(self.context, context)
        return np.array(numbers, dtype=np.int64)[inverse]

    def words(self, history: int) -> list[int]:
        """Indices of the words of a history."""
        words = []
        while history:
            history, word = divmod(self._pairs[history], len(self._ids))
            words.append(word)
        return words[::-1]


def join(*beams: Beam) -> Beam:
    """All hypotheses of some beams."""
    return Beam(
        *(np.concatenate(values) for values in zip(*(vars(b).values() for b in beams), strict=True))
    )


def merge(keys: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first row of each key [M], and the sum of its probabilities [M], as logarithms."""
    rows = np.argsort(keys, kind="stable")
    keys = keys[rows]
    first = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    return rows[first], np.logaddexp.reduceat(scores[rows], first)


def ragged(first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers from each first [N] to before its end [N], after the index of the range of each.

    Example
    -------
    >>> ragged(np.array([5, 0, 8]), np.array([7, 0, 9]))
    (array([0, 0, 2]), array([5, 6, 8]))
    """
    counts = end - first
    index = np.repeat(np.arange(len(counts)), counts)
    return index, np.arange(len(index)) + np.repeat(first - (np.cumsum(counts) - counts), counts)
