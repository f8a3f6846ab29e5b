"""The recursive encoder beside SpeechBrain's stock encoder of the same width and logical depth.

    python benchmarks/encoder.py

{4,5,2,2}, 8 layers that make 24 steps, against 24 layers of their own: time of a forward pass and
of a training step (forward, backward, SGD) in interleaved pairs, and the peak memory of a training
step with and without recomputation, each from a process of its own.
"""

import argparse
import statistics

import torch
from pairs import median_ratio, peak_memory, time_pairs
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.nnet.attention import RelPosEncXL

from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import latent

SCHEDULE = latent(n_recurrent=4, loops=5, n_prelude=2, n_coda=2)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def encoder(kind, width, attention):
    """The ``stock`` encoder, or ours as ``recursive`` or ``recomputed``."""
    torch.manual_seed(0)
    layers = len(SCHEDULE) if kind == "stock" else SCHEDULE.n_layers
    stock = TransformerEncoder(
        layers,
        nhead=max(1, width // 64),
        d_ffn=4 * width,
        d_model=width,
        dropout=0.1,
        normalize_before=True,
        attention_type=attention,
    )
    if kind != "stock":
        stock = RecursiveEncoder(stock, SCHEDULE, recompute=kind == "recomputed")
    return stock.to(DEVICE)


def inputs(width, attention, batch, frames):
    """Hidden states [B, T, d] and, where attention is relative, positions."""
    x = torch.randn(batch, frames, width, device=DEVICE)
    pos = RelPosEncXL(width).to(DEVICE)(x) if attention == "RelPosMHAXL" else None
    return {"src": x, "pos_embs": pos}


def forward(kind, width, attention, batch, frames):
    """A callable that encodes in eval, without gradient."""
    model = encoder(kind, width, attention).eval()
    arguments = inputs(width, attention, batch, frames)
    return torch.no_grad()(lambda: model(**arguments))


def training_step(kind, width, attention, batch, frames):
    """A callable that makes one training step."""
    model = encoder(kind, width, attention).train()
    arguments = inputs(width, attention, batch, frames)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)
    weights = torch.randn(width, device=DEVICE)

    def step():
        optimiser.zero_grad()
        (model(**arguments)[0] @ weights).mean().backward()
        optimiser.step()

    return step


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=512, help="d_model; d_ffn is four times it")
    parser.add_argument("--attention", default="regularMHA")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    sizes = (args.width, args.attention, args.batch, args.frames)
    print(
        f"{SCHEDULE} beside {len(SCHEDULE)} stock layers on {DEVICE}: d_model {args.width}, "
        f"{args.attention}, batch {args.batch} x {args.frames} frames, {args.pairs} pairs"
    )
    for build in (forward, training_step):
        ours, theirs = time_pairs(build("recursive", *sizes), build("stock", *sizes), args.pairs)
        print(
            f"{build.__name__}: time ratio {median_ratio(ours, theirs)}, medians "
            f"{statistics.median(ours):.4f} s and {statistics.median(theirs):.4f} s",
            flush=True,
        )
    for kind in ("stock", "recursive", "recomputed") if args.memory else ():
        peak = peak_memory(training_step, kind, *sizes)
        print(f"training_step, {kind}: peak memory {peak / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
