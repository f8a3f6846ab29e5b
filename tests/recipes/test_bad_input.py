"""What a person can get wrong is one line that names it, not a traceback."""

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.analysis.wer import error_rate
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.loops import LoopPolicy
from speechbrain_recursive.training.integrity import MANIFEST, write_manifest

RECIPE = Path(__file__).parents[2] / "recipes/LibriSpeech"


@pytest.fixture
def own(librispeech, tmp_path):
    """A copy of the corpus, to damage."""
    shutil.copytree(librispeech, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def refused(mini, tmp_path):
    """``refused(*options)``: what the mini recipe says when it refuses to run."""

    def run(*options, folder=tmp_path / "run"):
        with pytest.raises(SystemExit) as caught:
            mini(folder, *options)
        said = caught.value.code
        assert said.startswith("error: ")
        assert "\n" not in said
        return said

    return run


def first(corpus, pattern):
    return min((corpus / "LibriSpeech").glob(pattern))


def test_a_folder_without_the_corpus(refused, tmp_path):
    said = refused("data_folder", tmp_path / "nothing")
    assert f"no LibriSpeech split 'train-clean-100': looked for {tmp_path / 'nothing'}" in said
    assert "--data_folder" in said
    assert "--download True" in said


def test_a_transcript_without_its_audio(refused, own):
    audio = first(own, "dev-clean/*/*/*.flac")
    audio.unlink()
    said = refused("data_folder", own)
    assert f"{audio}, is missing" in said
    assert ".trans.txt, line 1:" in said


def test_audio_without_a_transcript(refused, own):
    text = first(own, "train-clean-100/*/*/*.trans.txt")
    lines = text.read_text().splitlines()
    text.write_text("\n".join(lines[1:]) + "\n" if lines[1:] else "")
    said = refused("data_folder", own)
    assert f"{lines[0].split()[0]}.flac has no transcript: {text} has no line for it" in said


def test_corrupt_audio_in_a_test_set_unless_it_may_count_as_deletions(refused, mini, own, tmp_path):
    audio = first(own, "test-clean/*/*/*.flac")
    words = len(audio.parent.joinpath(f"{audio.stem[:-5]}.trans.txt").read_text().split()) - 1
    audio.write_bytes(b"no audio")
    said = refused("data_folder", own)
    assert str(audio) in said
    assert "--bad_test_audio empty" in said
    mini(tmp_path / "run", "data_folder", own, "bad_test_audio", "empty")
    rows = json.loads((tmp_path / "run/hypotheses.json").read_text())
    lost = [row for row in rows if row["id"] == audio.stem]
    assert len(lost) == 3
    assert all(row["hypothesis"] == "" and len(row["reference"].split()) == words for row in lost)


def say(corpus, pattern, words=""):
    """Give the first utterance of the chapters that match a transcript, by default an empty one."""
    text = first(corpus, pattern)
    line, *lines = text.read_text().splitlines()
    text.write_text("\n".join([f"{line.split()[0]} {words}".rstrip(), *lines]) + "\n")
    return line.split()[0]


@pytest.mark.parametrize("readable", [True, False])
def test_an_empty_transcript_counts_its_insertions(mini, own, tmp_path, readable):
    names = [say(own, f"{split}/*/*/*.trans.txt") for split in ("dev-clean", "test-clean")]
    for name in [] if readable else names:
        first(own, f"*/*/*/{name}.flac").write_bytes(b"no audio")
    run = tmp_path / "run"
    mini(run, "data_folder", own, "bad_test_audio", "empty", "eval_batch_seconds", 1)
    rows = json.loads((run / "hypotheses.json").read_text())
    empty = [row for row in rows if row["id"] == names[1]]
    assert len(empty) == 3
    assert all(row["reference"] == "" and (readable or row["hypothesis"] == "") for row in empty)
    for row in json.loads((run / "report.json").read_text())["results"]:
        lines = [
            each for each in rows if (each["decoder"], each["label"]) == (row["decoder"], row["label"])
        ]
        assert len(lines) == 2
        triples = [(each["id"], each["reference"].split(), each["hypothesis"].split()) for each in lines]
        assert row["wer"] == error_rate(triples).wer
    assert main(["compare", str(run), str(run)]) == 0
    assert main(["analyze", "bins", str(run), str(run)]) == 0
    assert main(["calibrate", str(run)]) == 0


@pytest.mark.parametrize("split", ["dev-clean", "test-clean"])
def test_a_set_of_empty_transcripts_before_training(refused, untrained, own, split):
    for text in (own / "LibriSpeech" / split).glob("*/*/*.trans.txt"):
        text.write_text("".join(f"{line.split()[0]}\n" for line in text.read_text().splitlines()))
    said = refused("data_folder", own, "bad_test_audio", "empty")
    assert f"all transcripts of {split} are empty" in said


def test_a_test_set_that_cannot_be_read_is_all_deletions(mini, own, tmp_path):
    for audio in (own / "LibriSpeech/test-clean").rglob("*.flac"):
        audio.write_bytes(b"no audio")
    mini(tmp_path / "run", "data_folder", own, "bad_test_audio", "empty")
    rows = json.loads((tmp_path / "run/report.json").read_text())["results"]
    assert [row["wer"] for row in rows] == [100.0] * len(rows)


def test_the_advice_about_letters_works_as_it_is_written(refused, mini, own, tmp_path, capsys):
    name = say(own, "train-clean-100/*/*/*.trans.txt", 'IT\u2019S "E\u0301T\u00c9"')
    said = refused("data_folder", own)
    assert f'{name} has " \u00c9 \u2019, which the alphabet does not contain; correct' in said
    words = shlex.split(said.partition("give all letters: ")[2])
    assert words[0] == "--tokenizer"
    letters = "\"'ABCDEFGHIJKLMNOPQRSTUVWXYZ\u00c9\u2019"
    for recipe, marks in (("mini", 4), ("larm_mini", 2)):
        hparams, _ = load(RECIPE / f"hparams/{recipe}.yaml", words, device="meta")
        assert hparams["tokenizer"].characters == letters
        assert hparams["n_tokens"] == len(letters) + 1 + marks
    mini(tmp_path / "run", "data_folder", own, words[0][2:], words[1])
    assert len(json.loads((tmp_path / "run/tokenizer.json").read_text())["alphabet"]) == len(letters)


@pytest.mark.parametrize("wrong", [("characters", 123), ("characters", "'AB"), ("vocab_size", 40)])
def test_advice_about_the_tokenizer_works_as_it_is_written(refused, untrained, wrong):
    words = shlex.split(re.search(r"--tokenizer '.*?'", refused(*wrong))[0])
    given = [f"--{wrong[0]}", str(wrong[1]), *words]
    assert load(RECIPE / "hparams/mini.yaml", given, device="meta")[0]["tokenizer"]


def test_a_value_with_an_equals_sign(refused):
    said = refused("data_folder", "/x/a=b")
    assert "looked for /x/a=b/LibriSpeech" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("n_loops", 3), "mini.yaml has no key 'n_loops' to override; did you mean --loops?"),
        (("loops", 0), "mini.yaml: block 'recurrent': loops must be at least 1, got 0"),
        (("loops", "[1"), "overrides, line "),
        (("eval_loops", "[1, 0]"), "eval_loops: block 'recurrent': loops must be at least 1, got 0"),
        (("eval_loops", 3), "eval_loops is a list, such as [3, 5], not 3"),
        (("eval_loops", "null"), "eval_loops is a list, such as [3, 5], not None"),
        (("n_tokens", 40), "n_tokens is 40, the tokenizer has 32 pieces"),
        (("dev_decoder", "best"), "dev_decoder: best is none of greedy, ngram, joint"),
        (
            ("eval_depths", "[8, 7]"),
            "eval_depths: no path of the schedule 0 | (1-2)x1 | 3 has depth 7; the nearest: 6, 8",
        ),
        (("eval_depths", "[six]"), "eval_depths: depth must be a whole number of at least 1, got 'six'"),
        (("eval_depths", 6), "eval_depths is a list, such as [3, 5], not 6"),
        (("nhead", 5), "mini.yaml: embed_dim must be divisible by num_heads"),
        (("corpus", "{train_splits: []}"), "train_splits names no split"),
        (("warm_start", "gone.ckpt"), "gone.ckpt"),
        (("lm", "gone"), "no tokenizer at gone"),
        (("bad_test_audio", "keep"), "bad_test_audio must be 'refuse' or 'empty', not 'keep'"),
    ],
)
def test_a_setting_that_cannot_work(refused, options, said):
    assert said in refused(*options)


@pytest.fixture
def untrained(monkeypatch):
    """Training is out of reach: what a run says, it says before."""
    monkeypatch.delattr("speechbrain_recursive.training.brain.Brain.fit")


def test_an_ngram_of_other_letters_before_training(refused, untrained, tmp_path):
    arpa = estimate_ngram(["the cat", "THE CAT"], tmp_path / "lower.arpa", order=2)
    said = refused("ngram", arpa)
    assert f"{arpa} has letters that the tokenizer lacks: a c e h t; the tokenizer's are: ' A B" in said


def test_an_ngram_that_is_cut_short_before_training(refused, untrained, tmp_path):
    arpa = estimate_ngram(["THE CAT"], tmp_path / "cut.arpa", order=2)
    arpa.write_bytes(arpa.read_bytes()[:-10])
    assert f"{arpa} cannot be read as an n-gram: it is cut short" in refused("ngram", arpa)


STAGES = """!new:speechbrain_recursive.objectives.stages.Stages
    epochs: [3]
    objectives:
        - !new:speechbrain_recursive.objectives.joint.Joint
            weights: {ctc: 1.0}
            objectives: [!new:speechbrain_recursive.objectives.ctc.CTC {}]
        - !new:speechbrain_recursive.objectives.joint.Joint
            weights: {late: 1.0}
            objectives: [!new:tests_late.Late {wanted: %s}]
"""
LATE = """from speechbrain_recursive import Objective, Request


class Late(Objective):
    def __init__(self, wanted):
        super().__init__()
        self.wanted = wanted

    def needs(self, depth):
        if self.wanted == "teacher":
            return Request(teachers={"bert": Request()})
        return Request(heads=[self.wanted])
"""


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("ctx", "the model has no head 'ctx', which an objective or decoder reads; it has ctc, seq2seq"),
        ("teacher", "the objective asks for teacher 'bert', which is not under teachers:"),
    ],
)
def test_what_a_later_stage_asks_for_before_training(
    refused, untrained, monkeypatch, tmp_path, wanted, said
):
    (tmp_path / "tests_late.py").write_text(LATE)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert said in refused("objective", STAGES % wanted)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--loops", "2", "--loop_policy", "!new:speechbrain_recursive.nn.loops.Growing {most: 6}"],
        ["--loops", "2", "--loop_policy", "!new:speechbrain_recursive.nn.loops.LogNormalPoisson {}"],
    ],
)
def test_exits_that_grad_loops_cuts_off_before_training(
    untrained, librispeech, run_recipe, tmp_path, options
):
    words = ["--data_folder", librispeech, "--output_folder", tmp_path, "--grad_loops", 2, *options]
    with pytest.raises(
        SystemExit, match=r"^error: grad_loops: 2 of \d+ loops leave the exits after loop"
    ):
        run_recipe([RECIPE / "hparams/larm_mini.yaml", *words, "--tensorboard", False])


def test_exits_that_a_policy_of_ones_own_puts_out_of_reach(
    librispeech, run_recipe, tmp_path, monkeypatch
):
    """In training at the latest, and in one line as well."""

    class Deeper(LoopPolicy):
        def __call__(self, schedule, *_):
            return Depth.of(schedule, 6)

    monkeypatch.setattr("speechbrain_recursive.nn.loops.Deeper", Deeper, raising=False)
    policy = ["--loop_policy", "!new:speechbrain_recursive.nn.loops.Deeper {}", "--loops", 2]
    words = ["--data_folder", librispeech, "--output_folder", tmp_path, "--grad_loops", 2, *policy]
    said = r"^error: grad_loops: 2 of 6 loops leave the exits after loop 2, 4 without"
    with pytest.raises(SystemExit, match=said):
        run_recipe([RECIPE / "hparams/larm_mini.yaml", *words, "--tensorboard", False])


@pytest.fixture
def openslr(monkeypatch, tmp_path):
    """A folder in OpenSLR's place, with one n-gram of the recipe's letters."""
    folder = tmp_path / "openslr"
    arpa = estimate_ngram(["ONE TWO", "TWO"], folder / "lm.arpa", order=2)
    (folder / "4-gram.arpa.gz").write_bytes(gzip.compress(arpa.read_bytes()))
    monkeypatch.setattr(LibriSpeech, "ngram_url", folder.as_uri())
    return folder


def test_a_missing_ngram_before_the_corpus_is_read(refused, openslr, tmp_path):
    ngram = tmp_path / "models/4-gram.arpa.gz"
    said = refused("ngram", ngram, "data_folder", tmp_path / "nothing")
    assert said.startswith(f"error: ngram: there is no {ngram}; --download True")
    said = refused("ngram", tmp_path / "5-gram.arpa.gz", "download", True)
    assert "5-gram.arpa.gz cannot be downloaded: only files named 4-gram.arpa.gz, 3-gram" in said
    assert not ngram.parent.exists()


def test_a_missing_ngram_is_fetched_on_request(mini, refused, openslr, tmp_path):
    ngram = tmp_path / "models/4-gram.arpa.gz"
    asked = ("ngram", ngram, "download", True)
    mini(tmp_path / "run", *asked)
    assert ngram.read_bytes() == (openslr / ngram.name).read_bytes()
    rows = json.loads((tmp_path / "run/hypotheses.json").read_text())
    heard = {word for row in rows if row["decoder"] == "ngram" for word in row["hypothesis"].split()}
    assert heard <= {"ONE", "TWO"}


def test_a_synthetic_run_downloads_an_ngram_and_no_corpus(refused, openslr, tmp_path):
    ngram = tmp_path / "models/4-gram.arpa.gz"
    synthetic = ("data_folder", "null", "synthetic_folder", tmp_path / "synthetic", "download", True)
    size = ("synthetic", "{n_train: 4, n_dev: 1, n_test: 1}")
    assert "--download True needs a --data_folder" in refused(*synthetic)
    said = refused(*synthetic, *size, "corpus", "{test_splits: [test-other]}", "ngram", ngram)
    assert "no LibriSpeech split 'test-other'" in said
    assert ngram.is_file()


def test_a_full_size_recipe_says_what_it_must_be_given(run_recipe):
    with pytest.raises(SystemExit, match=r"leaves data_folder open: give it with --data_folder$"):
        run_recipe([RECIPE / "hparams/transformer_latent.yaml"])


def test_a_missing_yaml_file(run_recipe, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*gone\.yaml does not exist$"):
        run_recipe([tmp_path / "gone.yaml"])


@pytest.fixture
def finished(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "finished")
    return tmp_path / "finished"


def test_checkpoints_that_are_all_damaged(refused, finished):
    for checkpoint in (finished / "save").iterdir():
        (checkpoint / "model.ckpt").write_bytes(b"cut")
    said = refused(folder=finished)
    assert said.startswith(f"error: {finished / 'save'}: every checkpoint is damaged; delete the folder")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("seed", 2), "seed was 1234, is 2;"),
        (("lr", 0.1), "lr was 0.002, is 0.1;"),
        (("dropout", 0.3), "dropout was 0.05, is 0.3;"),
        (("loops", 2, "d_model", 32), "d_model was 16, is 32, loops was 3, is 2;"),
        (("synthetic", "{n_train: 9}"), "synthetic[n_train] was 4000, is 9;"),
    ],
)
def test_a_run_of_other_settings_into_the_same_folder(refused, finished, options, words):
    before = contents(finished)
    said = refused(*options, folder=finished)
    assert f"{finished / 'save'} was trained with other settings: " in said
    assert words in said
    assert contents(finished) == before


def test_a_run_on_another_corpus_into_the_same_folder(refused, finished, own):
    text = first(own, "train-clean-100/*/*/*.trans.txt")
    text.write_text(text.read_text().replace(" ", " AND ", 1))
    before = contents(finished)
    said = refused("data_folder", own, folder=finished)
    assert "was trained on another corpus: train-clean-100 had 24 utterances" in said
    assert "of other audio or text" in said
    assert contents(finished) == before


def test_decoding_may_change_in_the_same_folder(mini, finished):
    mini(
        finished,
        "decoders",
        "{ngram: {width: 5}, joint: !remove}",
        "eval_loops",
        "[1, !apply:speechbrain_recursive.nn.schedule.latent [1, 3, 2, 1]]",
        "eval_depths",
        "[6, 4]",
        "lm_weight",
        0.1,
    )
    report = json.loads((finished / "report.json").read_text())
    labels = {row["label"]: row["loops"] for row in report["results"]}
    assert labels == {"1": 1, "3: 0-1 | (2)x3 | 3": 3, "2": 2, "3": 3}
    assert {row["decoder"] for row in report["results"]} == {"greedy", "ngram"}
    assert report["steps"] == 2


def contents(folder):
    """What `transcribe` needs of a results folder."""
    return [
        (folder / name).read_bytes() for name in ("hyperparams.yaml", "tokenizer.json", "model.ckpt")
    ]


def test_the_command_line_prints_one_line_and_fails(tmp_path):
    words = ["--data_folder", tmp_path / "nothing", "--output_folder", tmp_path / "run"]
    process = subprocess.run(
        [sys.executable, RECIPE / "train.py", RECIPE / "hparams/mini.yaml", *words, "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1
    assert "Traceback" not in process.stdout + process.stderr
    lines = [line for line in process.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert str(tmp_path / "nothing") in lines[0]
    assert process.stderr.rstrip().endswith(lines[0])


class TestWarmStart:
    """Weights of other token ids are refused, since they would mean other text."""

    def test_other_tokens_are_refused(self, refused, finished):
        path = finished / "tokenizer.json"
        tokens = json.loads(path.read_text())
        tokens["alphabet"] = [*tokens["alphabet"][:-1], "Ä"]
        path.write_text(json.dumps(tokens))
        said = refused("warm_start", finished / "model.ckpt")
        assert f"error: {path}: token 31 is 'Ä' there and 'Z' in this run" in said
        (checkpoint,) = (finished / "save").glob("CKPT*/model.ckpt")
        assert f"error: {path}: token 31 is 'Ä'" in refused("warm_start", checkpoint)
        path.write_text(json.dumps(tokens | {"alphabet": tokens["alphabet"][:-1]}))
        assert "it has 31 tokens and this run 32" in refused("warm_start", finished / "model.ckpt")

    def test_the_same_tokens_are_taken(self, mini, finished, tmp_path):
        started = mini(tmp_path / "run", "warm_start", finished / "model.ckpt", "lr", 0)
        first, second = (torch.load(folder / "model.ckpt") for folder in (finished, started))
        assert all(torch.equal(value, second[key]) for key, value in first.items())

    def test_weights_without_tokens_are_warned_about(self, mini, finished, tmp_path, capsys):
        (finished / "tokenizer.json").unlink()
        mini(tmp_path / "run", "warm_start", finished / "model.ckpt")
        assert "has no tokenizer.json, so its tokens cannot be compared" in capsys.readouterr().out


class Code:
    """What unpickling would run."""

    def __reduce__(self):
        return (pytest.fail, ("the pickle ran",))


@pytest.mark.parametrize("name", ["model.ckpt", "optimizer.ckpt", "rng.ckpt"])
def test_code_in_a_checkpoint_is_refused_and_not_run(refused, finished, name):
    (checkpoint,) = (finished / "save").glob("CKPT*")
    torch.save({"weight": Code()}, checkpoint / name)
    (checkpoint / MANIFEST).unlink()
    write_manifest(checkpoint)  # whoever puts code there can put checksums there
    said = refused(folder=finished)
    assert f"{checkpoint}: is not of this model" in said
