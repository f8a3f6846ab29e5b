"""The search over fired states: against all hypotheses, greedy decoding, fusion and independent rows."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from speechbrain.lobes.models.transformer.TransformerLM import TransformerLM

from speechbrain_recursive.data.tokenizers import CharacterTokenizer
from speechbrain_recursive.decoding.cif import CifBeam
from speechbrain_recursive.decoding.decoder import Setting
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.cif_decoder import CifDecoder, CifHead
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.state import State

WIDTH = 16
TOKENIZER = CharacterTokenizer("AB")
WORDS = range(TOKENIZER.unk, len(TOKENIZER))


def model_of(seed=5, scale=12.0):
    """The parts that a search needs, with weights large enough for hypotheses to differ."""
    torch.manual_seed(seed)
    decoder = CifDecoder(WIDTH, len(TOKENIZER), num_layers=1, nhead=2, d_ffn=32)
    model = torch.nn.Module()
    model.after = torch.nn.ModuleDict({"cif": torch.nn.Identity(), "decoder": decoder})
    model.heads = torch.nn.ModuleDict({"seq2seq": CifHead(WIDTH, len(TOKENIZER))})
    with torch.no_grad():
        model.heads["seq2seq"].linear.weight.mul_(scale)
    return model.eval()


@pytest.fixture(scope="module")
def lm():
    torch.manual_seed(5)
    sizes = {"nhead": 2, "num_encoder_layers": 1, "num_decoder_layers": 0, "d_ffn": 32}
    return TransformerLM(vocab=len(TOKENIZER), d_model=WIDTH, causal=True, **sizes).eval()


def search(model, lm=None, **options):
    """The built search as ``(fired, counts) -> token ids``."""
    setting = Setting(model, TOKENIZER, None, text=None, load_lm=lambda _: lm)
    decode = CifBeam(lm=None if lm is None else "lm", **options).build(setting)

    def run(fired, counts):
        state = State(fired, pad=pad_mask(counts, fired.shape[1]))
        return decode(SimpleNamespace(states={"cif": state}))

    return run


def score_of(model, fired, tokens, lm=None, lm_weight=0.0):
    """One state per token; the end is free once they are spent."""
    said = [*tokens, TOKENIZER.eos]
    prefix = torch.tensor([[TOKENIZER.bos, *tokens]])
    with torch.no_grad():
        state = model.after["decoder"](State(fired).remember(tokens_bos=prefix))
        log_probs = model.heads["seq2seq"](state)[0]
        total = sum(float(log_probs[i, token]) for i, token in enumerate(said[: fired.shape[1]]))
        if lm is not None:
            fused = lm(prefix)[0].log_softmax(-1)
            total += lm_weight * sum(float(fused[i, token]) for i, token in enumerate(said))
    return total


@pytest.mark.parametrize("lm_weight", [0.0, 0.7, 3.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_wide_beam_finds_the_best_of_all_hypotheses(seed, lm_weight, lm):
    model, lm = model_of(seed), lm if lm_weight else None
    fired = torch.randn(1, 3, WIDTH)
    texts = [text for n in range(4) for text in itertools.product(WORDS, repeat=n)]
    scores = {text: score_of(model, fired, text, lm, lm_weight) for text in texts}
    found = search(model, lm, beam_size=100, lm_weight=lm_weight)(fired, torch.tensor([3]))
    assert tuple(found[0]) == max(scores, key=scores.get)


def test_a_beam_of_one_is_greedy():
    model = model_of()
    torch.manual_seed(6)
    fired = torch.randn(1, 9, WIDTH)
    tokens = [TOKENIZER.bos]
    with torch.no_grad():
        for _ in range(9):
            states = model.after["decoder"].decode(torch.tensor([tokens]), fired)
            said = model.heads["seq2seq"].linear(states)[0, -1]
            said[[TOKENIZER.blank, TOKENIZER.bos]] = -torch.inf
            tokens.append(int(said.argmax()))
            if tokens[-1] == TOKENIZER.eos:
                tokens.pop()
                break
    assert search(model, beam_size=1)(fired, torch.tensor([9])) == [tokens[1:]]


def test_a_row_does_not_depend_on_its_batch(lm):
    torch.manual_seed(7)
    fired, counts = torch.randn(6, 9, WIDTH), torch.tensor([9, 1, 0, 6, 8, 3])
    fired = fired * ~pad_mask(counts, 9)[..., None]
    run = search(model_of(), lm, beam_size=4, lm_weight=0.5)
    alone = [run(fired[i : i + 1, :n], counts[i : i + 1])[0] for i, n in enumerate(counts.tolist())]
    padded = fired.masked_fill(pad_mask(counts, 9)[..., None], 50.0)
    assert run(fired, counts) == alone
    assert run(padded.flip(0), counts.flip(0)) == alone[::-1]
    assert alone[2] == []
    assert len({tuple(tokens) for tokens in alone}) > 3
    marks = {TOKENIZER.blank, TOKENIZER.bos, TOKENIZER.eos}
    for tokens, count in zip(alone, counts.tolist(), strict=True):
        assert len(tokens) <= count
        assert not marks & set(tokens)


def test_nothing_fired_is_an_empty_text():
    found = search(model_of(), beam_size=3)(torch.zeros(2, 0, WIDTH), torch.tensor([0, 0]))
    assert found == [[], []]


def test_what_the_search_needs_is_checked_before_training(lm):
    def refused(model, tokenizer=TOKENIZER):
        setting = Setting(model, tokenizer, None, None, load_lm=lambda _: lm)
        with pytest.raises(UserError, match=r"^the CIF search cannot run: [^\n]*$") as caught:
            CifBeam().check(setting)
        return str(caught.value)

    CifBeam().check(Setting(model_of(), TOKENIZER, None, None, load_lm=lambda _: lm))
    said = refused(SimpleNamespace(after={}, heads={}), CharacterTokenizer("AB", seq2seq=False))
    for what in ("no part 'cif' and", "no part 'decoder'", "no seq2seq head", "no bos and eos"):
        assert what in said
    with pytest.raises(UserError, match="beam_size 0"):
        CifBeam(beam_size=0)
    other = Setting(model_of(), TOKENIZER, None, None, load_lm=_other_tokens)
    with pytest.raises(UserError, match="folder has other tokens"):
        CifBeam(lm="folder").check(other)


def _other_tokens(folder):
    raise UserError(f"{folder} has other tokens")
