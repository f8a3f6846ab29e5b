"""Latency of a model that streams, and what streaming costs beside whole utterances.

    python benchmarks/streaming.py

A model of ``streaming.yaml`` with random weights hears noise, a chunk of samples at a time. Lines have
the algorithmic latency (a chunk, and what its last frame hears after its center), the time from the last
sample of a chunk to its log-posteriors, the real-time factor, and the ratio of the whole time to that of
the same model on the whole utterance under the mask of the chunks, in interleaved pairs. The last line
compares our encoder, chunk by chunk, with SpeechBrain's ``ConformerEncoder`` of as many layers.
"""

import argparse
import time
from pathlib import Path
from statistics import median, quantiles

import torch
from pairs import median_ratio, time_pairs
from speechbrain.nnet.attention import RelPosEncXL
from speechbrain.utils.dynamic_chunk_training import DynChunkTrainConfig

from speechbrain_recursive.hparams import load
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.schedule import latent
from speechbrain_recursive.nn.streaming import ModelStream

RECIPE = Path(__file__).parents[1] / "recipes/LibriSpeech/hparams/streaming.yaml"
LEFT = 4  # chunks


def build(recipe):
    """The model of a recipe with random weights, and some statistics of features."""
    hparams, _ = load(recipe, {"data_folder": "data", "output_folder": "results"})
    model = hparams["model"].eval()
    model.embed.fit([0.1 * torch.randn(16000)])
    return model


def hear(model, wav, config, depth):
    """Stream a waveform by the samples of a chunk; returns the seconds that each chunk took."""
    stream, taken = ModelStream(model, config, depth), []
    for samples in wav.split(config.chunk_size * round(model.frame_seconds * model.sample_rate)):
        start = time.perf_counter()
        stream.feed(samples)
        taken.append(time.perf_counter() - start)
    stream.finish()
    return taken


def encoders(width, schedule):
    """Ours under a schedule, and a stock one of as many layers."""
    options = {"encoder_module": "conformer", "nhead": 4, "d_ffn": 4 * width, "kernel_size": 15}
    options["attention_type"] = "RelPosMHAXL"
    ours = RecursiveEncoder(stock_layers(schedule.n_layers, width, **options), schedule)
    return ours.eval(), stock_layers(len(schedule), width, **options).eval()


def by_chunks(encoder, x, config):
    """Encode frames [1, T, d] chunk by chunk, with full left contexts from the start."""
    context = encoder.make_streaming_context(config)
    positions = RelPosEncXL(x.shape[-1])
    with torch.no_grad():
        for chunk in x.split(config.chunk_size, 1):
            left = context.layers[0].mha_left_context
            time_ = chunk.shape[1] + (0 if left is None else left.shape[1])
            encoder.forward_streaming(
                chunk, pos_embs=positions(chunk.new_zeros(1, time_, x.shape[-1])), context=context
            )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = build(RECIPE)
    wav = 0.1 * torch.randn(int(args.seconds * model.sample_rate))
    for chunk in (8, 16, 32):
        config = DynChunkTrainConfig(chunk, LEFT)
        for loops in (1, 3, 6):
            depth, taken = model.depth(loops), []

            def stream(config=config, depth=depth, taken=taken):
                taken.extend(hear(model, wav, config, depth))

            @torch.no_grad()
            def whole(config=config, depth=depth):
                model(wav[None], torch.ones(1), depth=depth, dynchunktrain_config=config)

            times = time_pairs(stream, whole, args.pairs, warmup=1)
            ahead = ModelStream(model, config, depth).look_ahead
            latency = (chunk - 1) * model.frame_seconds + ahead
            print(
                f"chunks of {chunk} frames, {loops} loops: algorithmic latency {1000 * latency:.0f} ms, "
                f"computing {1000 * median(taken):.1f} ms (95%: "
                f"{1000 * quantiles(taken, n=20)[-1]:.1f}), "
                f"RTF {median(times[0]) / args.seconds:.3f}, beside the whole {median_ratio(*times)}",
                flush=True,
            )
    ours, theirs = encoders(args.width, latent(4, 3, 2, 2))
    x, config = torch.randn(1, 16 * LEFT * 2, args.width), DynChunkTrainConfig(16, LEFT)
    times = time_pairs(
        lambda: by_chunks(ours, x, config), lambda: by_chunks(theirs, x, config), args.pairs
    )
    print(f"encoder of depth 16 beside SpeechBrain's of 16 layers: {median_ratio(*times)}")


if __name__ == "__main__":
    main()
