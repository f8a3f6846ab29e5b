"""Compare the recursive encoder with SpeechBrain's stock encoder of the same width and logical depth.

    python benchmarks/encoder.py

The schedule {4,5,2,2} runs 8 physical layers in 24 steps; the stock encoder has 24 layers. Forward
passes and training steps (forward, backward, SGD) are timed in interleaved pairs. The peak memory of a
training step, with and without recomputation, is measured in separate processes.
"""

import argparse
from functools import partial

import torch
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from speechbrain.nnet.attention import RelPosEncXL
from steps import DEVICE, compare

from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.schedule import latent

SCHEDULE = latent(n_recurrent=4, loops=5, n_prelude=2, n_coda=2)


def encoder(width, attention, kind):
    """Build the ``stock`` encoder, or ours as ``recursive`` or ``recomputed``."""
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
    return (
        stock if kind == "stock" else RecursiveEncoder(stock, SCHEDULE, recompute=kind == "recomputed")
    )


def inputs(width, attention, batch, frames):
    """Make hidden states [B, T, d] and, for relative attention, positions."""
    x = torch.randn(batch, frames, width, device=DEVICE)
    pos = RelPosEncXL(width).to(DEVICE)(x) if attention == "RelPosMHAXL" else None
    return {"src": x, "pos_embs": pos}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=512, help="d_model; d_ffn is four times it")
    parser.add_argument("--attention", default="regularMHA")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    print(
        f"{SCHEDULE} beside {len(SCHEDULE)} stock layers on {DEVICE}: d_model {args.width}, "
        f"{args.attention}, batch {args.batch} x {args.frames} frames, {args.pairs} pairs"
    )
    compare(
        partial(encoder, args.width, args.attention),
        partial(inputs, args.width, args.attention),
        ("recursive", "stock", "recomputed"),
        args.batch,
        args.frames,
        pairs=args.pairs,
        memory=args.memory,
    )


if __name__ == "__main__":
    main()
