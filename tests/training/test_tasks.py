"""The tasks of recognition and language modeling, through the recipe's own command line."""

import inspect
import json
import math
import re
from pathlib import Path

import pytest
import soundfile
import torch

from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.hparams import load, load_trained
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.loops import LoopPolicy
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.request import Request
from speechbrain_recursive.objectives.objective import Objective
from speechbrain_recursive.training.run import train

MINI = Path(__file__).parents[2] / "recipes/LibriSpeech/hparams/mini.yaml"


def weights(folder):
    return torch.load(folder / "model.ckpt")


def logged(folder, name):
    """The numbers that the training log has under a name."""
    text = (folder / "train_log.txt").read_text()
    return [float(value) for value in re.findall(rf"{name}: ([-+.\w]+)", text)]


def joint_hypotheses(folder):
    rows = json.loads((folder / "hypotheses.json").read_text())
    return [row["hypothesis"] for row in rows if row["decoder"] == "joint"]


@pytest.fixture
def watched(monkeypatch):
    """Arguments of every call of the model and of the loop policy in training, in their order."""
    calls = {"model": [], "policy": []}
    forward, policy = ASRModel.forward, LoopPolicy.__call__

    def watch_model(self, *args, **options):
        given = inspect.signature(forward).bind(self, *args, **options).arguments
        calls["model"].append({"training": self.training, **given})
        return forward(self, *args, **options)

    def watch_policy(self, schedule, step, total_steps, seconds):
        calls["policy"].append({"step": step, "total_steps": total_steps, "seconds": seconds})
        return policy(self, schedule, step, total_steps, seconds)

    monkeypatch.setattr(ASRModel, "forward", watch_model)
    monkeypatch.setattr(LoopPolicy, "__call__", watch_policy)
    return calls


def test_a_finished_run_is_only_reported_again(mini, tmp_path, watched):
    mini(tmp_path)
    assert sum(call["training"] for call in watched["model"]) == 2
    before, first = weights(tmp_path), logged(tmp_path, "step")
    (tmp_path / "report.json").unlink()
    watched["model"].clear()
    mini(tmp_path, "eval_loops", "[1, 3]")
    assert not any(call["training"] for call in watched["model"])
    assert logged(tmp_path, "step") == first == [2]
    assert all(torch.equal(value, before[key]) for key, value in weights(tmp_path).items())
    rows = json.loads((tmp_path / "report.json").read_text())["results"]
    assert {row["loops"] for row in rows} == {1, 3}


def test_the_policy_is_asked_for_each_batch_of_a_step(mini, tmp_path, watched, librispeech):
    mini(tmp_path, "grad_accumulation_factor", 2, "max_batch_seconds", 8)
    asked = watched["policy"]
    assert [call["step"] for call in asked] == [0, 0, 1, 1]
    assert {call["total_steps"] for call in asked} == {2}
    train = librispeech.glob("LibriSpeech/train-clean-100/*/*/*.flac")
    real = torch.tensor([soundfile.info(path).duration for path in train])
    for call in asked:
        distance = (torch.tensor(call["seconds"])[:, None] - real).abs().min(dim=1).values
        assert (distance < 1e-6).all()


def test_loops_of_training_and_of_evaluation(mini, tmp_path, watched, monkeypatch):
    monkeypatch.setattr(LoopPolicy, "__call__", lambda self, schedule, *_: Depth.of(schedule, 2))
    mini(tmp_path)
    assert [call["depth"].loops for call in watched["model"] if call["training"]] == [2, 2]
    assert {call["depth"].loops for call in watched["model"] if not call["training"]} == {3}


def test_only_training_is_augmented(mini, tmp_path, watched):
    mini(tmp_path)
    for call in watched["model"]:
        assert (call.get("augment") is not None) == call["training"]


def test_bf16_trains(mini, trained, tmp_path):
    mini(tmp_path, "precision", "bf16")
    plain, mixed = weights(trained), weights(tmp_path)
    assert all(value.isfinite().all() for value in mixed.values())
    assert all(value.dtype == plain[key].dtype for key, value in mixed.items())
    assert not all(torch.equal(value, plain[key]) for key, value in mixed.items())
    assert logged(tmp_path, "train loss") == pytest.approx(logged(trained, "train loss"), rel=0.02)
    assert logged(tmp_path, "skipped steps") == [0]


CHUNKS = f"""base: {MINI}
layers:
    encoder_module: conformer
    kernel_size: 7
attention_type: RelPosMHAXL
d_model: 16
nhead: 2
d_ffn: 32
dynamic_chunks: !new:speechbrain.utils.dynamic_chunk_training.DynChunkTrainConfigRandomSampler
    chunkwise_prob: 1.0
    chunk_size_min: 8
    chunk_size_max: 8
    limited_left_context_prob: 1.0
    left_context_chunks_min: 2
    left_context_chunks_max: 2
"""


def test_dynamic_chunks_train_a_conformer(librispeech, run_recipe, watched, tmp_path):
    path = tmp_path / "chunks.yaml"
    path.write_text(CHUNKS)
    words = {"data_folder": librispeech, "output_folder": tmp_path, "number_of_steps": 2}
    words |= {"tensorboard": False, "eval_loops": "[3]", "device": "cpu"}
    run_recipe([path, *(word for key, value in words.items() for word in (f"--{key}", value))])
    heard = [call for call in watched["model"] if call["wavs"].any()]  # not the silence of a first try
    assert {call["training"] for call in heard} == {True, False}
    for call in heard:
        chunks = call.get("dynchunktrain_config")
        assert (chunks is not None) == call["training"]
        assert chunks is None or (chunks.chunk_size, chunks.left_context_size) == (8, 2)
    assert logged(tmp_path, "skipped steps") == [0]


def test_perplexity_is_that_of_a_slow_reference(lm):
    model, _ = load_trained(lm)
    tokenizer = load_tokenizer(lm / "tokenizer.json")

    def perplexity(split):
        surprise = tokens = 0
        for row in read_manifest(lm / "manifests" / f"{split}.csv").values():
            sentence = [tokenizer.bos, *tokenizer.encode(row["wrd"]), tokenizer.eos]
            for i in range(1, len(sentence)):
                logits = model(torch.tensor([sentence[:i]]))[0, -1]
                surprise -= float(logits.log_softmax(-1)[sentence[i]])
                tokens += 1
        return math.exp(surprise / tokens)

    with torch.no_grad():
        assert logged(lm, "valid perplexity") == [pytest.approx(perplexity("dev-clean"), abs=0.006)]
        (row,) = json.loads((lm / "report.json").read_text())["results"]
        assert row == {"split": "test-clean", "perplexity": pytest.approx(perplexity("test-clean"))}


def test_a_language_model_is_fused_into_the_joint_search(mini, lm, tmp_path):
    mini(tmp_path)
    alone = joint_hypotheses(tmp_path)
    mini(tmp_path, "lm", lm, "lm_weight", 0.0)
    assert joint_hypotheses(tmp_path) == alone
    mini(tmp_path, "lm", lm, "lm_weight", 20.0)
    assert joint_hypotheses(tmp_path) != alone


def test_a_language_model_of_other_tokens_is_refused(mini, lm, trained, tmp_path):
    other = tmp_path / "lm"
    other.mkdir()
    for name in ("hyperparams.yaml", "model.ckpt"):
        (other / name).write_bytes((lm / name).read_bytes())
    tokens = json.loads((lm / "tokenizer.json").read_text())
    tokens["alphabet"] = [*tokens["alphabet"][:-1], "Ä"]
    (other / "tokenizer.json").write_text(json.dumps(tokens))
    with pytest.raises(SystemExit, match=rf"error: {other}/tokenizer\.json: token .* in this run"):
        mini(tmp_path / "run", "lm", other)
    with pytest.raises(SystemExit, match=f"error: {trained} holds ASRModel, not TransformerLM"):
        mini(tmp_path / "run", "lm", trained)


def test_a_recipe_trains_in_process(librispeech, tmp_path):
    given = {"data_folder": str(librispeech), "output_folder": str(tmp_path), "number_of_steps": 2}
    given |= {"d_model": 16, "nhead": 2, "d_ffn": 32, "eval_loops": [], "tensorboard": False}
    report = train(*load(MINI, given), {"device": "cpu", "noprogressbar": True}, "in process")
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["command"] == "in process"
    assert report["steps"] == 2


class Exploding(Objective):
    """A loss that is not a number."""

    def needs(self, depth):
        return Request(heads=["ctc"])

    def forward(self, outputs, batch):
        return {"loss": outputs.log_probs.sum() * torch.nan}


def test_a_training_that_diverges_is_reported_as_such(librispeech, tmp_path, capsys):
    given = {"data_folder": str(librispeech), "output_folder": str(tmp_path), "number_of_steps": 9}
    given |= {"d_model": 16, "nhead": 2, "d_ffn": 32, "eval_loops": [2], "tensorboard": False}
    hparams, text = load(MINI, given)
    hparams["objective"] = Exploding()
    report = train(hparams, text, {"device": "cpu", "noprogressbar": True, "nonfinite_patience": 1})
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["diverged"].startswith("2 losses were not finite in the epoch of step 2")
    assert [row["decoder"] for row in report["results"]] == ["greedy", "ngram", "joint"]
    assert all(row["wer"] is None and row["loops"] == 3 for row in report["results"])
    assert "DNC" in (tmp_path / "report.md").read_text()
    assert "DNC" in capsys.readouterr().out
    assert not (tmp_path / "wer_vs_loops.png").exists()
    assert not (tmp_path / "model.ckpt").exists()
