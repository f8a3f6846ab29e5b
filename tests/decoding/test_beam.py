"""The n-gram beam in both engines: unusual inputs, refusals, and n-grams that are estimated."""

import gzip
import itertools
import math
import re
import sys
from types import SimpleNamespace

import pytest
import torch

from speechbrain_recursive.data.tokenizers import CharacterTokenizer, SentencePieceTokenizer
from speechbrain_recursive.decoding import flash
from speechbrain_recursive.decoding.arpa import BINARY
from speechbrain_recursive.decoding.beam import NgramBeam
from speechbrain_recursive.decoding.decoder import Setting
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError

needs_flashlight = pytest.mark.skipif(
    not flash.ENGINE, reason="flashlight-text and kenlm are not installed"
)
SENTENCES = ["A B", "AB A", "BB A", "B AB", "A", "BAB B"]


@pytest.fixture(
    scope="module", autouse=True, params=["NumPy", pytest.param("flashlight", marks=needs_flashlight)]
)
def engine(request):
    """Whether flashlight-text can be imported."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "NumPy":
            patch.setattr(flash, "ENGINE", None)
        yield request.param


@pytest.fixture(scope="module")
def arpa(tmp_path_factory):
    return estimate_ngram(SENTENCES, tmp_path_factory.mktemp("ngram") / "lm.arpa", order=3)


def setting_of(tokenizer, folder=None, text=None):
    return Setting(model=None, tokenizer=tokenizer, folder=folder, text=text, load_lm=None)


def beam_of(tokenizer, ngram, **options):
    """The built search as ``(log_probs, frames) -> token ids``."""
    decode = NgramBeam(ngram, **options).build(setting_of(tokenizer))
    return lambda log_probs, frames: decode(SimpleNamespace(log_probs=log_probs, frames=frames))


def peaky(labels, size, peak=12.0):
    """Log-posteriors [T, V] in which each frame has one clear label."""
    torch.manual_seed(0)
    logits = torch.randn(len(labels), size)
    logits[torch.arange(len(labels)), labels] += peak
    return logits.log_softmax(-1)


@pytest.fixture(scope="module")
def beam(arpa, engine):
    return beam_of(CharacterTokenizer("AB"), arpa)


def test_rows_do_not_depend_on_padding_or_order(beam):
    torch.manual_seed(1)
    log_probs, frames = torch.randn(6, 12, 7).log_softmax(-1), torch.tensor([12, 0, 1, 5, 7, 11])
    alone = [
        beam(row[None, :n], torch.tensor([n]))[0]
        for row, n in zip(log_probs, frames.tolist(), strict=True)
    ]
    assert beam(log_probs, frames) == alone
    assert beam(log_probs.flip(0), frames.flip(0)) == alone[::-1]
    assert (
        beam(log_probs.masked_fill(torch.arange(12)[:, None] >= frames[:, None, None], 5.0), frames)
        == alone
    )
    assert alone[1] == []


def test_the_last_word_needs_no_boundary_after_it(beam):
    tokenizer = CharacterTokenizer("AB")
    blank, bar, a, b = 0, 4, 5, 6
    for labels, text in (
        ([a, b, b], "AB"),
        ([a, b, bar, bar], "AB"),
        ([bar, a, bar, blank, bar, b, b, blank], "A B"),
        ([b, blank, b, bar, a], "BB A"),
        ([blank] * 4, ""),
        ([bar] * 2, ""),
    ):
        assert tokenizer.decode(beam(peaky(labels, 7)[None], torch.tensor([len(labels)]))[0]) == text


def test_a_certain_token_outside_all_words_is_stepped_over(beam):
    log_probs = torch.full((1, 4, 7), -math.inf)
    log_probs[0, torch.arange(4), torch.tensor([5, 3, 4, 6])] = 0.0
    assert beam(log_probs, torch.tensor([4])) == [[5, 4, 6]]


def test_sentence_pieces_may_last(tmp_path):
    text = [" ".join(words) for words in itertools.permutations(["THE", "CAT", "SAT", "THERE"], 3)]
    tokenizer = SentencePieceTokenizer.from_texts(text, vocab_size=16)
    beam = beam_of(tokenizer, estimate_ngram(text, tmp_path / "lm.arpa", order=2))
    for sentence in text[::3]:
        ids = tokenizer.encode(sentence)
        for repeats in ([1], [3], [1, 2, 4], [2, 1]):
            labels = []
            for token, times in zip(ids, itertools.cycle(repeats)):
                labels += [0] * (labels[-1:] == [token]) + [token] * times
            log_probs = peaky(labels, len(tokenizer))[None]
            assert tokenizer.decode(beam(log_probs, torch.tensor([len(labels)]))[0]) == sentence


def test_the_ngram_decides_between_equals(tmp_path):
    tokenizer = CharacterTokenizer("ABC")
    arpa = estimate_ngram(["A B"] * 5 + ["C C B", "C"], tmp_path / "lm.arpa", order=2)
    log_probs = peaky([5, 4, 6], len(tokenizer))
    log_probs[0, 7] = log_probs[0, 5]
    for weight, text in ((0.5, "A B"), (-0.5, "C B")):
        beam = beam_of(tokenizer, arpa, weight=weight)
        assert tokenizer.decode(beam(log_probs[None], torch.tensor([3]))[0]) == text


@pytest.mark.parametrize("method", ["check", "build"])
def test_another_alphabet_is_refused(method, arpa, tmp_path):
    with pytest.raises(UserError, match=r"lm\.arpa has letters that the tokenizer lacks: B; .* A"):
        getattr(NgramBeam(arpa), method)(setting_of(CharacterTokenizer("AC")))
    lower = estimate_ngram(["the cat"], tmp_path / "lower.arpa", order=2)
    with pytest.raises(UserError, match=r"lower.arpa .* a c e h t;"):
        getattr(NgramBeam(lower), method)(setting_of(CharacterTokenizer("THECA")))


@pytest.mark.parametrize("method", ["check", "build"])
def test_an_ngram_that_cannot_be_read_is_refused(method, tmp_path):
    setting = setting_of(CharacterTokenizer("AB"))
    with pytest.raises(UserError, match=r"no n-gram at .*none.arpa"):
        getattr(NgramBeam(tmp_path / "none.arpa"), method)(setting)
    short = estimate_ngram(["A B"], tmp_path / "short.arpa", order=1)
    with pytest.raises(UserError, match=r"short.arpa .*bigram"):
        getattr(NgramBeam(short), method)(setting)


def test_a_damaged_ngram_is_refused_when_it_is_loaded(tmp_path):
    broken = estimate_ngram(["A B"], tmp_path / "broken.arpa", order=2)
    broken.write_text(broken.read_text().replace("ngram 2=", "ngram 2=1"))  # beyond the unigrams
    with pytest.raises(UserError, match=r"(KenLM cannot load|cannot be read).*: [^\n]*$"):
        NgramBeam(broken).build(setting_of(CharacterTokenizer("AB")))


def test_a_binary_without_kenlm_is_refused_before_training(tmp_path, monkeypatch):
    binary = tmp_path / "lm.bin"
    binary.write_bytes(BINARY + b" format version 5\n\0<unk>\0<s>\0</s>\0B\0A\0")
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(UserError, match=r"lm.bin is a KenLM binary.* give the ARPA file$"):
        NgramBeam(binary).check(setting_of(CharacterTokenizer("AB")))


def test_the_log_and_the_search_name_the_engine(arpa, engine, caplog):
    with caplog.at_level("INFO"):
        found = NgramBeam(arpa).build(setting_of(CharacterTokenizer("AB"))).engine
    assert re.fullmatch(
        {"NumPy": r"NumPy \S+", "flashlight": r"flashlight-text \S+ with KenLM"}[engine], found
    )
    (line,) = [record.getMessage() for record in caplog.records if "beam" in record.getMessage()]
    assert line.endswith(f"lm.arpa runs in {found}")
    without = CharacterTokenizer("AB", boundary=False)
    assert NgramBeam(arpa).build(setting_of(without)).engine.startswith("NumPy ")


@pytest.mark.parametrize("order", [1, 7])
def test_an_order_that_kenlm_cannot_load_is_refused(order):
    with pytest.raises(UserError, match=f"n-gram order {order}: must be 2 to 6"):
        NgramBeam(order=order)


def test_without_an_ngram_one_is_estimated_from_the_training_text(beam, arpa, tmp_path):
    declared = NgramBeam(order=3)
    declared.check(setting_of(CharacterTokenizer("AB")))  # needs no text
    decode = declared.build(setting_of(CharacterTokenizer("AB"), tmp_path, lambda: SENTENCES))
    assert (tmp_path / "ngram3.arpa").read_bytes() == arpa.read_bytes()
    log_probs, frames = torch.randn(6, 12, 7).log_softmax(-1), torch.full((6,), 12)
    assert decode(SimpleNamespace(log_probs=log_probs, frames=frames)) == beam(log_probs, frames)


def test_estimates_of_several_orders_do_not_share_a_file(tmp_path):
    for order in (2, 3):
        setting = setting_of(CharacterTokenizer("AB"), tmp_path, lambda: SENTENCES)
        NgramBeam(order=order).build(setting)
    for order in (2, 3):
        assert f"ngram {order}=" in (tmp_path / f"ngram{order}.arpa").read_text()
    assert "ngram 3=" not in (tmp_path / "ngram2.arpa").read_text()


def test_a_given_ngram_leaves_the_training_text_unread(arpa, tmp_path):
    def text():
        raise AssertionError("the text was read")

    NgramBeam(arpa).build(setting_of(CharacterTokenizer("AB"), tmp_path, text))
    assert list(tmp_path.iterdir()) == []


def test_a_gzipped_ngram_decodes_as_it_does_unzipped(beam, arpa, tmp_path):
    zipped = tmp_path / "lm.arpa.gz"
    zipped.write_bytes(gzip.compress(arpa.read_bytes()))
    log_probs, frames = torch.randn(6, 12, 7).log_softmax(-1), torch.full((6,), 12)
    assert beam_of(CharacterTokenizer("AB"), zipped)(log_probs, frames) == beam(log_probs, frames)


def test_characters_without_boundary_are_words_of_one(tmp_path):
    text = ["爷爷在山下", "爷爷在水下", "山下爷爷"]
    tokenizer = CharacterTokenizer.from_texts(text, boundary=False, size=12)
    arpa = estimate_ngram([" ".join(line) for line in text], tmp_path / "lm.arpa", order=3)
    beam = beam_of(tokenizer, arpa)
    for sentence in text:
        ids = tokenizer.encode(sentence)
        for repeats in ([1], [3], [1, 2, 4]):
            labels = []
            for token, times in zip(ids, itertools.cycle(repeats)):
                labels += [0] * (labels[-1:] == [token]) + [token] * times
            log_probs = peaky(labels, len(tokenizer))[None]
            assert tokenizer.decode(beam(log_probs, torch.tensor([len(labels)]))[0]) == sentence
    water, below, man, hill = tokenizer.encode("水下爷山")
    log_probs = peaky([water, below, man, tokenizer.blank, man], len(tokenizer))
    log_probs[0, hill] = log_probs[0, water] - 0.1
    for weight, sentence in ((0.0, "水下爷爷"), (1.0, "山下爷爷")):  # no sentence begins with water
        ids = beam_of(tokenizer, arpa, weight=weight)(log_probs[None], torch.tensor([5]))[0]
        assert tokenizer.decode(ids) == sentence
