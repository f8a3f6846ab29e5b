"""``serve``: transcripts over HTTP, and a page in the browser."""

from argparse import ArgumentParser, Namespace, _SubParsersAction

from speechbrain_recursive.cli.options import add_trust
from speechbrain_recursive.errors import UserError


def add(commands: _SubParsersAction) -> None:
    """Add the command to argparse's subparsers."""
    serve: ArgumentParser = commands.add_parser(
        "serve", help="OpenAI's API for transcription over HTTP, and a page for the browser"
    )
    serve.add_argument("model", metavar="MODEL", help="results folder of a finished run, or USER/NAME")
    serve.add_argument("--host", default="127.0.0.1", help="address (default: this machine alone)")
    serve.add_argument("--port", type=int, default=8000, help="default: 8000; 0 for a free one")
    serve.add_argument(
        "--allow_host",
        nargs="+",
        default=[],
        metavar="NAME",
        help="names by which a proxy on this machine calls the server",
    )
    add_trust(serve)
    serve.add_argument("--revision", help="commit, tag or branch of a model on the Hub (default: main)")
    serve.add_argument("--name", help="what clients call the model (default: by its folder)")
    serve.add_argument(
        "--decoder", help="one of the run's decoders (default: the best of its report at each depth)"
    )
    serve.add_argument("--device", default="cpu", help="cpu (default), cuda or cuda:N")
    serve.add_argument(
        "--max_depth",
        type=int,
        metavar="N",
        help="greatest logical depth that clients may ask for (default: that of twice the loops)",
    )
    limits = (
        ("max_bytes", int, "N", 100_000_000, "limit on an upload"),
        ("max_seconds", float, "S", 3600.0, "limit on the duration of a recording"),
        ("max_concurrent", int, "N", 64, "limit on requests at a time, with those that wait"),
        ("upload_seconds", float, "S", 120.0, "limit on the time that an upload takes"),
        ("batch_seconds", float, "S", 60.0, "limit on the padded duration of a batch"),
    )
    for name, kind, unit, default, what in limits:
        text = f"{what} (default: {default:g})" if default < 1e6 else f"{what} (default: {default:,})"
        serve.add_argument(f"--{name}", type=kind, default=default, metavar=unit, help=text)
    serve.set_defaults(run=_run)


def _run(arguments: Namespace, _: list[str]) -> None:
    try:
        from speechbrain_recursive.serving.app import create_app
        from speechbrain_recursive.serving.server import api_key, hosts_of, listen, run
    except ModuleNotFoundError as error:
        raise UserError(
            f"serve needs {error.name}: pip install 'speechbrain-recursive[serve]'"
        ) from None
    from speechbrain_recursive.inference.streaming import StreamingASR
    from speechbrain_recursive.inference.transcribe import RecursiveASR
    from speechbrain_recursive.nn.streaming import obstacle
    from speechbrain_recursive.serving.limits import Limits
    from speechbrain_recursive.serving.service import Service, name_of

    key = api_key()
    hosts = hosts_of(arguments.host, key, arguments.allow_host)
    with listen(arguments.host, arguments.port) as server:
        asr = RecursiveASR.from_hparams(
            arguments.model,
            run_opts={"device": arguments.device},
            decoder=arguments.decoder,
            trust=arguments.trust,
            revision=arguments.revision,
        )
        limits = Limits(
            arguments.max_bytes,
            arguments.max_seconds,
            arguments.max_concurrent,
            arguments.upload_seconds,
        )
        name = arguments.name or name_of(arguments.model)
        streaming = None
        if obstacle(asr.model) is None:
            shared = asr.model, asr.tokenizer, asr.hparams, asr.folder
            streaming = StreamingASR(*shared, trust=arguments.trust)
        service = Service(asr, name, limits, arguments.batch_seconds, arguments.max_depth, streaming)
        host, port = server.getsockname()[:2]
        print(f"{service.name}: http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)
        run(create_app(service, hosts, key), server)
