"""Compare exported models on onnxruntime and sherpa-onnx with PyTorch: speed and memory.

    python benchmarks/export.py

All run the same utterance at the trained depth, from waveform to CTC log-posteriors: sherpa-onnx decodes
them greedily as well. ``parts`` is another way to export, with a graph for what comes before the
recurrent block, one for a loop of it and one for the rest, and a loop in Python. Times are those of
interleaved pairs. Memory is the peak of a fresh process beyond what it had imported, with the weights.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from pairs import median_ratio, peak_memory, time_pairs

from speechbrain_recursive.export.graph import Graph
from speechbrain_recursive.export.model import to_onnx
from speechbrain_recursive.export.precision import PRECISIONS
from speechbrain_recursive.export.trace import trace
from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.block import Watch, run_layers
from speechbrain_recursive.nn.state import State

RECIPES = Path(__file__).parents[1] / "recipes"


def build(recipe):
    """The model of a recipe with random weights."""
    hparams, _ = load(recipe, {"data_folder": "data", "output_folder": "results"})
    return hparams["model"].eval()


def wav_of(model_rate, seconds):
    """Noise [1, S]."""
    noise = np.random.default_rng(0).standard_normal((1, int(seconds * model_rate)))
    return (0.1 * noise).astype(np.float32)


def write_parts(model, folder):
    """A graph for each part of a latent-recursive model without hooks and positions."""
    prelude, recurrent, coda = model.schedule.with_loops(1).blocks
    steps = {
        block.name: [s for s in model.schedule if s.block == block.name and s.loop == 0]
        for block in (prelude, recurrent, coda)
    }

    def layers(name, state):
        return run_layers(model.encoder, steps[name], [], Watch(), state)[0].x

    def first(wav):
        state = model.embed(*model.embed.features(wav, torch.ones(1)))
        return layers(prelude.name, State(state.x))

    def last(x):
        state = State(layers(coda.name, State(x)))
        return model.finish(state, model.depth(), ["ctc"]).log_probs

    with torch.no_grad():
        wav = torch.zeros(1, model.sample_rate)
        x = first(wav)
    parts = {
        "first": (first, wav),
        "loop": (lambda x: layers(recurrent.name, State(x)), x),
        "last": (last, x),
    }
    for name, (function, example) in parts.items():
        graph, nodes = Graph(), []
        (output,) = graph.add(nodes, trace(model, function, {"x": example}, ["y"]), {"x": "x"})
        nodes.append(helper.make_node("Identity", [output], ["y"]))
        shape = [1, "time", *example.shape[2:]]
        made = graph.model(
            nodes, {"x": (TensorProto.FLOAT, shape)}, {"y": (TensorProto.FLOAT, ["b", "t", "d"])}
        )
        onnx.save(made, folder / f"{name}.onnx")


def write(recipe, folder):
    """All that is compared; returns the sizes of the graphs in bytes."""
    model = build(recipe)
    graph = to_onnx(model).SerializeToString()
    for precision, store in PRECISIONS.items():
        onnx.save(store(onnx.load_from_string(graph)), folder / f"{precision}.onnx")
    onnx.save(to_onnx(model, model.depth(), normalized=True), folder / "sherpa.onnx")
    pieces = [
        "<blk>",
        *(chr(0x4E00 + index) for index in range(1, model.heads["ctc"].linear.out_features)),
    ]
    lines = (f"{piece} {index}\n" for index, piece in enumerate(pieces))
    (folder / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    write_parts(model, folder)
    return {path.stem: path.stat().st_size for path in folder.glob("*.onnx")}


def session(folder, name, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(folder / f"{name}.onnx", options)


def engine(kind, recipe, folder, threads, seconds, loops):
    """A function that runs the utterance, with its model loaded."""
    rate = 16000
    wav = wav_of(rate, seconds)
    if kind == "torch":
        torch.set_num_threads(threads)
        model, ones = build(recipe), torch.ones(1)
        signal, depth = torch.from_numpy(wav), model.depth(loops)

        def run():
            with torch.no_grad():
                return model(signal, ones, depth=depth).log_probs.numpy()

        return run
    if kind == "parts":
        first, loop, last = (session(folder, name, threads) for name in ("first", "loop", "last"))

        def run():
            (x,) = first.run(None, {"x": wav})
            for _ in range(loops):
                (x,) = loop.run(None, {"x": x})
            return last.run(None, {"x": x})[0]

        return run
    if kind == "sherpa":
        import sherpa_onnx

        recognizer = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc(
            str(folder / "sherpa.onnx"), str(folder / "tokens.txt"), num_threads=threads
        )

        def run():
            stream = recognizer.create_stream()
            stream.accept_waveform(rate, wav[0])
            recognizer.decode_stream(stream)
            return stream.result.text

        return run
    feeds = {"wav": wav, "loops": np.array([loops], dtype=np.int64)}
    return partial(session(folder, kind, threads).run, None, feeds)


def loading(*args):
    """What :func:`peak_memory` measures: to load the model and run it."""
    return lambda: engine(*args)()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=RECIPES / "LibriSpeech/hparams/depth_l2.yaml")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    loops = build(args.recipe).depth().loops
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, size in sorted(write(args.recipe, folder).items()):
            print(f"{kind}.onnx: {size / 2**20:.1f} MiB")
        for threads in (1, 2):
            common = args.recipe, folder, threads, args.seconds, loops
            theirs = engine("torch", *common)
            memory = peak_memory(loading, "torch", *common) if args.memory else 0
            for kind in ("fp32", "fp16", "int8", "parts", "sherpa"):
                ours = engine(kind, *common)
                times = time_pairs(ours, theirs, args.pairs)
                seconds = [sorted(each)[len(each) // 2] / args.seconds for each in times]
                line = (
                    f"{threads} threads, {kind}: RTF {seconds[0]:.4f} beside {seconds[1]:.4f}, "
                    f"time ratio {median_ratio(*times)}"
                )
                if args.memory:
                    own = peak_memory(loading, kind, *common)
                    line += f", memory {own / 2**20:.0f} beside {memory / 2**20:.0f} MiB"
                print(line, flush=True)


if __name__ == "__main__":
    main()
