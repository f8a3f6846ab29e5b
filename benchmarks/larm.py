"""Compare LARM's looped rotary blocks with SpeechBrain's stock encoder with rotary attention.

    python benchmarks/larm.py [--compile] [--bf16] [--dropout 0.1]

Ours run 4 blocks in 3 loops; the stock encoder has 12 layers, pre-norm with GELU. On a padded batch,
forward passes and training steps (forward, backward, SGD) are timed in interleaved pairs, and the peak
memory of a training step is measured in separate processes. ``--compile`` compiles the layers of both.
Dropout is off by default: the stock layers also apply it to attention weights, which rules out the fused
attention kernel, and compiled training with it ends in a corrupted heap (torch 2.11).
"""

import argparse
from functools import partial

import torch
from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
from steps import DEVICE, compare

from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.larm import RopeEncoder
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.schedule import cycle

SCHEDULE = cycle(4, loops=3)


def encoder(width, dropout, compiled, kind):
    """Build ``larm`` or ``stock``."""
    torch.manual_seed(0)
    sizes = {"d_model": width, "nhead": max(1, width // 64), "d_ffn": 4 * width, "dropout": dropout}
    if kind == "larm":
        layers = RopeEncoder(SCHEDULE.n_layers, **sizes)
        ours = RecursiveEncoder(layers, SCHEDULE)
        if compiled:
            ours.compile_layers()
        return ours
    stock = TransformerEncoder(
        len(SCHEDULE),
        **sizes,
        activation=torch.nn.GELU,
        normalize_before=True,
        attention_type="RoPEMHA",
    )
    for layer in stock.layers if compiled else ():
        layer.compile(dynamic=True)
    return stock


def inputs(width, batch, frames):
    """Make hidden states [B, T, d] and a padding mask; the last row has half the frames."""
    real = torch.linspace(frames, frames // 2, batch, device=DEVICE).round()
    return {
        "src": torch.randn(batch, frames, width, device=DEVICE, requires_grad=True),
        "src_key_padding_mask": pad_mask(real, frames),
    }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=384, help="d_model; d_ffn is four times it")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    print(
        f"{SCHEDULE} beside {len(SCHEDULE)} stock layers on {DEVICE}, "
        f"{'compiled' if args.compile else 'eager'}, {'bf16' if args.bf16 else 'fp32'}: "
        f"d_model {args.width}, dropout {args.dropout}, batch {args.batch} x {args.frames} frames, "
        f"{args.pairs} pairs"
    )
    compare(
        partial(encoder, args.width, args.dropout, args.compile),
        partial(inputs, args.width),
        ("larm", "stock"),
        args.batch,
        args.frames,
        bf16=args.bf16,
        pairs=args.pairs,
        memory=args.memory,
    )


if __name__ == "__main__":
    main()
