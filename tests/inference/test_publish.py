"""The folder of a published model: what is in it, what is refused, and what arrives on the Hub."""

import io
import json
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.fingerprint import fingerprint
from speechbrain_recursive.data.librispeech import LibriSpeech
from speechbrain_recursive.data.own_data import OwnData
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.inference import publish as module
from speechbrain_recursive.inference.card import model_card, public_command
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.inference.settings import published_recipe
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.merging import parse

NAME = "me/my-model"


@pytest.fixture
def results(trained, tmp_path):
    """A copy of a finished run."""
    copy = tmp_path / "results"
    return shutil.copytree(trained, copy, ignore=shutil.ignore_patterns("save", "published"))


@pytest.fixture(scope="module")
def dry_run(trained, tmp_path_factory):
    """A copy of a finished run that was published, and the lines that this printed."""
    folder = tmp_path_factory.mktemp("dry_run") / "results"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("save", "published"))
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(["publish", str(folder), NAME, "--dry-run"]) == 0
    return folder, printed.getvalue().splitlines()


@pytest.fixture
def refused(capsys):
    """``refused(folder, *options)``: the one line that the command prints."""

    def run(folder, *options):
        assert main(["publish", str(folder), NAME, "--dry-run", *options]) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: ")
        return error

    return run


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def evaluate_again(results):
    """Note the fingerprint of the files that are there, as a run does when it has evaluated them."""
    report = results / "report.json"
    splits = json.loads(report.read_text())["hours"]
    edit(report, lambda found: found.update(fingerprint=fingerprint(results, splits)))


def transcribe(folder, decoder, path):
    """What one of a folder's decoders makes of a file."""
    return RecursiveASR.from_hparams(folder, decoder=decoder).transcribe_file(path)


def test_a_dry_run_says_what_would_be_uploaded(dry_run):
    results, lines = dry_run
    folder = results / "published"
    sizes = dict(reversed(line.split()) for line in lines if line.startswith(" "))
    files = {path.name: path for path in folder.iterdir()}
    assert {name: int(size.replace(",", "")) for name, size in sizes.items()} == {
        name: path.stat().st_size for name, path in files.items()
    }
    assert files.keys() == {
        "README.md",
        "hyperparams.yaml",
        "model.safetensors",
        "ngram4.arpa",
        "recipe.yaml",
        "report.json",
        "tokenizer.json",
        "training.png",
        "wer_vs_loops.png",
    }
    assert any(line.startswith("transcripts of ") for line in lines)
    assert lines[-1] == f"{folder} would be uploaded to {NAME}"


def test_it_is_the_model_and_no_more(dry_run):
    results = dry_run[0]
    published = results / "published"
    weights = torch.load(results / "model.ckpt")
    ours = load_file(published / "model.safetensors")
    assert ours.keys() == weights.keys()
    assert all(torch.equal(ours[key], weights[key]) for key in weights)
    text = (published / "hyperparams.yaml").read_text()
    for word in ("objective", "opt_class", "data_folder", "synthetic", "augment", "train_splits", "lr:"):
        assert word not in text
    for path in published.iterdir():
        if path.suffix in (".md", ".yaml", ".json"):
            assert str(results.parent) not in path.read_text()
    _, tokenizer, _ = open_results(published)
    assert tokenizer.pieces == open_results(results)[1].pieces


def test_twice_gives_the_same_files(dry_run):
    published = dry_run[0] / "published"
    before = {path.name: path.read_bytes() for path in published.iterdir()}
    (published / "stale.arpa").touch()
    assert main(["publish", str(dry_run[0]), NAME, "--dry-run"]) == 0
    assert {path.name: path.read_bytes() for path in published.iterdir()} == before


def test_it_is_described_as_the_run_is(dry_run, capsys):
    said = []
    for folder in (dry_run[0], dry_run[0] / "published"):
        assert main(["describe", str(folder / "hyperparams.yaml"), "--json"]) == 0
        said.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert said[0].pop("training")
    assert said[0] == said[1]


def test_the_card(dry_run):
    results = dry_run[0]
    card = ModelCard.load(results / "published/README.md")
    about = card.data.to_dict()
    assert about["language"] == "en"
    assert about["license"] == "apache-2.0"
    assert about["datasets"] == ["openslr/librispeech_asr"]
    report = json.loads((results / "report.json").read_text())
    trained = {row["decoder"]: row["wer"] for row in report["results"] if row["trained"]}
    (model,) = about["model-index"]
    found = {each["name"]: each["value"] for one in model["results"] for each in one["metrics"]}
    assert found == {f"WER ({name})": round(rate, 2) for name, rate in trained.items()}
    for row in report["results"]:
        assert f"{row['wer']:.1f} [{row['low']:.1f}, {row['high']:.1f}]" in card.text
    total = report["parameters"]["total"]
    for text in (f"{total:,}", report["schedule"], public_command(report["command"]), "@software"):
        assert text in card.text
    for image in ("wer_vs_loops.png", "training.png"):
        assert f"]({image})" in card.text
    assert "Rethinking Depth" in card.text


def test_a_card_of_synthetic_speech_says_so(dry_run):
    report = json.loads((dry_run[0] / "report.json").read_text()) | {"synthetic": True}
    hparams = {"corpus": LibriSpeech(), "sample_rate": 16000}
    card = model_card(NAME, dry_run[0], report, hparams, None, ["python train.py lm.yaml"])
    assert "python train.py lm.yaml\n" in card
    assert "will not recognize recordings" in card
    assert "datasets" not in yaml.safe_load(card.split("---")[1])


def test_a_card_of_a_fine_tuned_model_names_its_base(dry_run):
    report = json.loads((dry_run[0] / "report.json").read_text())
    hparams = {"corpus": OwnData(language="de"), "sample_rate": 8000, "warm_start": "you/base@v2"}
    card = model_card(NAME, dry_run[0], report, hparams, None)
    about = yaml.safe_load(card.split("---")[1])
    assert about["base_model"] == "you/base"
    assert about["language"] == "de"
    assert "It started from [you/base](https://huggingface.co/you/base), revision v2." in card


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: (f / "report.json").unlink(), "is no finished run: there is no report.json"),
        (lambda f: (f / "model.ckpt").unlink(), "model.ckpt changed after the evaluation: run its"),
        (
            lambda f: edit(f / "report.json", lambda r: r.update(diverged="loss is NaN")),
            "diverged: loss",
        ),
        (lambda f: edit(f / "report.json", lambda r: r.update(debug=True)), "was a run with --debug"),
        (lambda f: edit(f / "report.json", lambda r: r.pop("fingerprint")), "has no fingerprint of the"),
        (lambda f: (f / "report.json").write_text("{"), "report.json is no report, or it is damaged"),
        (lambda f: torch.save({}, f / "model.ckpt"), "model.ckpt changed after the evaluation"),
        (lambda f: (f / "ngram4.arpa").write_text(""), "ngram4.arpa changed after the evaluation"),
        (lambda f: (f / "tokenizer.json").open("a").write(" "), "tokenizer.json changed after"),
    ],
)
def test_what_is_not_what_was_evaluated(results, refused, change, said):
    change(results)
    assert said in refused(results)
    assert not (results / "published").exists()


def test_another_corpus_or_other_settings(results, refused):
    for file, old, new in (
        ("hyperparams.yaml", "seed: 1234", "seed: 1235"),
        ("manifests/test-clean.csv", "302-302000-0000", "302-302000-0009"),
    ):
        text = (results / file).read_text()
        assert old in text
        (results / file).write_text(text.replace(old, new))
        assert f"{file.removesuffix('.csv')} changed after the evaluation" in refused(results)
        (results / file).write_text(text)


def test_a_transcript_that_the_run_did_not_give(results, refused):
    rows = json.loads((results / "hypotheses.json").read_text())
    for row in rows:
        row["hypothesis"] += " MORE"
    (results / "hypotheses.json").write_text(json.dumps(rows))
    assert "greedy transcribes 301-301000-000" in refused(results)


def test_a_path_of_the_machine(results, refused):
    path = results / "hyperparams.yaml"
    text = path.read_text()
    path.write_text(text.replace("\n    lm:\n", "\n    lm: /here/lm\n"))
    evaluate_again(results)
    assert refused(results).endswith(": lm /here/lm does not exist any more")
    path.write_text(text.replace("dev_decoder: greedy", "dev_decoder: /here", 1))
    evaluate_again(results)
    assert refused(results).endswith(
        "dev_decoder is /here, a path of this machine: it cannot be published"
    )


def test_what_a_recipe_loses(trained):
    text = (trained / "recipe.yaml").read_text()
    private = {"warm_start": "/here/base", "ngram": "/a.arpa", "lm": "a/lm", "wandb_project": "ours"}
    places = {"teacher": "/here/teacher", "mine": "!ref /here/<seed>", "others": "[/here/a.csv, b.csv]"}
    for key, value in (private | places).items():
        text = re.sub(rf"^{key}:$", "", text, flags=re.MULTILINE) + f"{key}: {value}\n"
    tree = parse(published_recipe(text, "recipe.yaml"), "recipe.yaml")
    assert [tree[key] for key in (*private, "data_folder")] == [None] * 5
    assert tree["teacher"] == "/path/to/teacher"
    assert tree["mine"].value == "/path/to/<seed>"
    assert tree["others"] == ["/path/to/a.csv", "b.csv"]
    assert tree["tokenizer"]["characters"].value == "<characters>"


def test_a_recipe_that_no_one_may_open(results, refused):
    with (results / "recipe.yaml").open("a") as file:
        file.write("more: !apply:os.getcwd []\n")
    evaluate_again(results)
    assert "!apply:os.getcwd is not among what a folder may name" in refused(results)


def test_a_language_model_is_no_asr_model(lm, refused):
    assert "TransformerLM, not ASRModel" in refused(lm)


def test_without_the_audio_of_the_test_sets(results, capsys):
    manifest = results / "manifests/test-clean.csv"
    manifest.write_text(manifest.read_text().replace(".flac", ".gone"))
    assert main(["publish", str(results), NAME, "--dry-run"]) == 0
    assert "no transcript was compared: the audio" in capsys.readouterr().out


def test_language_model_and_ngram_have_names_in_the_folder(results, lm, librispeech, tmp_path):
    arpa = (results / "ngram4.arpa").rename(tmp_path / "words.arpa")
    path = results / "hyperparams.yaml"
    text = path.read_text().replace("\n    ngram:\n", f"\n    ngram: {arpa}\n")
    path.write_text(text.replace("\n    lm:\n", f"\n    lm: {lm}\n"))
    audio = {each.stem: each for each in librispeech.glob("LibriSpeech/test-clean/*/*/*.flac")}
    rows = json.loads((results / "hypotheses.json").read_text())
    rows = [row for row in rows if row["label"] == "3" and row["id"] == rows[0]["id"]]
    before = [row["hypothesis"] for row in rows]
    for row in rows:
        row["hypothesis"] = transcribe(results, row["decoder"], audio[row["id"]])
    assert [row["hypothesis"] for row in rows] != before  # the language model matters
    (results / "hypotheses.json").write_text(json.dumps(rows))
    evaluate_again(results)
    assert main(["publish", str(results), NAME, "--dry-run"]) == 0
    folder = results / "published"
    settings = (folder / "hyperparams.yaml").read_text()
    assert "ngram: words.arpa" in settings
    assert "lm: lm" in settings
    assert (folder / "words.arpa").read_bytes() == arpa.read_bytes()
    names = {each.name for each in (folder / "lm").iterdir()}
    assert names == {"hyperparams.yaml", "model.safetensors", "tokenizer.json"}
    assert "transformer_lm.yaml" in (folder / "README.md").read_text()

    moved = folder.rename(tmp_path / "elsewhere")
    arpa.unlink()
    for row in rows:
        assert transcribe(moved, row["decoder"], audio[row["id"]]) == row["hypothesis"]


def test_the_round_trip(results, hub, capsys, monkeypatch):
    calls = []
    monkeypatch.setattr(
        module, "check", lambda folder, sample, trust: calls.append((folder.name, sample.uid))
    )
    assert main(["publish", str(results), NAME, "--private"]) == 0
    out, error = capsys.readouterr()
    revision = hub.repos[NAME]["main"]
    assert out.splitlines()[-1] == f"uploaded to {NAME}, revision {revision}, and read back"
    assert hub.repos[NAME]["private"]
    fetched = fetch(NAME, revision)
    assert Path(RecursiveASR.from_hparams(NAME, revision=revision).folder) == fetched
    assert (fetched / "README.md").read_text() == (results / "published/README.md").read_text()
    assert [name for name, _ in calls] == ["published", ".read_back"]
    assert not (results / ".read_back").exists()
    assert hub.token not in out + error
    assert not any(
        hub.token.encode() in path.read_bytes() for path in results.rglob("*") if path.is_file()
    )
    real = hub.commit
    monkeypatch.setattr(
        hub, "commit", lambda name, files: real(name, {**files, "tokenizer.json": hub.store(b"")})
    )
    edit(results / "report.json", lambda report: report.update(seed=2))
    assert main(["publish", str(results), NAME]) == 1
    assert "tokenizer.json is not what was uploaded" in capsys.readouterr().err
