"""Results folders made from plain values."""

import json

import pytest


@pytest.fixture
def results_folder(tmp_path):
    """``results_folder(name, texts, ...)``: texts are (reference, hypothesis) by utterance."""

    def write(name, texts, split="test-clean", loops=(1, 4), trained=4, metric="wer", extra=()):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rows = [
            {"split": split, "loops": n, "decoder": "greedy", "id": uid, "reference": a, "hypothesis": b}
            for n in loops
            for uid, (a, b) in texts.items()
        ]
        (folder / "hypotheses.json").write_text(json.dumps([*rows, *extra]))
        results = [{"loops": n, "trained": n == trained, metric: 10.0} for n in loops]
        (folder / "report.json").write_text(json.dumps({"results": results}))
        return folder

    return write
