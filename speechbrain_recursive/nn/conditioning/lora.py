"""Low-rank updates per loop, for layers that all loops share."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.func import functional_call

from speechbrain_recursive.nn.hooks import Call, Hook, up_to
from speechbrain_recursive.nn.state import State


class LoopLoRA(Hook):
    """Runs loop r of a block with W + (alpha / rank) B_r A_r in place of every matrix W of its layers.

    This includes the fused query-key-value projection of SpeechBrain's attention, which is a bare
    parameter. B is initialized to zero, so that the output is unchanged. Loops beyond ``loops`` use the
    last update.

    Arguments
    ---------
    loops : int
        Number of loops with their own update.
    rank : int
        Rank of each update.
    alpha : float
        Scale of the updates.

    Raises
    ------
    ValueError
        If ``loops`` or ``rank`` is below 1.

    Example
    -------
    >>> from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> stock = TransformerEncoder(1, nhead=2, d_ffn=16, d_model=8)
    >>> encoder = RecursiveEncoder(stock, cycle(1, 3), {"recurrent": [LoopLoRA(loops=3, rank=2)]})
    >>> encoder(torch.rand(2, 10, 8))[0].shape
    torch.Size([2, 10, 8])
    """

    def __init__(self, loops: int, rank: int = 8, alpha: float = 8.0):
        super().__init__()
        if loops < 1 or rank < 1:
            raise ValueError(f"LoopLoRA needs at least one loop and rank 1, got {loops} and {rank}")
        self.loops = loops
        self.rank = rank
        self.scale = alpha / rank
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()

    def attach(self, layers: Mapping[int, nn.Module]) -> None:
        """Make A [loops, rank, in] and B [loops, out, rank] for each matrix of the block's layers."""
        for index, layer in layers.items():
            down, up = nn.ParameterDict(), nn.ParameterDict()
            for name, weight in layer.named_parameters():
                if weight.dim() == 2:
                    rows, columns = weight.shape
                    down[_key(name)] = torch.randn(self.loops, self.rank, columns) / columns**0.5
                    up[_key(name)] = torch.zeros(self.loops, rows, self.rank)
            self.down[str(index)], self.up[str(index)] = down, up

    @torch.no_grad()
    def start_from(self, layers: Mapping[int, Sequence[Mapping[str, torch.Tensor]]]) -> None:
        """Let loop r approximate the r-th layer that a shared layer was made of.

        The update of each matrix becomes the truncated singular value decomposition of what that layer
        has beyond the mean (Relaxed Recursive Transformers, Bae et al., 2025). Layers that were made of
        one layer or of none keep their updates.

        Arguments
        ---------
        layers : mapping of int to sequence of dict
            See :meth:`Hook.start_from`.
        """
        for index, sources in layers.items():
            for name in (
                key for key in sources[0] if len(sources) > 1 and _key(key) in self.up[str(index)]
            ):
                up, down = self.up[str(index)][_key(name)], self.down[str(index)][_key(name)]
                matrices = torch.stack([source[name] for source in sources]).to(up)
                residuals = (matrices - matrices.mean(0))[: self.loops] / self.scale
                u, s, v = torch.linalg.svd(residuals, full_matrices=False)
                root, rank = s.sqrt(), min(self.rank, s.shape[-1])
                up[: len(u), :, :rank] = (u * root[:, None])[..., :rank]
                down[: len(u), :rank] = (root[..., None] * v)[:, :rank]

    def around_step(self, state: State, layer: nn.Module, call: Call) -> tuple:
        """Run the layer with the weights of this loop."""
        loop = up_to(state.step.loop, self.loops - 1)
        down, up = self.down[str(state.step.layer)], self.up[str(state.step.layer)]
        weights = {
            f"layer.{name}": weight + self.scale * up[_key(name)][loop] @ down[_key(name)][loop]
            for name, weight in layer.named_parameters()
            if _key(name) in up
        }
        return functional_call(_Call(layer, call), weights, (state,))


class _Call(nn.Module):
    """Wraps the call of a layer, so that ``functional_call`` can replace the layer's parameters."""

    def __init__(self, layer, call):
        super().__init__()
        self.layer = layer
        self.call = call

    def forward(self, state):
        return self.call(state, self.layer)


def _key(name):
    """A parameter's name without dots, which a ParameterDict does not allow."""
    return name.replace(".", "/")
