"""Words get the frames of their tokens on the best path, by any tokenizer."""

from itertools import combinations, pairwise

import pytest
import torch

from speechbrain_recursive.data.characters import CharacterTokenizer
from speechbrain_recursive.data.subwords import SentencePieceTokenizer
from speechbrain_recursive.inference.words import Span, Word, align, join, words_of


def best_path(log_probs, ids, blank=0):
    """The best path, among all there are: frames where a token or a blank begins."""
    frames, states = len(log_probs), [blank]
    for token in ids:
        states += [token, blank]
    best = (-torch.inf, None)
    for count in range(len(ids), len(states) + 1):
        for kept in combinations(range(len(states)), count):
            labels = [states[index] for index in kept]
            if [t for t in labels if t != blank] != ids or any(a == b for a, b in pairwise(labels)):
                continue
            for cuts in combinations(range(1, frames), count - 1):
                edges = [0, *cuts, frames]
                spans = list(zip(labels, edges, edges[1:], strict=False))
                score = sum(float(log_probs[a:b, label].sum()) for label, a, b in spans)
                best = max(best, (score, [(a, b) for label, a, b in spans if label != blank]))
    return best[1]


@pytest.mark.parametrize("ids", [[1], [1, 2], [2, 2], [3, 1, 3]])
def test_the_alignment_is_the_best_of_all_paths(ids):
    torch.manual_seed(len(ids))
    log_probs = (3 * torch.randn(6, 4)).log_softmax(-1)
    spans = align(log_probs, ids)
    assert [(span.first, span.end) for span in spans] == best_path(log_probs, ids)
    for token, span in zip(ids, spans, strict=True):
        expected = log_probs[span.first : span.end, token].mean()
        assert span.score == pytest.approx(float(expected), abs=1e-5)


def test_what_does_not_fit_is_spread_evenly():
    spans = align(torch.zeros(4, 3).log_softmax(-1), [1, 1, 1])
    assert [(span.first, span.end) for span in spans] == [(0, 1), (1, 3), (3, 4)]
    assert all(span.score == -torch.inf for span in spans)
    assert align(torch.zeros(0, 3), []) == []


def words(tokenizer, text, units):
    ids = tokenizer.encode(text)
    spans = [Span(2 * index, 2 * index + 1, -float(index % 2)) for index in range(len(ids))]
    return words_of(ids, spans, tokenizer.decode, units, lambda border: border / 10)


def test_a_boundary_belongs_to_no_word():
    found = words(CharacterTokenizer("ABC"), "AB C", str.split)
    assert [word[:3] for word in found] == [("AB", 0.0, 0.3), ("C", 0.6, 0.7)]
    assert found[0].confidence == pytest.approx(torch.tensor(-0.5).exp().item())


def test_characters_are_words_of_their_own_where_errors_count_them():
    found = words(CharacterTokenizer("ABC", boundary=False), "AB C", list)
    assert [word[:3] for word in found] == [("A", 0.0, 0.1), ("B", 0.2, 0.3), ("C", 0.4, 0.5)]


def test_subwords():
    tokenizer = SentencePieceTokenizer.from_texts(["THE CAT", "THE HAT"], vocab_size=11)
    found = words(tokenizer, "THE THAT", str.split)
    assert [word.text for word in found] == ["THE", "THAT"]
    pieces = [tokenizer.pieces[token] for token in tokenizer.encode("THE THAT")]
    first = pieces.index("\u2581", 1) + 1  # the mark between words is a piece here, of no word
    assert found[1].start == pytest.approx(2 * first / 10)
    assert found[1].end == pytest.approx((2 * len(pieces) - 1) / 10)


def test_joining_takes_each_word_once():
    def at(*times):
        return [Word("ABCDEFG"[n], n + shift, n + shift + 0.8, 1.0) for n, shift in times]

    left, right = at((0, 0), (1, 0), (2, 0)), at((1, 0.1), (2, 0.1), (3, 0))
    for middle in (1.0, 1.5, 1.85, 2.0, 2.9):
        one, other = join(left, right, middle, 1.5)
        assert [word.text for word in one + other] == [*"ABCD"], middle
