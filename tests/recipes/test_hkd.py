"""CIF's distillation from a BERT: the paper's settings, and a run with a cached teacher."""

import json
from pathlib import Path

import pytest

from speechbrain_recursive.__main__ import main
from speechbrain_recursive.data.wordpiece import WordPieceTokenizer
from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.bert import MARKS
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.objectives.hierarchical import Contrastive, SquaredError

RECIPES = Path(__file__).parents[2] / "recipes"
OPEN = {"output_folder": "results", "data_folder": "data"}  # what a run must be given
LEVELS = {"acd": ["acoustic"], "lrd": ["linguistic"], "hkd": ["acoustic", "linguistic"]}


@pytest.mark.parametrize(
    ("corpus", "bert", "width"),
    [("AISHELL-1", "bert-base-chinese", 256), ("LibriSpeech", "bert-base-uncased", 512)],
)
@pytest.mark.parametrize("levels", LEVELS)
def test_settings_are_the_papers(corpus, bert, width, levels):
    hparams, _ = load(RECIPES / corpus / f"hparams/cif_{levels}.yaml", OPEN, device="meta")
    objective, names = hparams["objective"], LEVELS[levels]
    weights = {"seq2seq": 1.0, "ctc": 0.5, "quantity": 1.0, **dict.fromkeys(names, 1.0)}
    assert objective.weights == weights
    assert objective.needs(Depth(hparams["model"].schedule)).teachers.keys() == {"bert"}
    found = objective.objectives[-1].levels
    assert [*found] == names
    for level in found.values():
        assert (level.project.in_features, level.project.out_features) == (width, 768)
    if "acoustic" in names:
        loss = found["acoustic"].loss
        assert isinstance(loss, Contrastive)
        assert (loss.temperature, loss.negatives) == (0.02, 700)
        assert found["acoustic"].part == "cif"
    if "linguistic" in names:
        assert isinstance(found["linguistic"].loss, SquaredError)
        assert found["linguistic"].loss.scale == 0.01
        assert found["linguistic"].part == "decoder"
    assert hparams["teachers"]["bert"].bert == bert
    assert hparams["teachers"]["bert"].cache is None


def test_the_size_of_the_english_vocabulary():
    """bert-base-uncased has 30,522 pieces: 999 in brackets, and all 32 punctuation marks of ASCII."""
    marks = [*"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"]
    unused = [f"[unused{i}]" for i in range(994)]
    words = [f"w{i}" for i in range(30522 - 999 - 64)]
    made = WordPieceTokenizer([*MARKS, *unused, *marks, *(f"##{mark}" for mark in marks), *words])
    hparams, _ = load(RECIPES / "LibriSpeech/hparams/cif_hkd.yaml", OPEN, device="meta")
    assert len(made) == len(hparams["tokenizer"]) == hparams["n_tokens"]


def test_a_run_with_a_cached_teacher(aishell, run_recipe, small, peers, tmp_path, capsys):
    recipe, cache = RECIPES / "AISHELL-1/hparams/cif_hkd_mini.yaml", tmp_path / "cache"
    given = {"data_folder": aishell, "output_folder": tmp_path / "run", **small(recipe)}
    given |= {**peers(recipe, aishell), "teacher_cache": cache}
    words = [
        word for key, value in given.items() for word in (f"--{key}", json.dumps(value, default=str))
    ]
    device = ["--device", "cpu", "--noprogressbar"]
    with pytest.raises(
        SystemExit, match=f"no cache at {cache}: run speechbrain-recursive cache-teacher"
    ):
        run_recipe([recipe, *words, *device], "AISHELL-1")
    for added in (10, 0):
        assert main(["cache-teacher", str(recipe), *words]) == 0
        assert f"Teacher's cache: {cache} ({added} utterances added)" in capsys.readouterr().out
    run_recipe([recipe, *words, *device], "AISHELL-1")
    log = (tmp_path / "run/train_log.txt").read_text()
    assert "train acoustic: " in log
    assert "valid linguistic: " in log
    about = json.loads((cache / "cache.json").read_text())
    about["utterances"][next(iter(about["utterances"]))][1] = "another"
    (cache / "cache.json").write_text(json.dumps(about))
    with pytest.raises(SystemExit, match="was made from another transcript of utterance"):
        run_recipe([recipe, *words, *device, "--output_folder", tmp_path / "other"], "AISHELL-1")
    assert main(["cache-teacher", str(recipe), *words]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    without = str(RECIPES / "AISHELL-1/hparams/cif_mini.yaml")
    assert main(["cache-teacher", without]) == 1
    assert "has no BERT under teachers:" in capsys.readouterr().err
