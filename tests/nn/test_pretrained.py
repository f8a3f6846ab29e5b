"""A model starts from Hugging Face's weights, or from the layers of a finished run that it keeps."""

import json
import logging
import shutil

import pytest
import torch
from transformers import (
    AutoConfig,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
)

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.pretrained import Pretrained
from speechbrain_recursive.nn.schedule import standard
from speechbrain_recursive.nn.ssl import ssl_parts

SIZES = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
}
PIECES = ["<blank>", "<unk>", "|", "'", "A", "B", "C"]
VOCABULARY = ["<pad>", "<s>", "</s>", "<unk>", "|", "C", "A", "'", "Z"]  # no B


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory):
    """A fine-tuned wav2vec 2.0 of four layers in a folder, and the model itself."""
    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(0)
    config = Wav2Vec2Config(num_hidden_layers=4, vocab_size=len(VOCABULARY), pad_token_id=0, **SIZES)
    model = Wav2Vec2ForCTC(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    model.save_pretrained(folder)
    ids = {piece: i for i, piece in enumerate(VOCABULARY)}
    (folder / "vocab.json").write_text(json.dumps(ids))
    Wav2Vec2CTCTokenizer(folder / "vocab.json").save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder, model


@pytest.fixture(scope="module")
def hubert(tmp_path_factory):
    """A HuBERT without a head in a folder."""
    folder = tmp_path_factory.mktemp("hubert")
    torch.manual_seed(0)
    HubertModel(HubertConfig(num_hidden_layers=2, **SIZES)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return folder


def build(n, kind="wav2vec2", pieces=PIECES, **options):
    torch.manual_seed(1)
    embed, layers = ssl_parts(kind, num_hidden_layers=n, **SIZES | options)
    head = CTCHead(SIZES["hidden_size"], len(pieces))
    return ASRModel(embed, RecursiveEncoder(layers, standard(n)), {"ctc": head}).eval()


@torch.no_grad()
def test_a_fine_tuned_model_speaks_our_tokens(wav2vec2, caplog):
    folder, stock = wav2vec2
    model = build(4)
    fresh = model.heads["ctc"].linear.weight[PIECES.index("B")].clone()
    with caplog.at_level(logging.INFO):
        Pretrained(folder)(model, PIECES)
    wave = torch.randn(1, 8000)
    ours = model.heads["ctc"].linear(model.from_features(wave, torch.tensor([8000])).encoded)
    theirs = stock(wave).logits
    rows = {0: "<pad>", 1: "<unk>", 2: "|", 3: "'", 4: "A", 6: "C"}
    places = [VOCABULARY.index(piece) for piece in rows.values()]
    torch.testing.assert_close(ours[..., list(rows)], theirs[..., places], atol=1e-6, rtol=1e-6)
    assert torch.equal(model.heads["ctc"].linear.weight[PIECES.index("B")], fresh)
    assert f"CTC head of {folder}: 6 of 7 rows carried over; fresh: B" in caplog.text
    assert f"Starts from layers 0, 1, 2, 3 of {folder}" in caplog.text


@torch.no_grad()
def test_kept_layers_run_in_their_order(wav2vec2):
    folder, stock = wav2vec2
    model = build(2)
    Pretrained(folder, kept=[1, 3])(model, PIECES)
    stock.wav2vec2.encoder.layers, all_layers = (
        stock.wav2vec2.encoder.layers[1::2],
        stock.wav2vec2.encoder.layers,
    )
    wave = torch.randn(1, 8000)
    expected = stock.wav2vec2(wave).last_hidden_state
    stock.wav2vec2.encoder.layers = all_layers
    assert torch.equal(model.from_features(wave, torch.tensor([8000])).encoded, expected)


def test_a_model_without_a_head_gets_a_fresh_one(hubert, caplog):
    model = build(2, "hubert")
    head = model.heads["ctc"].linear.weight.clone()
    before = model.encoder.layers[0].attention.k_proj.weight.clone()
    with caplog.at_level(logging.INFO):
        Pretrained(hubert)(model, PIECES)
    assert torch.equal(model.heads["ctc"].linear.weight, head)
    assert not torch.equal(model.encoder.layers[0].attention.k_proj.weight, before)
    assert "has no CTC head: all 7 rows start from random weights" in caplog.text


def test_without_a_source_nothing_changes():
    model = build(2)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    Pretrained(None)(model, PIECES)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.fixture
def run(tmp_path):
    """The results folder of a run of four layers, which was analyzed."""
    model = build(4)
    torch.save(model.state_dict(), tmp_path / "model.ckpt")
    kept = {"3": [0, 1, 3], "2": [1, 3], "1": [3]}
    (tmp_path / "sensitivity.json").write_text(json.dumps({"kept": kept}))
    return tmp_path, model


@pytest.mark.parametrize(("n", "layers"), [(4, [0, 1, 2, 3]), (3, [0, 1, 3]), (2, [1, 3])])
def test_a_run_gives_the_layers_that_it_needs_most(run, n, layers):
    folder, teacher = run
    model = build(n)
    Pretrained(folder)(model, PIECES)
    theirs = teacher.state_dict()
    for key, value in model.state_dict().items():
        if key.startswith("encoder.layers."):
            _, _, index, name = key.split(".", 3)
            key = f"encoder.layers.{layers[int(index)]}.{name}"
        assert torch.equal(value, theirs[key])


def refusal(source, model, **options):
    with pytest.raises(UserError) as caught:
        Pretrained(source, **options)(model, PIECES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fewer_layers_need_a_choice(run, wav2vec2):
    folder, _ = run
    (folder / "sensitivity.json").unlink()
    said = refusal(folder, build(2))
    assert f"source: {folder} has 4 layers, this model 2: name those to keep, such as --kept" in said
    assert f"or run speechbrain-recursive analyze sensitivity {folder}" in said
    (folder / "sensitivity.json").write_text('{"kept": {"3": [0, 1, 3]}}')
    assert f"analyze sensitivity {folder}" in refusal(folder, build(2))
    assert "has 4 layers, this model 2: name those to keep" in refusal(wav2vec2[0], build(2))
    assert "has 4 layers, this model 5: set --n_layers to 4 or less" in refusal(folder, build(5))


def test_layers_that_cannot_be_kept(run):
    said = refusal(run[0], build(2), kept=[3, 0])
    assert said == f"source: {run[0]}: kept: [3, 0] is to name layers from 0 to 3, in their order"


def test_what_cannot_be_loaded(wav2vec2, hubert, tmp_path, monkeypatch):
    folder, _ = wav2vec2
    said = refusal(folder, build(4, intermediate_size=32))
    assert said == f"source: {folder} has intermediate_size 64, this recipe 32"
    assert 'has model_type "hubert", this recipe "wav2vec2"' in refusal(hubert, build(2))
    assert f"{tmp_path} holds no finished run (model.ckpt) and no model" in refusal(tmp_path, build(2))
    said = refusal("results/gone/1234", build(2))
    assert said.startswith("source: results/gone/1234 is no folder, and no name of a Hugging Face model")
    shutil.copytree(folder, tmp_path / "other")
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path / "other")
    assert "has do_normalize False, this recipe True" in refusal(tmp_path / "other", build(4))
    (tmp_path / "other/model.safetensors").write_bytes(b"no weights")
    assert "other cannot be loaded: " in refusal(tmp_path / "other", build(4))

    def offline(name, **_):
        raise OSError(
            "We couldn't connect to 'https://huggingface.co' to load the files.\nCheck your connection"
        )

    monkeypatch.setattr(AutoConfig, "from_pretrained", offline)
    said = refusal("facebook/wav2vec2-base-100h", build(4))
    assert said.startswith("source: facebook/wav2vec2-base-100h cannot be loaded: We couldn't connect")
    assert said.endswith("give the folder of a copy with --source")


def test_a_checkpoint_that_lacks_weights(hubert, tmp_path):
    config = HubertConfig(num_hidden_layers=2, **SIZES)
    part = HubertModel(config).state_dict()
    del part["encoder.layers.1.attention.k_proj.weight"]
    shutil.copytree(hubert, tmp_path / "part")
    HubertModel(config).save_pretrained(tmp_path / "part", state_dict=part)
    said = refusal(tmp_path / "part", build(2, "hubert"))
    assert "part lacks encoder.layers.1.attention.k_proj.weight (1 in all)" in said
