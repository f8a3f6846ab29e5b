"""The joint search: independent rows, limits, fusion, and its score against an exhaustive search."""

import copy
import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM

from speechbrain_recursive.data.tokenizers import CharacterTokenizer
from speechbrain_recursive.decoding.decoder import Setting
from speechbrain_recursive.decoding.joint import JointBeam
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.nn.state import State

WIDTH = 16
TEXT = ["AB CD", "ABBA", "DAD A", "BAD CAB"]


def model_of(tokenizer, seed=0, scale=4.0):
    """An ASR model's heads with random weights, large enough for hypotheses to differ."""
    torch.manual_seed(seed)
    model = torch.nn.Module()
    model.heads = torch.nn.ModuleDict(
        {
            "seq2seq": Seq2SeqHead(WIDTH, len(tokenizer), num_layers=1, nhead=2, d_ffn=32),
            "ctc": CTCHead(WIDTH, len(tokenizer)),
        }
    )
    with torch.no_grad():
        for head in model.heads.values():
            head.linear.weight.mul_(scale)
    return model.eval()


def setting_of(model, tokenizer, folder=None, text=(), lm=None):
    return Setting(model, tokenizer, folder, text=lambda: text, load_lm=lambda _: lm)


def joint_of(setting, **options):
    """The built search as ``(encoded, frames) -> token ids``."""
    decode = JointBeam(**options).build(setting)
    return lambda encoded, frames: decode(SimpleNamespace(encoded=encoded, frames=frames))


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
def setting(model, tokenizer, lm, tmp_path_factory):
    return setting_of(model, tokenizer, tmp_path_factory.mktemp("tokens"), TEXT, lm)


@pytest.fixture(scope="module")
def batch():
    torch.manual_seed(2)
    return torch.randn(8, 14, WIDTH), torch.tensor([14, 1, 0, 9, 13, 2, 5, 11])


@pytest.mark.parametrize("fusion", ["none", "ctc", "ctc + lm", "ctc + n-gram", "all"])
def test_a_row_does_not_depend_on_its_batch(fusion, setting, tokenizer, batch):
    encoded, frames = batch
    joint = joint_of(
        setting,
        beam_size=4,
        ctc_weight=0.0 if fusion == "none" else 0.4,
        lm="lm" if fusion in ("ctc + lm", "all") else None,
        lm_weight=0.5,
        ngram_weight=0.3 if fusion in ("ctc + n-gram", "all") else 0.0,
        ngram_order=3,
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
        state = State(encoded).remember(tokens_bos=target)
        log_probs = model.heads["seq2seq"](state)[0]
    return sum(float(log_probs[i, token]) for i, token in enumerate([*tokens, tokenizer.eos]))


def ctc_score(model, tokenizer, encoded, tokens):
    """Log p_ctc(tokens), all alignments enumerated."""
    with torch.no_grad():
        log_probs = model.heads["ctc"].linear(encoded)[0].log_softmax(-1)
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


def ngram_score(ngram, tokenizer, tokens):
    """Without <s>: the scorer starts from an empty context, as SpeechBrain's does."""
    return math.log(10) * ngram.score([tokenizer.pieces[token] for token in tokens], bos=False)


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
    ctc_weight, lm_weight, ngram_weight, seed, lm, tmp_path, slow_ngram
):
    tokenizer = CharacterTokenizer("ABCD")
    model = model_of(tokenizer, seed, scale=2.0)
    encoded = torch.randn(1, 2, WIDTH)
    joint = joint_of(
        setting_of(model, tokenizer, tmp_path, TEXT, lm),
        beam_size=100,
        ctc_weight=ctc_weight,
        lm="lm" if lm_weight else None,
        lm_weight=lm_weight,
        ngram_weight=ngram_weight,
        ngram_order=3,
        candidates=1.0,
    )
    ngram = slow_ngram(tmp_path / "tokens3.arpa") if ngram_weight else None
    words = range(tokenizer.unk, len(tokenizer))
    scores = {}
    for length in range(3):
        for tokens in map(list, itertools.product(words, repeat=length)):
            score = (1 - ctc_weight) * attention_score(model, tokenizer, encoded, tokens)
            score += ctc_weight * ctc_score(model, tokenizer, encoded, tokens) if ctc_weight else 0.0
            score += lm_weight * lm_score(lm, tokenizer, tokens)
            if ngram_weight:
                score += ngram_weight * ngram_score(ngram, tokenizer, tokens)
            scores[tuple(tokens)] = score / (length + 1)
    assert tuple(joint(encoded, torch.tensor([2]))[0]) == max(scores, key=scores.get)


def test_a_temperature_divides_the_logits_of_decoder_and_lm(tokenizer, lm, batch):
    model = model_of(tokenizer)

    def found(temperature):
        setting = setting_of(model, tokenizer, lm=lm)
        options = {"beam_size": 8, "lm": "lm", "lm_weight": 1.0, "temperature": temperature}
        return joint_of(setting, **options)(*batch)

    plain, softer = found(1.0), found(4.0)
    assert softer != plain
    model, lm = copy.deepcopy(model), copy.deepcopy(lm)
    with torch.no_grad():
        for linear in (model.heads["seq2seq"].linear, lm.output_proj.layers[-1]):
            for parameter in linear.parameters():
                parameter.div_(4.0)
    assert found(1.0) == softer


def test_an_empty_hypothesis_is_an_empty_list(tokenizer):
    model = model_of(tokenizer)
    with torch.no_grad():
        model.heads["seq2seq"].linear.bias[tokenizer.eos] = 60.0
        model.heads["ctc"].linear.bias[tokenizer.blank] = 60.0
    setting = setting_of(model, tokenizer)
    found = joint_of(setting, beam_size=3)(torch.randn(2, 6, WIDTH), torch.tensor([6, 3]))
    assert found == [[], []]
    assert joint_of(setting)(torch.randn(2, 6, WIDTH), torch.tensor([0, 0])) == [[], []]


def test_a_cut_hypothesis_keeps_all_its_tokens(tokenizer):
    model = model_of(tokenizer)
    with torch.no_grad():
        model.heads["seq2seq"].linear.bias[tokenizer.eos] = -60.0
    joint = joint_of(setting_of(model, tokenizer), ctc_weight=0.0, max_decode_ratio=0.5)
    found = joint(torch.randn(2, 10, WIDTH), torch.tensor([10, 4]))
    assert [len(tokens) for tokens in found] == [5, 2]


def test_hypotheses_may_be_as_long_as_the_encoding(tokenizer, tmp_path):
    model = model_of(tokenizer)
    with torch.no_grad():
        model.heads["seq2seq"].linear.bias[tokenizer.eos] = -60.0
    setting = setting_of(model, tokenizer, tmp_path, TEXT)
    joint = joint_of(setting, beam_size=5, ngram_weight=0.1, ngram_order=3)
    found = joint(torch.randn(2, 10, WIDTH), torch.tensor([10, 4]))
    assert 4 < len(found[0]) <= 10
    assert 0 < len(found[1]) <= 4


def test_fusion_changes_the_outcome_the_way_it_leans(model, tokenizer, batch, tmp_path):
    def letters(**fusion):
        setting = setting_of(model, tokenizer, tmp_path, ["B" * 14] * 3)
        found = joint_of(setting, ctc_weight=0.0, max_decode_ratio=0.9, **fusion)(*batch)
        return [tokenizer.decode(tokens) for tokens in found]

    assert letters(ngram_weight=50.0, ngram_order=2)[0].strip("B") == ""
    assert letters()[0].strip("B") != ""


def test_searching_leaves_training_possible(tokenizer, batch):
    model = model_of(tokenizer)
    joint_of(setting_of(model, tokenizer), beam_size=2, max_decode_ratio=0.3)(*batch)
    head = model.heads["seq2seq"]
    head(State(batch[0][:1]).remember(tokens_bos=torch.tensor([[1, 4]]))).sum().backward()
    assert head.linear.weight.grad is not None


def test_it_asks_for_no_head_and_runs_at_the_trained_depth_alone():
    assert JointBeam.trained_only
    assert JointBeam.request == Request()


def test_numbers_out_of_range_are_refused():
    with pytest.raises(UserError, match=r"ctc_weight 1.0"):
        JointBeam(ctc_weight=1.0)
    with pytest.raises(UserError, match=r"max_decode_ratio 1\.5"):
        JointBeam(max_decode_ratio=1.5)
    with pytest.raises(UserError, match=r"n-gram order 1: must be 2 to 6"):
        JointBeam(ngram_order=1)


def test_a_model_that_cannot_be_searched_is_refused_before_training(model, tokenizer):
    JointBeam(lm="lm").check(setting_of(model, tokenizer))

    def refused(setting, **options):
        with pytest.raises(UserError, match=r"^[^\n]*`decoders: {joint: !remove}`$") as caught:
            JointBeam(**options).check(setting)
        return str(caught.value)

    no_marks = CharacterTokenizer("ABCD", seq2seq=False)
    assert "bos and eos" in refused(setting_of(model, no_marks))
    ctc_alone = SimpleNamespace(heads={"ctc": model.heads["ctc"]})
    assert "no seq2seq head" in refused(setting_of(ctc_alone, tokenizer))
    attention_alone = SimpleNamespace(heads={"seq2seq": model.heads["seq2seq"]})
    assert "no ctc head" in refused(setting_of(attention_alone, tokenizer))
    JointBeam(ctc_weight=0.0).check(setting_of(attention_alone, tokenizer))


def test_a_language_model_that_does_not_fit_is_refused_before_training(model, tokenizer):
    def load_lm(folder):
        raise UserError(f"{folder} has other tokens")

    setting = Setting(model, tokenizer, None, None, load_lm)
    JointBeam().check(setting)
    with pytest.raises(UserError, match="folder/lm has other tokens"):
        JointBeam(lm="folder/lm").check(setting)
