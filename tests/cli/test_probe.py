"""``analyze probe`` from the command line."""

import json

import pytest

from speechbrain_recursive.__main__ import main


@pytest.fixture
def run(trained, tmp_path, capsys):
    """``run(*options)``: exit code, what was printed, the error."""

    def run(*options):
        code = main(["analyze", "probe", str(trained), *options, "--output_folder", str(tmp_path)])
        return code, *capsys.readouterr()

    return run


def test_a_table_and_a_plot(run, trained, tmp_path):
    code, printed, _ = run("--utterances", "2")
    assert code == 0
    facts = json.loads((tmp_path / "probe.json").read_text())
    steps = facts["models"][str(trained)]
    assert [step["layer"] for step in steps] == ["0", "1/0", "2/0", "1/1", "2/1", "1/2", "2/2", "3"]
    assert f"test-clean: {facts['phonemes']} phonemes in {facts['frames']} frames of 2 utt" in printed
    for number, step in enumerate(steps, start=1):
        assert f"\n| {number}    | " in printed
        assert f"{step['layer']}: {step['accuracy']:.1f} (" in printed
    assert f"Without any state: {facts['majority']:.1f}\n" in printed
    assert printed in (tmp_path / "probe.md").read_text()
    assert (tmp_path / "probe.png").read_bytes()[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels", "gone.csv"], "no labels of phonemes at gone.csv"),
        (["--split", "gone"], "no manifest at"),
        (["--utterances", "0"], "at least one utterance"),
        (["--device", "gpu"], "gpu"),
        (["elsewhere"], "elsewhere holds no finished run"),
    ],
)
def test_mistakes_are_one_line(run, options, said):
    code, _, error = run(*options)
    assert code == 1
    assert said in error
    assert error.count("\n") == 1
