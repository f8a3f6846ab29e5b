"""Results folders with given texts."""

import json

import pytest


@pytest.fixture
def results_folder(tmp_path):
    """``results_folder(name, texts, ...)``: texts are (reference, hypothesis) by utterance."""

    def write(
        name,
        texts,
        split="test-clean",
        labels=("1", "4"),
        trained="4",
        metric="wer",
        decoder="greedy",
        extra=(),
    ):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        rows = [
            {"split": split, "label": n, "decoder": decoder, "id": uid, "reference": a, "hypothesis": b}
            for n in labels
            for uid, (a, b) in texts.items()
        ]
        (folder / "hypotheses.json").write_text(json.dumps([*rows, *extra]))
        results = [
            {"label": n, "decoder": decoder, "trained": n == trained, metric: 10.0} for n in labels
        ]
        (folder / "report.json").write_text(json.dumps({"results": results}))
        return folder

    return write
