"""``analyze sensitivity`` from the command line."""

import json
import re

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.hparams import load


def test_a_report_that_a_smaller_model_starts_from(trained, tmp_path, capsys):
    assert main(["analyse", "sensitivity", str(trained), "--output_folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    found = json.loads((tmp_path / "sensitivity.json").read_text())
    assert list(found["layers"]) == ["0", "1", "2", "3"]
    assert found["split"] == "dev-clean"
    for layer, row in found["layers"].items():
        assert re.search(rf"\| {layer} +\| +{row['wer']:.2f} \[", printed)
    assert f"--source {trained} --n_layers 2" in printed
    assert printed.strip() in (tmp_path / "sensitivity.md").read_text()
    assert (tmp_path / "sensitivity.png").read_bytes()[1:4] == b"PNG"

    (tmp_path / "student.yaml").write_text(re.search("```yaml\n(.*?)```", printed, re.S)[1])
    start = load(tmp_path / "student.yaml")[0]["warm_start"]
    assert start.path == trained / "model.ckpt"
    assert start.layers(4, 2) == tuple((layer,) for layer in found["kept"]["2"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "gone"], "manifests/gone.csv"),
        (["--loops", "0"], "loops must be at least 1"),
        (["--device", "nothing"], "--device nothing"),
    ],
)
def test_mistakes_are_one_line(trained, words, said, capsys):
    assert main(["analyze", "sensitivity", str(trained), *words]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
