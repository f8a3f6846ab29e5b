"""``export``: a trained model as ONNX, for onnxruntime or sherpa-onnx."""

from argparse import Namespace, _SubParsersAction

from speechbrain_recursive.cli.options import add_depth, add_trust
from speechbrain_recursive.errors import UserError


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    text = commands.add_parser("export", help="a trained model as ONNX")
    text.add_argument("model", metavar="MODEL", help="results folder of a finished run, or USER/NAME")
    text.add_argument("out", metavar="OUT", help="folder to write, or one of an earlier export")
    text.add_argument(
        "--precision",
        choices=["fp32", "fp16", "int8"],
        default="fp32",
        help="how weights are stored (default: fp32); int8 computes in integers as well",
    )
    text.add_argument(
        "--sherpa",
        action="store_true",
        help="one file with a fixed depth (--loops or --depth) and tokens.txt, for sherpa-onnx",
    )
    text.add_argument(
        "--evaluate",
        action="store_true",
        help="decode the run's test sets greedily at every depth of its report",
    )
    add_depth(text)
    text.add_argument("--revision", help="commit, tag or branch of a model on the Hub (default: main)")
    add_trust(text)
    text.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise UserError("export needs onnx and onnxruntime: pip install onnx onnxruntime") from error
    if arguments.sherpa and arguments.evaluate:
        raise UserError(
            "--evaluate compares depths, of which --sherpa leaves one: leave one of them out"
        )
    from speechbrain_recursive.export.folder import export

    done = export(
        arguments.model,
        arguments.out,
        arguments.precision,
        arguments.sherpa,
        arguments.loops,
        arguments.depth,
        arguments.trust,
        arguments.revision,
    )
    for name, size in done["files"].items():
        print(f"{size:>13,}  {name}")
    print(f"{done['parameters']:,} parameters, each stored once")
    print(f"log-posteriors differ from the model's by {done['difference']:.1g} at most")
    if arguments.evaluate:
        from speechbrain_recursive.export.evaluate import error_rates

        rows = error_rates(done["folder"], arguments.model, arguments.trust)
        print(f"\n| depth | greedy error rate %, {arguments.precision} | greedy error rate %, PyTorch |")
        print("|---|---|---|")
        for row in rows:
            print(f"| {row['label']} | {row['exported']:.2f} | {row['model']:.2f} |")
