"""``analyze``: what layers compute, and where two runs differ."""

import json
from argparse import Namespace, _SubParsersAction
from pathlib import Path

from speechbrain_recursive.cli.boundaries import add_boundaries
from speechbrain_recursive.cli.compare import add_bins
from speechbrain_recursive.cli.layers import add_cad, add_pca
from speechbrain_recursive.cli.options import add_depth, add_trust
from speechbrain_recursive.cli.paths import add_paths
from speechbrain_recursive.cli.probe import add_probe
from speechbrain_recursive.cli.sensitivity import add_sensitivity


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    parser = commands.add_parser(
        "analyze",
        aliases=["analyse"],
        help="layers: similarity, attention, states, phonemes; paths; where one of two runs is better",
    )
    analyses = parser.add_subparsers(dest="analysis", required=True)
    alike = analyses.add_parser(
        "similarity", help="similarity of layers, and a recurrent block that could replace some of them"
    )
    alike.add_argument("model", help="results folder, or name or folder of a Hugging Face Whisper model")
    alike.add_argument(
        "--audio",
        metavar="PATH",
        help="manifest, folder of audio or audio file (default: the results folder's first dev set)",
    )
    alike.add_argument(
        "--utterances", type=int, default=100, help="maximum number, evenly spaced (default: 100)"
    )
    add_depth(alike)
    add_trust(alike)
    alike.add_argument(
        "--saving",
        type=float,
        default=0.5,
        help="fraction of the layers' parameters to save (default: 0.5)",
    )
    alike.add_argument(
        "--max_loops", type=int, default=5, help="maximum number of loops to propose (default: 5)"
    )
    alike.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    alike.add_argument(
        "--output_folder",
        metavar="FOLDER",
        help="default: the results folder; for Whisper, the working directory",
    )
    alike.set_defaults(run=_similarity)
    add_bins(analyses)
    add_sensitivity(analyses)
    add_boundaries(analyses)
    add_cad(analyses)
    add_pca(analyses)
    add_probe(analyses)
    add_paths(analyses)


def _similarity(arguments: Namespace, _: list[str]) -> None:
    from speechbrain_recursive.analysis.plots import similarity_map
    from speechbrain_recursive.analysis.similarity import (
        layer_similarity,
        propose,
        recurrent_shapes,
        similarity_table,
    )
    from speechbrain_recursive.files import write_whole
    from speechbrain_recursive.inference.layers import layer_outputs, open_layers
    from speechbrain_recursive.inference.side_by_side import common_audio

    asked = {"loops": arguments.loops, "depth": arguments.depth, "trust": arguments.trust}
    layers = open_layers(arguments.model, **asked, device=arguments.device)
    # fails before the layers run
    recurrent_shapes(len(layers.labels), arguments.saving, arguments.max_loops)
    source, files = common_audio([layers], arguments.audio, arguments.utterances)
    similarity = layer_similarity(layer_outputs(layers, files))
    folder = Path(arguments.output_folder or (arguments.model if layers.audio else "."))
    facts = {"model": arguments.model, "audio": source, "utterances": len(files)}
    facts |= {"layers": layers.labels, "similarity": similarity.tolist()}
    title = f"Cosine similarity of layer outputs, {Path(arguments.model).name}"
    write_whole(folder / "similarity.png", similarity_map(similarity, layers.labels, title))
    text = f"{title}, {len(files)} utterances\n\n{similarity_table(similarity, layers.labels)}\n\n"
    proposal = propose(similarity, arguments.saving, arguments.max_loops)
    text += (
        f"Proposal: {proposal.schedule}, saves {proposal.saving:.0%} of the layers; mean similarity of "
        f"what the recurrent block replaces: {proposal.similarity:.3f}\n"
        f"Train it with: {proposal.overrides}\n"
    )
    facts |= {"proposal": {**vars(proposal), "schedule": str(proposal.schedule)}}
    facts["proposal"]["overrides"] = proposal.overrides
    write_whole(folder / "similarity.md", f"{text}\n![Similarity](similarity.png)\n")
    write_whole(folder / "similarity.json", json.dumps(facts, indent=1))
    print(text, end="")
