"""Statistics over paths, and the median path, from error rates that are known."""

import json
import statistics
from types import SimpleNamespace

import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference import paths
from speechbrain_recursive.inference.paths import measure_paths, measure_side_by_side
from speechbrain_recursive.inference.results import median_paths
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import latent, unfold

SPLITS = {"dev_splits": ("dev", "dev2"), "test_splits": ("test", "test2")}
WEIGHTS = {"dev": (1.0, 2.0, 4.0, 8.0), "test": (5.0, 3.0, 2.0, 1.0), "test2": (1.0, 1.0, 1.0, 1.0)}


def rate(split, depth):
    """More loops of some layers are worse than of others, and the sets disagree about which."""
    counts = depth.schedule.loops.values()
    return sum(w * count for w, count in zip(WEIGHTS[split], counts, strict=False)) / len(depth)


@pytest.fixture
def results(monkeypatch, tmp_path):
    """``results(schedule, name)``: a results folder whose error rates are known."""
    models = {}

    def open_results(folder, device="cpu", trust=False):
        return models[str(folder)]

    def error_of(model, tokenizer, hparams, manifests, depths):
        (path,) = manifests
        assert model is models[str(path.parents[1])][0]
        return {
            each: SimpleNamespace(wer=(wer := rate(path.stem, each)), low=wer - 1, high=wer + 1)
            for each in depths
        }

    def make(schedule, name="a", metric="wer"):
        corpus = SimpleNamespace(metric=metric, **SPLITS)
        model = SimpleNamespace(schedule=schedule, depth=lambda: Depth(schedule))
        folder = tmp_path / name
        folder.mkdir()
        models[str(folder)] = model, None, {"corpus": corpus}
        return folder

    monkeypatch.setattr(paths, "open_results", open_results)
    monkeypatch.setattr(paths, "error_of", error_of)
    return make


def test_all_paths_of_all_depths(results):
    folder = results(unfold(4, 8))
    found = measure_paths(folder)
    assert (found["layers"], found["split"], found["chosen_on"]) == (4, "test", "dev")
    assert [(each["depth"], each["legal"]) for each in found["depths"]] == [
        *((4, 1), (5, 4), (6, 6), (7, 4), (8, 1))
    ]
    for each in found["depths"]:
        runs = [Depth(path) for path in unfold(4, 8).paths(each["depth"])]
        rates = [rate("test", run) for run in runs]
        assert [path["wer"] for path in each["paths"]] == rates
        assert [path["dev"] for path in each["paths"]] == [rate("dev", run) for run in runs]
        assert [path["label"] for path in each["paths"]] == list(map(str, runs))
        expected = [statistics.mean(rates), statistics.pstdev(rates), min(rates), max(rates)]
        assert [each[key] for key in ("mean", "std", "min", "max")] == expected


def test_the_median_path_is_that_of_the_dev_set(results):
    folder = results(unfold(4, 8))
    by_depth = {each["depth"]: each for each in measure_paths(folder)["depths"]}
    # by the dev set, layers 0 to 3 cost 1, 2, 4, 8 more: of six sums of two the third is 6
    assert by_depth[6]["median"]["loops"] == {"layer0": 1, "layer1": 2, "layer2": 2, "layer3": 1}
    assert by_depth[5]["median"]["loops"] == {"layer0": 1, "layer1": 2, "layer2": 1, "layer3": 1}
    median = by_depth[6]["median"]
    assert (median["low"], median["high"]) == (median["wer"] - 1, median["wer"] + 1)
    stored = median_paths(folder, unfold(4, 8))
    assert stored.keys() == set(range(4, 9))
    assert stored[6] == Depth(unfold(4, 6, path=(1, 2)))
    assert json.loads((folder / "median_paths.json").read_text())["chosen_on"] == "dev"


def test_a_sample_of_the_paths(results):
    folder = results(unfold(4, 8))
    found = [measure_paths(folder, [6], limit=3, seed=seed)["depths"][0] for seed in (0, 0, 1, 2)]
    every = [str(Depth(path)) for path in unfold(4, 8).paths(6)]
    drawn = [[path["label"] for path in each["paths"]] for each in found]
    assert drawn[0] == drawn[1]
    assert len({tuple(each) for each in drawn}) > 1
    for each, labels in zip(found, drawn, strict=True):
        assert each["legal"] == 6
        assert labels == [label for label in every if label in labels]
        assert len(labels) == 3
    assert len(measure_paths(folder, [6, 4], limit=7)["depths"][0]["paths"]) == 6


def test_depths_without_paths_are_left_out(results):
    found = measure_paths(results(latent(2, 3, 1, 1)), split="test2")
    assert [each["depth"] for each in found["depths"]] == [4, 6, 8]
    assert found["split"] == "test2"


def test_seeds_together(results, tmp_path):
    for name in ("fold", "plain"):
        (tmp_path / name).mkdir()
    models = [results(unfold(n, 8), f"fold/{seed}") for seed, n in enumerate((4, 4))]
    plain = [results(unfold(3, 3), "plain/0"), results(unfold(3, 3), "plain/1")]
    found = measure_side_by_side(models, plain, [5, 6], seeds=True)
    assert (list(found["models"]), list(found["beside"])) == (["fold"], ["plain"])
    single = measure_paths(models[0], [5, 6])["depths"]
    for both, one in zip(found["models"]["fold"]["depths"], single, strict=True):
        assert (both["depth"], both["legal"]) == (one["depth"], 2 * one["legal"])
        assert both["paths"] == one["paths"] * 2
        for key in ("mean", "std", "min", "max"):
            assert both[key] == pytest.approx(one[key])
        assert {both["median"][key] for key in ("wer", "low", "high")} == {one["median"]["wer"]}
    other = results(unfold(2, 8), "fold/2"), results(unfold(4, 4), "plain/2")
    for wrong in ([[*models, other[0]], plain], [models, [*plain, other[1]]]):
        with pytest.raises(UserError, match="runs of different models; leave out --seeds"):
            measure_side_by_side(*wrong, depths=[8], seeds=True)


def test_seeds_differ(results, tmp_path, monkeypatch):
    (tmp_path / "fold").mkdir()
    models = [results(unfold(2, 4), f"fold/{seed}") for seed in range(3)]
    measure = paths.measure_paths

    def worse_by_seed(folder, *arguments):
        found = measure(folder, *arguments)
        for depth in found["depths"]:
            for each in [*depth["paths"], depth["median"]]:
                each["wer"] += 10 * int(folder.name)
        return found

    monkeypatch.setattr(paths, "measure_paths", worse_by_seed)
    (model,) = measure_side_by_side(models, depths=[3], seeds=True)["models"].values()
    (depth,) = model["depths"]
    rates = [
        rate("test", Depth(path)) + 10 * seed for seed in range(3) for path in unfold(2, 4).paths(3)
    ]
    assert depth["mean"] == pytest.approx(statistics.mean(rates))
    assert depth["std"] == pytest.approx(statistics.pstdev(rates))
    median = depth["median"]
    assert median["high"] - median["low"] == 20
    assert median["wer"] == pytest.approx(median["low"] + 10)
    assert median["label"] == "of each seed"


def test_side_by_side(results):
    models = [results(unfold(4, 8), "a"), results(unfold(2, 8), "b")]
    plain = results(unfold(3, 3), "c")
    found = measure_side_by_side(models, [plain], [6, 8], split="test2")
    assert (found["split"], found["chosen_on"]) == ("test2", "dev")
    assert list(found["models"]) == ["a", "b"]
    assert [each["legal"] for each in found["models"]["b"]["depths"]] == [1, 1]
    expected = {"metric": "wer", "depth": 3, "wer": 1.0, "low": 0.0, "high": 2.0}
    assert found["beside"] == {"c": expected}
    found = measure_side_by_side(models, depths=[3, 5])["models"]
    assert [each["depth"] for each in found["a"]["depths"]] == [5]
    assert [each["depth"] for each in found["b"]["depths"]] == [3, 5]
    for wrong in (1, 0):
        with pytest.raises(UserError, match=rf"--depths: .*\b{wrong}"):
            measure_side_by_side(models, depths=[5, wrong])
    other = results(unfold(3, 3), "d", metric="cer")
    with pytest.raises(UserError, match="d counts CER, not WER"):
        measure_side_by_side([models[0]], [other])


def test_mistakes_are_named(results):
    folder = results(latent(2, 3, 1, 1))
    with pytest.raises(UserError, match=r"--depths: no path .* has depth 7; the nearest: 6, 8"):
        measure_paths(folder, [6, 7])
    with pytest.raises(UserError, match="--paths 0: at least one path of each depth is needed"):
        measure_paths(folder, limit=0)
