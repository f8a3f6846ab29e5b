"""Compare encoders: time of a forward pass and of a training step, and peak memory of the step.

A benchmark defines ``encoder(kind)``, which builds a model, and ``inputs(batch, frames)``, which makes
its keyword arguments on :data:`DEVICE`. Both are functions at the top level of a module, or partials of
such functions, because memory is measured in a separate process.
"""

import statistics

import torch
from pairs import median_ratio, peak_memory, time_pairs

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def forward(encoder, inputs, kind, batch, frames, bf16=False):
    """Make a callable that encodes in eval mode, without gradients."""
    model = encoder(kind).to(DEVICE).eval()
    arguments = inputs(batch, frames)

    @torch.no_grad()
    @torch.autocast(DEVICE, torch.bfloat16, enabled=bf16)
    def encode():
        return model(**arguments)[0]

    return encode


def training_step(encoder, inputs, kind, batch, frames, bf16=False):
    """Make a callable that runs one training step: forward, backward, SGD.

    A first step on few frames is run here, so that layers to be compiled are compiled. Its gradients are
    removed.
    """
    model = encoder(kind).to(DEVICE).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step(arguments):
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16):
            output = model(**arguments)[0]
        # not a plain mean, which the final norm would keep constant
        (output * torch.linspace(-1, 1, output.shape[-1], device=DEVICE)).mean().backward()
        optimizer.step()

    step(inputs(batch, max(2, frames // 10)))
    optimizer.zero_grad()
    arguments = inputs(batch, frames)
    return lambda: step(arguments)


def compare(encoder, inputs, kinds, batch, frames, bf16=False, pairs=15, memory=True):
    """Print the time ratios of the first kind to the second and the peak memory of every kind.

    Arguments
    ---------
    encoder, inputs : callable
        See this module's docstring.
    kinds : sequence of str
        Arguments of ``encoder``.
    batch, frames : int
        Size of the inputs.
    bf16 : bool
        Whether to run under autocast to bfloat16.
    pairs : int
        Timed calls of each of the two.
    memory : bool
        Whether to measure memory.
    """
    sizes = (batch, frames, bf16)
    for build in (forward, training_step):
        ours, theirs = (build(encoder, inputs, kind, *sizes) for kind in kinds[:2])
        times = time_pairs(ours, theirs, pairs)
        medians = " and ".join(f"{statistics.median(each):.4f} s" for each in times)
        print(f"{build.__name__}: time ratio {median_ratio(*times)}, medians {medians}", flush=True)
    for kind in kinds if memory else ():
        peak = peak_memory(training_step, encoder, inputs, kind, *sizes)
        print(f"training_step, {kind}: peak memory {peak / 2**20:.0f} MiB", flush=True)
