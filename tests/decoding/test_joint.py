"""The joint search: rows on their own, limits, fusion, and its score against an exhaustive search."""

import itertools
import math
from types import SimpleNamespace

import kenlm
import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM

from speechbrain_recursive.data.tokenizers import CharacterTokenizer
from speechbrain_recursive.decoding.joint import JointBeam, estimate_token_ngram
from speechbrain_recursive.errors import UserError

WIDTH = 16


def model_of(tokenizer, seed=0, scale=4.0):
    """A random ASR model's decoder and heads, sharp enough for hypotheses to differ."""
    torch.manual_seed(seed)
    model = torch.nn.Module()
    model.transformer = TransformerASR(
        tgt_vocab=len(tokenizer), input_size=8, d_model=WIDTH, nhead=2, num_encoder_layers=1,
        num_decoder_layers=1, d_ffn=32, activation=torch.nn.GELU, causal=False,
    )  # fmt: skip
    model.seq_lin = torch.nn.Linear(WIDTH, len(tokenizer))
    model.ctc_lin = torch.nn.Linear(WIDTH, len(tokenizer))
    with torch.no_grad():
        model.seq_lin.weight.mul_(scale)
        model.ctc_lin.weight.mul_(scale)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer():
    return CharacterTokenizer("ABCD")


@pytest.fixture(scope="module")
def model(tokenizer):
    return model_of(tokenizer)


@pytest.fixture(scope="module")
def lm(tokenizer):
    torch.manual_seed(5)
    return TransformerLM(
        vocab=len(tokenizer), d_model=WIDTH, nhead=2, num_encoder_layers=1, num_decoder_layers=0,
        d_ffn=32, causal=True,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def ngram(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return estimate_token_ngram(
        ["AB CD", "ABBA", "DAD A", "BAD CAB"], tokenizer, folder / "lm.arpa", order=3
    )


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(2)
    return torch.randn(8, 14, WIDTH), torch.tensor([14, 1, 0, 9, 13, 2, 5, 11])


@pytest.mark.parametrize("fusion", ["none", "ctc", "ctc + lm", "ctc + n-gram", "all"])
def test_a_row_does_not_depend_on_its_batch(fusion, model, tokenizer, lm, ngram, batch):
    encoded, frames = batch
    joint = JointBeam(
        model,
        tokenizer,
        beam_size=4,
        ctc_weight=0.0 if fusion == "none" else 0.4,
        lm=lm if fusion in ("ctc + lm", "all") else None,
        lm_weight=0.5,
        ngram=ngram if fusion in ("ctc + n-gram", "all") else None,
        ngram_weight=0.3,
        max_decode_ratio=0.7,
    )
    alone = [joint(encoded[i : i + 1, :n], frames[i : i + 1])[0] for i, n in enumerate(frames.tolist())]
    padded = encoded.masked_fill(torch.arange(14)[:, None] >= frames[:, None, None], 50.0)
    assert joint(encoded, frames) == alone
    assert joint(padded.flip(0), frames.flip(0)) == alone[::-1]
    assert alone[2] == []
    assert len({tuple(tokens) for tokens in alone}) > 3
    for tokens, count in zip(alone, frames.tolist(), strict=True):
        assert len(tokens) <= max(1, int(0.7 * count))
        assert not {tokenizer.blank, tokenizer.bos, tokenizer.eos} & set(tokens)


def attention_score(model, tokenizer, encoded, tokens):
    target = torch.tensor([[tokenizer.bos, *tokens]])
    with torch.no_grad():
        states, _ = model.transformer.decode(target, encoded, torch.tensor([encoded.shape[1]]))
        log_probs = model.seq_lin(states)[0].log_softmax(-1)
    return sum(float(log_probs[i, token]) for i, token in enumerate([*tokens, tokenizer.eos]))


def ctc_score(model, tokenizer, encoded, tokens):
    """Log p_ctc(tokens), all alignments enumerated."""
    with torch.no_grad():
        log_probs = model.ctc_lin(encoded)[0].log_softmax(-1)
    scores = [
        sum(float(row[label]) for row, label in zip(log_probs, path, strict=True))
        for path in itertools.product({tokenizer.blank, *tokens}, repeat=len(log_probs))
        if [label for label, _ in itertools.groupby(path) if label != tokenizer.blank] == tokens
    ]
    return torch.tensor(scores, dtype=torch.double).logsumexp(0).item() if scores else float("-inf")


def lm_score(lm, tokenizer, tokens):
    with torch.no_grad():
        log_probs = lm(torch.tensor([[tokenizer.bos, *tokens]]))[0].log_softmax(-1)
    return sum(float(log_probs[i, token]) for i, token in enumerate([*tokens, tokenizer.eos]))


def ngram_score(path, tokenizer, tokens):
    """Without <s>: SpeechBrain's scorer starts from an empty context."""
    words = [tokenizer.pieces[token] for token in tokens]
    return math.log(10) * kenlm.Model(str(path)).score(" ".join(words), bos=False, eos=True)


@pytest.mark.parametrize(
    ("ctc_weight", "lm_weight", "ngram_weight"),
    [
        (0.0, 0.0, 0.0),
        (0.4, 0.0, 0.0),
        (0.9, 0.0, 0.0),
        (0.3, 2.0, 0.0),
        (0.3, 0.0, 1.0),
        (0.2, 1.0, 1.0),
    ],
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_wide_beam_finds_the_best_of_all_hypotheses(
    ctc_weight, lm_weight, ngram_weight, seed, lm, ngram
):
    tokenizer = CharacterTokenizer("ABCD")
    model = model_of(tokenizer, seed, scale=2.0)
    encoded = torch.randn(1, 2, WIDTH)
    words = range(tokenizer.unk, len(tokenizer))
    scores = {}
    for length in range(3):
        for tokens in map(list, itertools.product(words, repeat=length)):
            score = (1 - ctc_weight) * attention_score(model, tokenizer, encoded, tokens)
            score += ctc_weight * ctc_score(model, tokenizer, encoded, tokens) if ctc_weight else 0.0
            score += lm_weight * lm_score(lm, tokenizer, tokens)
            score += ngram_weight * ngram_score(ngram, tokenizer, tokens)
            scores[tuple(tokens)] = score / (length + 1)
    joint = JointBeam(
        model,
        tokenizer,
        beam_size=100,
        ctc_weight=ctc_weight,
        lm=lm if lm_weight else None,
        lm_weight=lm_weight,
        ngram=ngram if ngram_weight else None,
        ngram_weight=ngram_weight,
        candidates=1.0,
    )
    assert tuple(joint(encoded, torch.tensor([2]))[0]) == max(scores, key=scores.get)


def test_an_empty_hypothesis_is_an_empty_list(tokenizer):
    model = model_of(tokenizer)
    with torch.no_grad():
        model.seq_lin.bias[tokenizer.eos] = 60.0
        model.ctc_lin.bias[tokenizer.blank] = 60.0
    assert JointBeam(model, tokenizer, beam_size=3)(torch.randn(2, 6, WIDTH), torch.tensor([6, 3])) == [
        [],
        [],
    ]
    assert JointBeam(model, tokenizer)(torch.randn(2, 6, WIDTH), torch.tensor([0, 0])) == [[], []]


def test_a_cut_hypothesis_keeps_all_its_tokens(tokenizer):
    model = model_of(tokenizer)
    with torch.no_grad():
        model.seq_lin.bias[tokenizer.eos] = -60.0
    found = JointBeam(model, tokenizer, ctc_weight=0.0, max_decode_ratio=0.5)(
        torch.randn(2, 10, WIDTH), torch.tensor([10, 4])
    )
    assert [len(tokens) for tokens in found] == [5, 2]


def test_hypotheses_may_be_as_long_as_the_encoding(tokenizer, ngram):
    model = model_of(tokenizer)
    with torch.no_grad():
        model.seq_lin.bias[tokenizer.eos] = -60.0
    joint = JointBeam(model, tokenizer, beam_size=5, ngram=ngram, ngram_weight=0.1)
    found = joint(torch.randn(2, 10, WIDTH), torch.tensor([10, 4]))
    assert 4 < len(found[0]) <= 10
    assert 0 < len(found[1]) <= 4


def test_fusion_changes_the_outcome_the_way_it_leans(model, tokenizer, ngram, batch):
    encoded, frames = batch

    def letters(**fusion):
        found = JointBeam(model, tokenizer, ctc_weight=0.0, max_decode_ratio=0.9, **fusion)(
            encoded, frames
        )
        return [tokenizer.decode(tokens) for tokens in found]

    b_ngram = estimate_token_ngram(["B" * 14] * 3, tokenizer, ngram.with_name("b.arpa"), order=2)
    assert letters(ngram=b_ngram, ngram_weight=50.0)[0].strip("B") == ""
    assert letters()[0].strip("B") != ""


def test_searching_leaves_training_possible(tokenizer, batch):
    model = model_of(tokenizer)
    JointBeam(model, tokenizer, beam_size=2, max_decode_ratio=0.3)(*batch)
    states, _ = model.transformer.decode(torch.tensor([[1, 4]]), batch[0][:1], torch.tensor([14]))
    model.seq_lin(states).sum().backward()
    assert model.seq_lin.weight.grad is not None


def test_refusals(model, tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"no n-gram at .*none.arpa"):
        JointBeam(model, tokenizer, ngram=tmp_path / "none.arpa")
    with pytest.raises(UserError, match=r"ctc_weight 1.0"):
        JointBeam(model, tokenizer, ctc_weight=1.0)
    with pytest.raises(UserError, match=r"max_decode_ratio 1\.5"):
        JointBeam(model, tokenizer, max_decode_ratio=1.5)
    with pytest.raises(UserError, match="bos and eos"):
        JointBeam(model, CharacterTokenizer("ABCD", seq2seq=False))
    with pytest.raises(UserError, match="attention decoder"):
        JointBeam(SimpleNamespace(seq_lin=None), tokenizer)
