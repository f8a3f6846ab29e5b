"""Compare a training step of Foldable, 6 layers that unfold to 12, with one of 12 plain layers.

    python benchmarks/foldable.py

Both are Conformers with a CTC head and an attention decoder of 6 layers, of the paper's sizes at width
256. ``foldable`` trains the deepest unfolding and the seed with self-distillation, ``deepest`` the
former alone. Steps (forward, loss, backward, SGD) are timed in interleaved pairs; peak memory is
measured in separate processes.
"""

import argparse
import statistics
from types import SimpleNamespace

import torch
from pairs import median_ratio, peak_memory, time_pairs
from speechbrain.dataio.batch import PaddedData
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization
from steps import DEVICE

from speechbrain_recursive.nn.embed import FilterbankEmbedding
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.frontend import ConvSubsampling
from speechbrain_recursive.nn.heads import CTCHead, Seq2SeqHead
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.positions import positions_for
from speechbrain_recursive.nn.schedule import standard, unfold
from speechbrain_recursive.objectives.ctc import CTC
from speechbrain_recursive.objectives.foldable import Foldable
from speechbrain_recursive.objectives.joint import Joint
from speechbrain_recursive.objectives.seq2seq import Seq2Seq

MELS, TOKENS, DECODER = 80, 2000, 6
SCHEDULES = {"foldable": unfold(6, 12), "plain": standard(12), "deepest": unfold(6, 12)}


def build(width, kind):
    """Build a model and its objective."""
    torch.manual_seed(0)
    schedule, sizes = SCHEDULES[kind], {"nhead": max(1, width // 64), "d_ffn": 8 * width}
    attention = "RelPosMHAXL"
    layers = stock_layers(
        schedule.n_layers, width, encoder_module="conformer", attention_type=attention, **sizes
    )
    embed = FilterbankEmbedding(
        Fbank(n_mels=MELS),
        InputNormalization(norm_type="sentence"),
        ConvSubsampling(width),
        MELS // 4 * width,
        width,
        positions=positions_for(attention, width),
    )
    decoder = Seq2SeqHead(width, TOKENS, DECODER, **sizes, dropout=0.1, activation=torch.nn.ReLU)
    heads = {"ctc": CTCHead(width, TOKENS), "seq2seq": decoder}
    joint = Joint([CTC(), Seq2Seq()], {"ctc": 0.3, "seq2seq": 0.7})
    model = ASRModel(embed, RecursiveEncoder(layers, schedule), heads)
    return model.to(DEVICE).train(), Foldable(joint) if kind == "foldable" else joint


def training_step(width, batch, frames, kind):
    """Make a callable that runs one training step; frames are those of the encoder, at 40 ms."""
    model, objective = build(width, kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    tokens = torch.randint(3, TOKENS, (batch, max(2, frames // 6)), device=DEVICE)
    data = PaddedData(tokens, torch.ones(batch, device=DEVICE))
    targets = SimpleNamespace(id=[""] * batch, tokens=data, tokens_eos=data)
    features = torch.randn(batch, 4 * frames, MELS, device=DEVICE)
    counts = torch.full((batch,), 4 * frames, device=DEVICE)
    depth = model.depth()
    needs = objective.needs(depth)

    def step():
        optimizer.zero_grad()
        outputs = model.from_features(features, counts, {"tokens_bos": tokens}, depth, needs)
        objective(outputs, targets)["loss"].backward()
        optimizer.step()

    return step


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=int, default=256, help="d_model; d_ffn is eight times it")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--memory", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    print(
        f"{SCHEDULES['foldable']} beside {len(SCHEDULES['plain'])} layers on {DEVICE}: d_model "
        f"{args.width}, batch {args.batch} x {args.frames} frames, {args.pairs} pairs"
    )
    sizes = args.width, args.batch, args.frames
    for kind in ("foldable", "deepest"):
        times = time_pairs(*(training_step(*sizes, each) for each in (kind, "plain")), args.pairs)
        medians = " and ".join(f"{statistics.median(each):.4f} s" for each in times)
        print(f"{kind}: time ratio {median_ratio(*times)}, medians {medians}", flush=True)
    for kind in SCHEDULES if args.memory else ():
        peak = peak_memory(training_step, *sizes, kind)
        print(f"{kind}: peak memory {peak / 2**20:.0f} MiB", flush=True)


if __name__ == "__main__":
    main()
