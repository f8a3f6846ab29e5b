"""An exported folder gives the transcripts of its results folder, without PyTorch."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.export.folder import export
from speechbrain_recursive.export.model import without_offset
from speechbrain_recursive.inference.onnx import RecursiveASROnnx, greedy
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.nn.depth import Depth

WITHOUT = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing}:
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
import numpy as np
from speechbrain_recursive import RecursiveASROnnx
folder, decoder, spelled, *wavs = sys.argv[1:]
asr = RecursiveASROnnx(folder, decoder)
found = [each.as_dict() for each in asr.transcribe(wavs, loops=2)]
text = asr.tokenizer.decode(asr.decoder_at()[1](np.load(spelled)))
print(json.dumps([found, text]))
assert not {missing} & sys.modules.keys()
"""
MISSING = {
    *("torch", "torchaudio", "speechbrain", "soundfile", "sentencepiece", "onnx", "scipy", "tqdm"),
    *("huggingface_hub", "hyperpyyaml", "ruamel", "safetensors", "transformers", "matplotlib"),
    *("flashlight", "kenlm"),
}


@pytest.fixture(scope="module")
def run(talkative, trained, tmp_path_factory):
    """A results folder whose model says something, with its n-gram."""
    folder = tmp_path_factory.mktemp("run") / "run"
    shutil.copytree(talkative, folder)
    shutil.copy(trained / "ngram4.arpa", folder)
    row = next(iter(read_manifest(trained / "manifests/train-clean-100.csv").values()))
    (folder.parent / "words.json").write_text(json.dumps(row["wrd"]))
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export(run, folder)
    return folder


@pytest.fixture(scope="module")
def wavs(librispeech, tmp_path_factory):
    """The test utterances as WAV."""
    folder, found = tmp_path_factory.mktemp("wavs"), []
    for path in sorted(librispeech.glob("LibriSpeech/test-clean/*/*/*.flac")):
        found.append(folder / f"{path.stem}.wav")
        soundfile.write(found[-1], *soundfile.read(path, dtype="int16"))
    return found


def check_without_torch(folder, run, decoder, wavs):
    """Compare texts, times, and what the decoder makes of posteriors that spell a transcript badly."""
    asr = RecursiveASR.from_hparams(run, decoder=decoder)
    words = json.loads((run.parent / "words.json").read_text())
    ids = asr.tokenizer.encode(words)
    path = [token for each in ids for token in (each, asr.tokenizer.blank)]
    rng = np.random.default_rng(0)
    logits = 6 * np.eye(len(asr.tokenizer), dtype=np.float32)[path]
    log_probs = torch.from_numpy(logits + rng.normal(0, 1.5, logits.shape)).float().log_softmax(-1)
    np.save(run.parent / "spelled.npy", log_probs.numpy())
    outputs = SimpleNamespace(log_probs=log_probs[None], frames=torch.tensor([len(log_probs)]))
    expected = asr.tokenizer.decode(asr.decoder_at()[1](outputs)[0])
    assert (expected == words) == (decoder == "ngram")
    code = WITHOUT.replace("{missing}", repr(MISSING))
    command = [sys.executable, "-c", code, folder, decoder, run.parent / "spelled.npy", *wavs]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    found, text = json.loads(done.stdout)
    assert found == [each.as_dict() for each in asr.transcribe(wavs, loops=2)]
    assert text == expected


@pytest.mark.parametrize("decoder", ["greedy", "ngram"])
def test_transcripts_and_times_are_those_of_the_model(run, exported, wavs, decoder, monkeypatch):
    monkeypatch.setattr("speechbrain_recursive.decoding.flash.ENGINE", None)
    check_without_torch(exported, run, decoder, wavs)


def test_loops_depths_and_default(run, exported, wavs):
    ours, theirs = RecursiveASROnnx(exported), RecursiveASR.from_hparams(run)
    assert ours.decoder == theirs.decoder_at()[0]
    signal, _ = soundfile.read(wavs[0], dtype="float32")
    texts = [ours.transcribe_file(signal, **each) for each in ({}, {"loops": 1}, {"depth": 10})]
    assert texts == [
        theirs.transcribe_file(signal, **each) for each in ({}, {"loops": 1}, {"depth": 10})
    ]
    assert len(set(texts)) == 3
    batch = np.stack([signal, np.pad(signal[:9000], (0, len(signal) - 9000))])
    lens = np.array([1.0, 9000 / len(signal)])
    assert ours.transcribe_batch(batch, lens) == theirs.transcribe_batch(batch, lens)


def test_a_median_path_and_counts_by_duration(mini, tmp_path):
    run = mini(
        tmp_path / "run",
        "loop_policy",
        "!new:speechbrain_recursive.nn.loops.Proportional {max_seconds: 4.0}",
    )
    (run / "median_paths.json").write_text(json.dumps({"paths": {"8": {"recurrent": 3}}}))
    export(run, tmp_path / "onnx")
    ours, theirs = RecursiveASROnnx(tmp_path / "onnx"), RecursiveASR.from_hparams(run)
    for samples in (1, 21333, 21334, 42666, 42667, 10**6):
        assert ours.depth(samples=samples) == theirs.depth(seconds=[samples / 16000])
    assert ours.depth(depth=8) == theirs.depth(depth=8)


def test_subwords_need_no_sentencepiece(mini, run, wavs, tmp_path):
    words = run.parent / "words.json"
    tokens = "token_type", "unigram", "vocab_size", 60, "characters", "!!null"
    run = mini(tmp_path / "run", *tokens, "number_of_steps", 1)
    weights = torch.load(run / "model.ckpt")
    torch.manual_seed(0)
    torch.save(
        {k: v + torch.randn_like(v) if v.dim() > 1 else v for k, v in weights.items()},
        run / "model.ckpt",
    )
    export(run, tmp_path / "onnx")
    assert (tmp_path / "onnx/lexicon.json").is_file()
    shutil.copy(words, tmp_path)
    for decoder in ("greedy", "ngram"):
        check_without_torch(tmp_path / "onnx", run, decoder, wavs)


def test_sherpa_onnx_decodes_the_fixed_graph(run, wavs, tmp_path, capsys):
    sherpa = pytest.importorskip("sherpa_onnx")
    assert main(["export", str(run), str(tmp_path / "one"), "--sherpa", "--loops", "2"]) == 0
    assert "differ from the model's by" in capsys.readouterr().out
    files = {name: str(tmp_path / "one" / name) for name in ("model.onnx", "tokens.txt")}
    recognizer = sherpa.OfflineRecognizer.from_omnilingual_asr_ctc(
        files["model.onnx"], files["tokens.txt"]
    )
    asr = RecursiveASR.from_hparams(run, decoder="greedy")
    for wav in wavs:
        stream = recognizer.create_stream()
        samples, rate = soundfile.read(wav, dtype="float32")
        stream.accept_waveform(rate, samples)
        recognizer.decode_stream(stream)
        normal = torch.from_numpy((samples - samples.mean()) / samples.std())[None]
        text = asr.transcribe_file(without_offset(normal, rate)[0], loops=2)
        assert " ".join(stream.result.text.split()) == text


def test_evaluate(trained, tmp_path, capsys):
    command = ["export", str(trained), str(tmp_path / "onnx"), "--precision", "int8", "--evaluate"]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == "| depth | greedy error rate %, int8 | greedy error rate %, PyTorch |"
    rows = json.loads((trained / "report.json").read_text())["results"]
    (rate,) = {row["wer"] for row in rows if row["decoder"] == "greedy" and row["label"] == "3"}
    assert lines[-1].startswith("| 3 | ")
    assert lines[-1].endswith(f"| {rate:.2f} |")


def test_what_is_refused(exported, run, streamer, tmp_path):
    def refusal(call, *args, **options):
        with pytest.raises(UserError) as caught:
            call(*args, **options)
        return str(caught.value)

    asr = RecursiveASROnnx(exported)
    assert "give one of them" in refusal(asr.depth, loops=2, depth=3)
    assert "no path of the schedule" in refusal(asr.depth, depth=1)
    assert "at least 1" in refusal(asr.depth, loops=0)
    assert "decoder joint:" in refusal(RecursiveASROnnx, exported, "joint")
    assert "holds no exported model" in refusal(RecursiveASROnnx, run)
    for name, text, said in (
        ("export.json", "{", "is damaged"),
        ("export.json", '{"format": 99}', "later version"),
        ("model.onnx", "no graph", "cannot be loaded"),
    ):
        broken = tmp_path / name.replace(".", "") / text[2:5]
        broken.mkdir(parents=True)
        for path in exported.iterdir():
            (broken / path.name).write_bytes(path.read_bytes())
        (broken / name).write_text(text)
        assert said in refusal(RecursiveASROnnx, broken)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("")
    assert "holds other files" in refusal(export, run, tmp_path / "mine")
    assert "only --sherpa fixes one" in refusal(export, run, tmp_path / "x", loops=2)
    assert "is evaluated in chunks" in refusal(export, streamer, tmp_path / "x")
    assert "precision int4" in refusal(export, run, tmp_path / "x", precision="int4")


def test_a_graph_that_is_not_the_model_is_not_kept(run, exported, tmp_path, monkeypatch):
    out = tmp_path / "onnx"
    shutil.copytree(exported, out)
    before = (out / "model.onnx").read_bytes()
    monkeypatch.setattr("speechbrain_recursive.export.folder.TOLERANCE", {"fp32": 0.0})
    with pytest.raises(UserError, match="the graph differs from the model by"):
        export(run, out)
    assert (out / "model.onnx").read_bytes() == before


def test_greedy_is_that_of_pytorch():
    from speechbrain_recursive.decoding.greedy import greedy as batched

    log_probs = torch.randn(1, 50, 4)
    assert [greedy(log_probs[0].numpy())] == batched(log_probs, torch.tensor([50]))


def test_blocks_that_cannot_loop_further(exported, tmp_path):
    for path in exported.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    about = json.loads((tmp_path / "export.json").read_text())
    (tmp_path / "export.json").write_text(json.dumps(about | {"most_loops": {"recurrent": 4}}))
    asr = RecursiveASROnnx(tmp_path)
    assert asr.depth(loops=4) == Depth.of(asr.schedule, 4)
    with pytest.raises(UserError, match="'recurrent' was made for 4 loops at most, not 5"):
        asr.depth(loops=5)
