"""Fine-tuning on own recordings: what comes from the model, what is refused, what is listed."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard

from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.hparams import load, load_trained
from speechbrain_recursive.inference.card import public_command
from speechbrain_recursive.inference.publish import publish
from speechbrain_recursive.merging import parse

RECIPE = Path(__file__).parents[2] / "recipes/Manifest/hparams/finetune.yaml"
CHANGED = {
    "freeze": "[embed, encoder.layers.0]",
    "reset": "[seq2seq]",
    "dropout": 0.2,
    "seed": 2,
    "language": "en",
}
ALPHABET = "'-ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # one more than the model


@pytest.fixture(scope="module")
def run_finetune(trained, own_data, run_recipe):
    """``run_finetune(folder, **options)``: two steps from the mini model of LibriSpeech."""

    def run(folder, **options):
        given = {
            "warm_start": trained,
            "data_folder": own_data,
            "output_folder": folder,
            "number_of_steps": 2,
            "decoders": "{joint: !remove, ngram: !remove}",
        }
        words = [str(word) for key, value in (given | options).items() for word in (f"--{key}", value)]
        run_recipe([RECIPE, *words, "--device", "cpu", "--noprogressbar"], "Manifest")
        return folder

    return run


@pytest.fixture
def finetune(run_finetune, tmp_path):
    """``finetune(**options)``: the same in a folder of its own, which is returned."""
    return lambda **options: run_finetune(tmp_path / "tuned", **options)


@pytest.fixture(scope="module")
def tuned(run_finetune, tmp_path_factory):
    """A fine-tuned model of which parts were frozen and reset."""
    return run_finetune(tmp_path_factory.mktemp("tuned"), **CHANGED)


def weights_of(folder):
    return torch.load(folder / "model.ckpt")


def test_the_model_comes_from_its_folder(tuned, trained, tmp_path):
    folder = tuned
    said = "reset: heads.seq2seq; frozen: embed, encoder ("
    assert (
        f"Weights of {trained}/model.ckpt: kept: embed, encoder, heads.ctc; {said}"
        in (folder / "log.txt").read_text()
    )
    old, new = weights_of(trained), weights_of(folder)
    assert old.keys() == new.keys()
    same = {key for key in old if torch.equal(old[key], new[key])}
    frozen = {key for key in old if key.startswith(("embed.", "encoder.layers.0."))}
    assert frozen <= same
    trained_on = {key for key in old if key.startswith(("encoder.layers.1.", "heads.ctc."))}
    assert not trained_on & same
    close = [torch.allclose(old[key], new[key], atol=0.01) for key in trained_on]
    assert all(close)  # two small steps from there
    assert not torch.allclose(*(w["heads.seq2seq.linear.weight"] for w in (old, new)), atol=0.01)
    pieces = [load_tokenizer(each / "tokenizer.json").pieces for each in (trained, folder)]
    assert pieces[0] == pieces[1]
    report = json.loads((folder / "report.json").read_text())
    assert (report["corpus"], report["steps"]) == ("OwnData", 2)
    assert {row["decoder"] for row in report["results"]} == {"greedy"}

    (moved := tmp_path / "moved").mkdir()  # it needs neither the old folder nor the data
    text = (folder / "hyperparams.yaml").read_text().replace(str(trained), "/nowhere")
    (moved / "hyperparams.yaml").write_text(text)
    torch.save(new, moved / "model.ckpt")
    model, hparams = load_trained(moved)
    assert model.encoder.layers[0].dropout1.p == 0.2  # what a key refers to has changed with it
    assert hparams["model"].schedule == load(trained / "hyperparams.yaml")[0]["schedule"]


def test_the_model_comes_from_the_hub(finetune, tuned, trained, hub, tmp_path):
    results = tmp_path / "results"
    shutil.copytree(trained, results, ignore=shutil.ignore_patterns("save"))
    pinned = f"me/my-model@{publish(results, 'me/my-model')['revision']}"
    shutil.rmtree(results)
    folder = finetune(**CHANGED, warm_start="me/my-model")
    there, here = weights_of(tuned), weights_of(folder)
    assert all(torch.equal(value, here[key]) for key, value in there.items())
    settings = parse((folder / "recipe.yaml").read_text(), "recipe.yaml")
    assert settings["warm_start"] == pinned
    with pytest.raises(SystemExit, match="me/my-model has no revision v2"):
        finetune(warm_start="me/my-model@v2")
    hub.commit("me/my-model", {})
    with pytest.raises(SystemExit, match=r"holds no finished run: there is no .*recipe\.yaml"):
        finetune(warm_start="me/my-model")
    hub.shutdown()
    hub.server_close()
    finetune(**CHANGED, warm_start=pinned)  # what was fetched of a commit is kept


def test_it_is_published(tuned, trained, own_data, hub):
    done = publish(tuned, "me/tuned")
    assert set(hub.files_of("me/tuned")) == {*done["files"], ".gitattributes"}
    card = ModelCard.load(done["folder"] / "README.md")
    about = card.data.to_dict()
    assert (about["language"], about.get("datasets"), about.get("base_model")) == ("en", None, None)
    (model,) = about["model-index"]
    assert [result["dataset"]["name"] for result in model["results"]] == ["own recordings test"]
    commands = [json.loads((each / "report.json").read_text())["command"] for each in (trained, tuned)]
    assert "\n".join(map(public_command, commands)) in card.text
    for name in ("README.md", "hyperparams.yaml", "recipe.yaml", "report.json"):
        text = (done["folder"] / name).read_text()
        assert not any(str(path) in text for path in (trained.parent, own_data, Path.home()))


def test_other_tokens_need_new_heads(finetune, trained):
    other = {"tokens_of": "null", "characters": ALPHABET, "normalize": "upper"}
    said = r"tokenizer\.json: token 6 is 'A' there and '-' in this run; .* --reset '\[ctc, seq2seq\]'"
    with pytest.raises(SystemExit, match=f"^error: .*{said}$"):
        finetune(**other)
    with pytest.raises(SystemExit, match=f"^error: .*{said}$"):
        finetune(**other, reset="[ctc]")
    folder = finetune(**other, reset="[ctc, seq2seq]")
    assert weights_of(folder)["heads.ctc.linear.weight"].shape[0] == len(ALPHABET) + 5
    assert weights_of(trained)["heads.ctc.linear.weight"].shape[0] == len(ALPHABET) + 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"warm_start": "nowhere"},
            "nowhere holds no finished run: there is no nowhere/recipe.yaml",
        ),
        (
            {"freeze": "[embed, rnn]"},
            "freeze: the model has no part 'rnn'; it has embed, encoder, heads.ctc",
        ),
        (
            {"normalize": "lower"},
            r"manifest/train\.csv, line \d+ has .*, which the tokenizer of .* does not",
        ),
        ({"d_model": 32}, "does not hold this model's weights: .*size mismatch"),
        ({"droput": 0.2}, "has no key 'droput' to override; did you mean --dropout"),
        ({"train_manifest": "gone.csv"}, r"no manifest at .*gone\.csv"),
    ],
)
def test_mistakes_are_one_line(finetune, options, said):
    with pytest.raises(SystemExit, match=f"^error: .*{said}") as raised:
        finetune(**options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("more", [[], ["--dropout", "0.2"]])  # a key of the model
def test_a_model_must_be_named(run_recipe, tmp_path, more):
    with pytest.raises(SystemExit, match=r"leaves warm_start open: give it with --warm_start"):
        run_recipe([RECIPE, "--output_folder", tmp_path, "--device", "cpu", *more], "Manifest")
