"""``analyze cad`` and ``analyze pca``: attention and states of several models' layers, side by side."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.cli.options import add_depth, add_trust


def add_cad(analyses: _SubParsersAction) -> None:
    """Add ``cad`` to argparse's subparsers."""
    cad = analyses.add_parser(
        "cad", help="how diagonal the attention of each layer is, and the groups for BiCycle"
    )
    _add_models(cad, "results folders; the layers of the first without loops are grouped")
    cad.add_argument(
        "--n_phonetic",
        type=int,
        metavar="P",
        help="layers of the phonetic group (default: as the attention says)",
    )
    cad.add_argument(
        "--student_layers",
        type=int,
        metavar="M",
        help="layers of the student (default: as many as the groups give)",
    )
    cad.set_defaults(run=_cad)


def add_pca(analyses: _SubParsersAction) -> None:
    """Add ``pca`` to argparse's subparsers."""
    pca = analyses.add_parser("pca", help="where the states of each layer lie, in three dimensions")
    _add_models(pca, "results folders, or names or folders of Hugging Face Whisper models")
    pca.set_defaults(run=_pca)


def _add_models(parser, models):
    parser.add_argument("models", nargs="+", metavar="RESULTS", help=models)
    parser.add_argument(
        "--audio",
        metavar="PATH",
        help="manifest, folder of audio or audio file (default: the first model's first dev set)",
    )
    parser.add_argument(
        "--utterances", type=int, default=100, help="maximum number, evenly spaced (default: 100)"
    )
    add_depth(parser)
    add_trust(parser)
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    parser.add_argument(
        "--output_folder",
        metavar="FOLDER",
        help="default: the last of the results; for Whisper, the working directory",
    )


def _cad(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.diagonality import diagonality_table, mean_diagonality
    from speechbrain_recursive.analysis.grouping import choose_grouping, grouping_report
    from speechbrain_recursive.analysis.layer_plots import diagonality_by_step
    from speechbrain_recursive.inference.side_by_side import (
        common_audio,
        measure_layers,
        model_to_group,
        open_side_by_side,
    )

    asked = {"loops": arguments.loops, "depth": arguments.depth, "trust": arguments.trust}
    models = open_side_by_side(arguments.models, **asked, device=arguments.device, attention=True)
    teacher = model_to_group(models, arguments.n_phonetic, arguments.student_layers)
    source, files = common_audio(models.values(), arguments.audio, arguments.utterances)
    found = measure_layers(models, files, mean_diagonality)
    title = f"Cumulative attention diagonality (CAD), {len(files)} utterances"
    parts = [f"# {title}"]
    facts = {"audio": source, "utterances": len(files), "models": {}}
    for name, cad in found.items():
        parts += [f"## {name}", diagonality_table(cad, models[name].labels)]
        facts["models"][name] = {"layers": models[name].labels, "cad": cad.tolist()}
    groups = {}
    if teacher is not None:
        chosen, keys = choose_grouping(found[teacher], arguments.n_phonetic, arguments.student_layers)
        parts += [f"## Groups of {teacher}", grouping_report(found[teacher], chosen, keys)]
        facts["grouping"] = {"model": teacher, **(vars(chosen) if chosen else {}), "keys": keys}
        groups = {teacher: chosen.n_phonetic} if chosen else {}
    passes = {name: layers.passes for name, layers in models.items()}
    _write(arguments, models, "cad", diagonality_by_step(found, title, passes, groups), parts, facts)


def _pca(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.components import (
        components_table,
        principal_components,
        utterance_means,
    )
    from speechbrain_recursive.analysis.layer_plots import states_in_space
    from speechbrain_recursive.inference.side_by_side import (
        common_audio,
        measure_layers,
        open_side_by_side,
    )

    asked = {"loops": arguments.loops, "depth": arguments.depth, "trust": arguments.trust}
    models = open_side_by_side(arguments.models, **asked, device=arguments.device)
    source, files = common_audio(models.values(), arguments.audio, arguments.utterances)
    states = measure_layers(models, files, utterance_means)
    found = {name: principal_components(each) for name, each in states.items()}
    title = f"Mean states of {len(files)} utterances after each logical step, PCA"
    parts = [f"# {title}"]
    facts = {"audio": source, "utterances": len(files), "models": {}}
    for name, each in found.items():
        parts += [f"## {name}", components_table(each, models[name].labels)]
        facts["models"][name] = {
            "layers": models[name].labels,
            "means": each.points.mean(0).tolist(),
            "explained": each.explained.tolist(),
            "distance": each.distance.tolist(),
        }
    _write(arguments, models, "pca", states_in_space(found, title), parts, facts)


def _write(arguments, models, kind, image, parts, facts):
    """Print an analysis and write it as an image, Markdown and JSON."""
    from speechbrain_recursive.files import write_whole

    *_, last = models.values()
    folder = Path(arguments.output_folder or (arguments.models[-1] if last.audio else "."))
    text = "\n\n".join(parts)
    write_whole(folder / f"{kind}.png", image)
    write_whole(folder / f"{kind}.md", f"{text}\n\n![{kind.upper()}]({kind}.png)\n")
    write_whole(folder / f"{kind}.json", json.dumps(facts, indent=1))
    print(text)
