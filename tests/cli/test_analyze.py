"""``analyze similarity`` on a results folder, from the command line."""

import json

import pytest

from speechbrain_recursive.__main__ import main


@pytest.fixture
def similarity(trained, tmp_path, capsys):
    """``similarity(*options)``: exit code, what was printed, the error."""

    def run(*options):
        folder = ["--output_folder", str(tmp_path)]
        code = main(["analyze", "similarity", str(trained), *options, *folder])
        return code, *capsys.readouterr()

    return run


def test_a_proposal_and_a_heat_map(similarity, tmp_path):
    code, printed, _ = similarity("--utterances", "2", "--saving", "0.25", "--loops", "2")
    assert code == 0
    facts = json.loads((tmp_path / "similarity.json").read_text())
    assert facts["layers"] == ["0", "1/0", "2/0", "1/1", "2/1", "3"]
    assert facts["utterances"] == 2
    assert all(facts["similarity"][i][i] == pytest.approx(1.0) for i in range(6))
    assert facts["proposal"]["schedule"] in printed
    assert f"Train it with: {facts['proposal']['overrides']}\n" in printed
    assert printed in (tmp_path / "similarity.md").read_text()
    assert (tmp_path / "similarity.png").read_bytes()[1:4] == b"PNG"


def test_the_overrides_that_are_proposed_train(similarity, tmp_path, capsys):
    similarity("--utterances", "1")
    proposal = json.loads((tmp_path / "similarity.json").read_text())["proposal"]
    recipe = "recipes/LibriSpeech/hparams/mini.yaml"
    assert main(["describe", recipe, "--json", *proposal["overrides"].split()]) == 0
    assert json.loads(capsys.readouterr().out)["schedule"] == proposal["schedule"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--saving", "0.99"], "--saving 0.99: of 8 layers"),
        (["--audio", "gone"], "no audio at gone"),
        (["--loops", "0"], "loops must be at least 1"),
    ],
)
def test_mistakes_are_one_line(similarity, options, said):
    code, _, error = similarity(*options)
    assert code == 1
    assert said in error
    assert error.count("\n") == 1
