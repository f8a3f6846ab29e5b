"""How good each way is to reach a logical depth with the layers of a trained model."""

import json
import random
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import write_whole
from speechbrain_recursive.inference.results import MEDIAN_PATHS, open_results, short_names
from speechbrain_recursive.inference.score import error_of
from speechbrain_recursive.nn.depth import Depth


def measure_side_by_side(
    models: Sequence[str | Path],
    beside: Sequence[str | Path] = (),
    depths: Sequence[int] | None = None,
    limit: int | None = None,
    split: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    seeds: bool = False,
    trust: bool = False,
) -> dict[str, Any]:
    """Measure the paths of several models, and models that were trained for one depth.

    Arguments
    ---------
    models : sequence of (str or pathlib.Path)
        Results folders; see :func:`measure_paths`, also for the other arguments.
    beside : sequence of (str or pathlib.Path)
        Results folders of models for one depth.
    depths, limit, split, seed, device
        See :func:`measure_paths`. Of the depths, each model takes those that it has paths of. The split
        is one for all, by default of the first model.
    seeds : bool
        Whether to take models together whose folders differ in their last name alone, such as
        ``results/foldable_mini/1`` and ``results/foldable_mini/2``.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``split``, ``chosen_on``, and by short names ``models``, from :func:`measure_paths`, and
        ``beside``, from :func:`measure_alone`. With ``seeds``, statistics are over the paths of all
        seeds, of which each has its own median; ``wer`` is their mean, ``low`` and ``high`` are the
        lowest and the highest.

    Raises
    ------
    UserError
        If these raise it, a folder is named twice, the corpora differ in their metric, or models differ
        that are to be taken together.
    """
    folders = [*models, *beside]
    names = dict(zip(folders, short_names(folders), strict=True))
    opened = {folder: open_results(folder, trust=trust) for folder in folders}
    corpora = {name: opened[folder][2]["corpus"] for folder, name in names.items()}
    first = corpora[names[models[0]]]
    split = split or first.test_splits[0]
    for name, corpus in corpora.items():
        if corpus.metric != first.metric:
            raise UserError(f"{name} counts {corpus.metric.upper()}, not {first.metric.upper()}")
    schedules = {folder: opened[folder][0].schedule for folder in models}
    reached = {folder: _reached(schedule, depths) for folder, schedule in schedules.items()}
    for depth in depths or ():
        if not any(depth in each for each in reached.values()):
            _paths(schedules[models[0]], depth)  # says which depths are near
    options = limit, split, seed, device, trust
    found = {folder: measure_paths(folder, reached[folder], *options) for folder in models}
    alone = {folder: measure_alone(folder, split, device, trust) for folder in beside}
    about = {"split": split, "chosen_on": found[models[0]]["chosen_on"]}
    if seeds:
        found, alone = _together(found, _pool), _together(alone, _mean)
        names = dict(zip([*found, *alone], short_names([*found, *alone]), strict=True))
    found, alone = ({names[each]: facts for each, facts in some.items()} for some in (found, alone))
    return {**about, "models": found, "beside": alone}


def measure_paths(
    folder: str | Path,
    depths: Sequence[int] | None = None,
    limit: int | None = None,
    split: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    trust: bool = False,
) -> dict[str, Any]:
    """Decode a set greedily by every legal path of some depths, and store the median path of each depth.

    The median path is chosen on the first dev set: the one of the middle rank by error rate, and of two
    the better one. It is written to ``median_paths.json``, where ``--depth`` finds it.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.
    depths : sequence of int, optional
        Logical depths; by default all from one loop of each block to the trained depth.
    limit : int, optional
        Maximum number of paths of a depth, drawn at random; all by default.
    split : str, optional
        The set that the rates are of; the first test set by default.
    seed : int
        Of the draw.
    device : str
        Where the model runs.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``metric``, ``layers`` (physical), ``split``, ``chosen_on`` (the dev set) and ``depths``, a list.
        Each has its ``depth``; the number of ``legal`` paths; ``paths``, with ``label``, ``loops`` by
        block, the rate in percent as ``wer``, whatever the metric, and that of the dev set as ``dev``;
        ``mean``, ``std``, ``min`` and ``max`` over these paths; and ``median``, one of them, with the
        ends ``low`` and ``high`` of its 95% interval.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.inference.results.open_results` raises it, there is no such set,
        no path has a depth, or ``limit`` is below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"--paths {limit}: at least one path of each depth is needed")
    folder = Path(folder)
    model, tokenizer, hparams = open_results(folder, device, trust)
    corpus, schedule = hparams["corpus"], model.schedule
    dev, split = corpus.dev_splits[0], split or corpus.test_splits[0]
    depths = _depths(schedule) if depths is None else depths
    legal = {depth: _paths(schedule, depth) for depth in depths}
    draw = random.Random(seed)
    chosen = {depth: _sample(draw, paths, limit) for depth, paths in legal.items()}
    runs = [path for paths in chosen.values() for path in paths]
    rates = {
        name: error_of(model, tokenizer, hparams, [folder / f"manifests/{name}.csv"], runs)
        for name in dict.fromkeys([dev, split])
    }
    found = []
    for depth, paths in chosen.items():
        ranked = sorted(paths, key=lambda path: rates[dev][path].wer)
        middle = ranked[(len(ranked) - 1) // 2]
        about = [_about(path, rates[split][path].wer, rates[dev][path].wer) for path in paths]
        ends = {"low": rates[split][middle].low, "high": rates[split][middle].high}
        facts = {"depth": depth, "legal": len(legal[depth]), **_statistics(about)}
        found.append({**facts, "median": about[paths.index(middle)] | ends, "paths": about})
    medians = {str(each["depth"]): each["median"]["loops"] for each in found}
    write_whole(folder / MEDIAN_PATHS, json.dumps({"chosen_on": dev, "paths": medians}, indent=1))
    facts = {"metric": corpus.metric, "layers": schedule.n_layers, "split": split, "chosen_on": dev}
    return {**facts, "depths": found}


def measure_alone(
    folder: str | Path, split: str, device: str = "cpu", trust: bool = False
) -> dict[str, Any]:
    """Decode a set greedily by a model at the depth that it was trained for.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.
    split : str
        A set of its corpus.
    device : str
        Where the model runs.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    dict
        ``metric``, ``depth``, ``wer``, ``low`` and ``high``, whatever the metric.

    Raises
    ------
    UserError
        If it is no results folder, or has no such set.
    """
    model, tokenizer, hparams = open_results(folder, device, trust)
    run = model.depth()
    (rate,) = error_of(
        model, tokenizer, hparams, [Path(folder) / f"manifests/{split}.csv"], [run]
    ).values()
    facts = {"metric": hparams["corpus"].metric, "depth": len(run)}
    return {**facts, "wer": rate.wer, "low": rate.low, "high": rate.high}


def _depths(schedule):
    """All depths that have paths, from one loop of each block to the schedule's own."""
    once = len(schedule.with_loops(1))
    return [depth for depth in range(once, len(schedule) + 1) if schedule.reaches(depth)]


def _reached(schedule, depths):
    """Those of some depths that have paths; None if all are to be taken."""
    if depths is None:
        return None
    return [depth for depth in depths if depth > 0 and schedule.reaches(depth)]


def _paths(schedule, depth):
    try:
        return [Depth(path) for path in schedule.paths(depth)]
    except ValueError as error:
        raise UserError(f"--depths: {error}") from error


def _sample(draw, paths, limit):
    """Some paths, in their order."""
    if limit is None or limit >= len(paths):
        return paths
    return [paths[index] for index in sorted(draw.sample(range(len(paths)), limit))]


def _about(path, wer, dev):
    return {"label": str(path), "loops": path.schedule.loops, "wer": wer, "dev": dev}


def _statistics(paths):
    rates = [path["wer"] for path in paths]
    middle = {"mean": statistics.mean(rates), "std": statistics.pstdev(rates)}
    return {**middle, "min": min(rates), "max": max(rates)}


def _together(found, join):
    """What was found in folders that lie in the same one, joined."""
    groups = {}
    for folder, facts in found.items():
        groups.setdefault(Path(folder).parent, []).append(facts)
    joined = {}
    for parent, some in groups.items():
        try:
            joined[parent] = join(some)
        except ValueError:
            raise UserError(f"{parent} holds runs of different models; leave out --seeds") from None
    return joined


def _pool(models):
    """One model's paths with those of its other seeds."""
    if len({model["layers"] for model in models}) > 1:
        raise ValueError
    depths = []
    for same in zip(*(model["depths"] for model in models), strict=True):
        paths = [path for each in same for path in each["paths"]]
        median = _mean([each["median"] | {"depth": each["depth"]} for each in same])
        facts = {"depth": median.pop("depth"), "legal": sum(each["legal"] for each in same)}
        median["label"] = "of each seed"
        depths.append({**facts, **_statistics(paths), "median": median, "paths": paths})
    return models[0] | {"depths": depths}


def _mean(rates):
    """One rate from those of several seeds at the same depth."""
    if len({rate["depth"] for rate in rates}) > 1:
        raise ValueError
    values = [rate["wer"] for rate in rates]
    return rates[0] | {"wer": statistics.mean(values), "low": min(values), "high": max(values)}
