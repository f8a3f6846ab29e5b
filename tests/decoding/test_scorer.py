"""The n-gram scorer of the joint search against SpeechBrain's over the package kenlm."""

import pytest
import torch
from speechbrain.decoders.scorer import KenLMScorer as Stock

from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.decoding.scorer import KenLMScorer

WORDS = ["<unk>", "<s>", "</s>", "<unk>", "A", "B", "C", "D"]


@pytest.mark.parametrize("candidates", [8, 5])
def test_scores_and_contexts_equal_those_of_speechbrain(candidates, tmp_path):
    pytest.importorskip("kenlm", reason="kenlm is not installed")
    arpa = estimate_ngram(["A B C", "B A B", "C C A B", "A"], tmp_path / "lm.arpa", order=3)
    ours, theirs = KenLMScorer(arpa, WORDS), Stock(str(arpa), len(WORDS), WORDS)
    utterances, beams = 2, 3
    theirs.reset_mem(torch.zeros(utterances, 1), None)
    memory = stock_memory = None
    torch.manual_seed(0)
    for _ in range(6):
        last = torch.zeros(utterances * beams)
        tried = torch.rand(utterances * beams, len(WORDS)).topk(candidates).indices
        scores, memory = ours.score(last, memory, tried, None)
        expected, stock_memory = theirs.score(last, stock_memory, tried, None)
        torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-6)
        weights = torch.zeros_like(scores).scatter_(1, tried, torch.rand(tried.shape) + 1)
        index = weights.reshape(utterances, -1).topk(beams).indices  # hypotheses that go on
        memory = ours.permute_mem(memory, index)
        stock_memory = theirs.permute_mem(stock_memory, index)
