"""What is measured is what the layers compute, at frames that hold audio."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from speechbrain_recursive.data.dataset import read_audio
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.inference import layers as module
from speechbrain_recursive.inference.layers import Layers, find_audio, layer_outputs, open_layers
from speechbrain_recursive.nn.attention import Attention
from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.frontend import ConvSubsampling
from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.schedule import cycle


@pytest.fixture(scope="module")
def speech(librispeech):
    return sorted(librispeech.glob("LibriSpeech/dev-clean/*/*/*.flac"))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    """A Whisper of three layers and a window of two seconds, with random weights."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers (extra ssl) is not installed"
    )
    config = transformers.WhisperConfig(
        vocab_size=20,
        num_mel_bins=16,
        encoder_layers=3,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        d_model=16,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=100,
        max_target_positions=8,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(4)
    model = transformers.WhisperModel(config)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.2)
    model.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=2).save_pretrained(folder)
    return folder


def test_ours_are_the_taps_at_every_logical_step(trained, speech):
    layers = open_layers(trained)
    assert layers.labels == ["0", "1/0", "2/0", "1/1", "2/1", "1/2", "2/2", "3"]
    assert layers.audio == trained / "manifests" / "dev-clean.csv"
    (outputs,) = layer_outputs(layers, speech[:1])
    model, _ = load_trained(trained)
    signal = read_audio(speech[0])
    with torch.no_grad():
        whole = model(signal[None], torch.ones(1))
    assert outputs.shape == (8, int(whole.frames), 16)
    last = model.encoder.norm(outputs[-1])
    torch.testing.assert_close(last, whole.encoded[0])


def test_loops_of_ours(trained, speech):
    layers = open_layers(trained, loops=1)
    assert layers.labels == ["0", "1", "2", "3"]
    first, second = layer_outputs(layers, speech[:2])
    assert len(first) == len(second) == 4
    three = next(layer_outputs(open_layers(trained), speech[:1]))
    torch.testing.assert_close(first[:3], three[:3])  # the first loop is the same, the coda is not
    assert not torch.allclose(first[3], three[7])


def test_attention_of_ours_is_by_head_at_every_logical_step(trained, speech):
    (weights,) = layer_outputs(open_layers(trained, attention=True), speech[:1])
    (states,) = layer_outputs(open_layers(trained), speech[:1])
    time = states.shape[1]
    assert weights.shape == (8, 2, time, time)
    torch.testing.assert_close(weights.sum(-1), torch.ones(8, 2, time))
    model, _ = load_trained(trained)
    layer = model.encoder.layers[1]
    for step in (1, 3, 5):  # its three loops
        x = layer.norm1(states[step - 1][None])
        torch.testing.assert_close(weights[step], Attention(layer.self_att)(x, x, x)[1][0])
    one = next(layer_outputs(open_layers(trained, loops=1, attention=True), speech[:1]))
    torch.testing.assert_close(one[:3], weights[:3])


def test_layers_without_attention_weights(whisper, tmp_path, monkeypatch):
    features, normalize = Fbank(n_mels=40), InputNormalization(norm_type="sentence")
    embed = FilterbankEmbedding(features, normalize, ConvSubsampling(4), 40, d_model=16)
    encoder = RecursiveEncoder(RopeEncoder(2, d_model=16, nhead=2, d_ffn=32), cycle(2, loops=3))
    model = ASRModel(embed, encoder, {"ctc": CTCHead(16, n_tokens=30)})
    monkeypatch.setattr(module, "open_results", lambda *_: (model, None, {}))
    (tmp_path / "hyperparams.yaml").touch()
    said = f"{tmp_path} has no attention weights to read: RopeBlock has no self-attention"
    with pytest.raises(UserError, match=said):
        open_layers(tmp_path, attention=True)
    with pytest.raises(UserError, match="attention is read from results folders alone"):
        open_layers(whisper, attention=True)


@pytest.mark.parametrize(
    ("labels", "passes"),
    [
        ("0 1 2", []),
        ("0/0 1/0 2/0 0/1 1/1 2/1 0/2 1/2 2/2", [3, 6]),
        ("0/0 0/1 0/2 1/0 1/1 1/2", [1, 2, 4, 5]),
        ("0 1/0 2/0 1/1 2/1 3/0 4/0 3/1 4/1 5", [3, 7]),
    ],
)
def test_steps_that_begin_another_pass(labels, passes):
    assert Layers.passes.fget(SimpleNamespace(labels=labels.split())) == passes


def test_whisper_without_its_padding(whisper, tmp_path):
    import transformers

    samples = np.random.default_rng(0).normal(scale=0.1, size=16000 + 200).astype("float32")
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    layers = open_layers(whisper)
    assert layers.labels == ["0", "1", "2"]
    (outputs,) = layer_outputs(layers, [tmp_path / "a.wav"])
    assert outputs.shape == (3, 51, 16)  # 20 ms a frame: 50, and one that holds the rest
    encoder = transformers.WhisperModel.from_pretrained(whisper).encoder.eval()
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(whisper)
    mel = extractor(samples, sampling_rate=16000, return_tensors="pt").input_features
    with torch.no_grad():
        states = encoder(mel, output_hidden_states=True)
        last = encoder.layer_norm(outputs[2])
    torch.testing.assert_close(outputs[:2], torch.cat(states.hidden_states[1:3])[:, :51])
    torch.testing.assert_close(last, states.last_hidden_state[0, :51])


def test_whisper_hears_no_more_than_its_window(whisper, tmp_path):
    samples = np.random.default_rng(0).normal(scale=0.1, size=16000 * 3)
    soundfile.write(tmp_path / "long.wav", samples, 16000)
    soundfile.write(tmp_path / "cut.wav", samples[:32000], 16000)
    files = [tmp_path / "long.wav", tmp_path / "cut.wav"]
    long, cut = layer_outputs(open_layers(whisper), files)
    assert long.shape == (3, 100, 16)
    torch.testing.assert_close(long, cut)


def test_empty_audio_is_left_out(trained, speech, tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    assert len(list(layer_outputs(open_layers(trained), [tmp_path / "empty.wav", speech[0]]))) == 1


def test_audio_of_a_folder_a_manifest_and_a_file(trained, librispeech, speech):
    names = [str(path) for path in speech]
    assert find_audio(librispeech / "LibriSpeech" / "dev-clean") == names
    assert sorted(find_audio(trained / "manifests" / "dev-clean.csv")) == sorted(names)
    assert find_audio(speech[0]) == names[:1]


def test_a_limit_is_spread_evenly(tmp_path):
    for i in range(10):
        (tmp_path / f"{i}.WAV").touch()
    (tmp_path / "notes.txt").touch()
    assert [path[-5] for path in find_audio(tmp_path, 4)] == ["0", "2", "5", "7"]
    assert len(find_audio(tmp_path, 99)) == 10


def test_mistakes_are_named(trained, lm, tmp_path):
    def says(message, call, *arguments, **options):
        with pytest.raises(UserError, match=message) as error:
            call(*arguments, **options)
        assert "\n" not in str(error.value)

    says("no audio at .*: give", find_audio, tmp_path)
    says("no audio at .*gone.wav", find_audio, tmp_path / "gone.wav")
    says("at least one utterance is needed, got 0", find_audio, trained / "manifests/dev-clean.csv", 0)
    says("no results folder .* and no Whisper", open_layers, tmp_path)
    says("holds TransformerLM, not ASRModel", open_layers, lm)
    says("loops must be at least 1, got 0", open_layers, trained, 0)
    says("--device nothing", open_layers, trained, device="nothing")


def test_what_is_no_whisper_is_named(whisper, tmp_path):
    with pytest.raises(UserError, match=r"--loops 2: .* has no loops"):
        open_layers(whisper, 2)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match="nor a Whisper: it is a bert model"):
        open_layers(tmp_path)
    with pytest.raises(UserError, match="neither a results folder nor a Whisper") as error:
        open_layers(tmp_path / "gone")
    assert "\n" not in str(error.value)
