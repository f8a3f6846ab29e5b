"""LARM: rotary Transformer blocks, and the hooks that condition their loop.

Paper: "Test-Time Compute Scaling for ASR with Depth-Conditioned Looped Transformers". The loop is run by
:class:`~speechbrain_recursive.nn.encoder.RecursiveEncoder` with the schedule ``cycle(n, loops)``; the
front-end is :class:`~speechbrain_recursive.nn.frontend.ConvSubsampling`. Without hooks, this is the
naive loop of Eq. 1.
"""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.adapters import TransformerAdapter
from speechbrain_recursive.nn.conditioning.depth import Clock, DepthEmbedding, DepthMLP, FiLM
from speechbrain_recursive.nn.conditioning.feedback import PosteriorFeedback
from speechbrain_recursive.nn.conditioning.injection import StateInjection
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.state import State

DEPTH = {"none": None, "embedding": DepthEmbedding, "mlp": DepthMLP, "film": FiLM}


def conditioning(
    d_model: int,
    n_tokens: int,
    loops: int,
    interval: int,
    depth: str = "film",
    feedback: str = "previous",
    clock: bool = True,
    gain: float = 0.1,
    learn_gains: bool = True,
) -> list[Hook]:
    """Build the hooks of LARM's recurrent block, from h(n) to z(n) (sections 3.2.3 and 3.2.4).

    ``z(n) = FiLM_n(h(n) + a z0 + b shift(P softmax(head(h(n)))) + clock(n mod interval))``

    Arguments
    ---------
    d_model : int
        Width of the state.
    n_tokens : int
        Size of the vocabulary.
    loops : int
        Trained number of loops, N.
    interval : int
        Loops from one checkpoint to the next, K.
    depth : str
        Depth conditioning: ``film``, ``mlp``, ``embedding`` or ``none`` (Table 3b).
    feedback : str
        Posterior feedback from the ``previous`` or ``current`` frame, or ``none`` (Table 3c).
    clock : bool
        Whether to add a supervision clock.
    gain : float
        Initial value of a and b.
    learn_gains : bool
        Whether a and b are trained.

    Returns
    -------
    list of Hook
        Empty for a single loop, which has nothing to condition.

    Raises
    ------
    UserError
        If ``depth`` or ``feedback`` is unknown.

    Example
    -------
    >>> [type(hook).__name__ for hook in conditioning(16, 30, loops=12, interval=4)]
    ['PosteriorFeedback', 'StateInjection', 'Clock', 'FiLM']
    """
    if depth not in DEPTH:
        raise UserError(f"depth conditioning '{depth}' is none of {', '.join(DEPTH)}")
    if loops == 1:
        return []
    hooks = []
    if feedback != "none":
        hooks.append(PosteriorFeedback(n_tokens, d_model, feedback, gain, learn_gains))
    hooks.append(StateInjection(gain, learn_gains))
    if clock:
        hooks.append(Clock(interval, d_model))
    if DEPTH[depth] is not None:
        hooks.append(DEPTH[depth](loops, d_model))
    return hooks


class RopeBlock(nn.Module):
    """Pre-norm block of rotary attention and a GELU feed-forward network (Appendix A.2, Eq. 15 to 18).

    Arguments
    ---------
    d_model : int
        Width of the state.
    nhead : int
        Number of attention heads.
    d_ffn : int
        Width of the feed-forward network.
    dropout : float
        Applied to the outputs of attention and feed-forward network, but not to attention weights, so
        that attention can use a fused kernel.
    """

    def __init__(self, d_model: int, nhead: int, d_ffn: int, dropout: float = 0.0):
        super().__init__()
        self.nhead = nhead
        self.norm1 = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.norm2 = nn.LayerNorm(d_model)
        self.up = nn.Linear(d_model, d_ffn)
        self.down = nn.Linear(d_ffn, d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: torch.Tensor, rotary: torch.Tensor, allowed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Apply the block.

        Arguments
        ---------
        x : torch.Tensor
            [B, T, d].
        rotary : torch.Tensor
            Cosines and sines [1, T, d / nhead], see :func:`rotary_table`.
        allowed : torch.BoolTensor, optional
            True where attention is allowed; broadcast to [B, heads, T, T].

        Returns
        -------
        torch.Tensor
            [B, T, d].
        """
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3 * self.nhead, -1)).transpose(1, 2).chunk(3, 1)
        q, k = (_rotate(each, rotary).to(v.dtype) for each in (q, k))
        attended = scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.down(gelu(self.up(self.norm2(x)))))


class RopeEncoder(nn.Module):
    """:class:`RopeBlock` layers, to be run by a ``RecursiveEncoder``.

    Arguments
    ---------
    num_layers : int
        Number of blocks.
    d_model, nhead, d_ffn, dropout
        See :class:`RopeBlock`.
    base : float
        Base of the rotary angles.
    layerdrop_prob : float
        Probability of skipping a step in training.
    final_norm : bool
        Whether a layer norm stands between the last block and what reads it. The paper's CTC head has
        none (Eq. 2 and 13). The loop itself does not pass through it.

    Raises
    ------
    UserError
        If ``d_model`` does not split into heads of even width.

    Example
    -------
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> encoder = RecursiveEncoder(RopeEncoder(2, d_model=16, nhead=2, d_ffn=64), cycle(2, 3))
    >>> encoder(torch.rand(2, 10, 16), loops=5)[0].shape
    torch.Size([2, 10, 16])
    """

    output_hidden_states = False

    def __init__(
        self,
        num_layers: int,
        d_model: int,
        nhead: int,
        d_ffn: int,
        dropout: float = 0.0,
        base: float = 10000.0,
        layerdrop_prob: float = 0.0,
        final_norm: bool = True,
    ):
        super().__init__()
        if d_model % (2 * nhead):
            raise UserError(
                f"rotary positions need heads of even width: d_model {d_model}, nhead {nhead}"
            )
        self.layers = nn.ModuleList(RopeBlock(d_model, nhead, d_ffn, dropout) for _ in range(num_layers))
        self.norm = nn.LayerNorm(d_model) if final_norm else nn.Identity()
        self.layerdrop_prob = layerdrop_prob
        self.adapter = RopeAdapter(d_model // nhead, base)


class RopeAdapter(TransformerAdapter):
    """Calls :class:`RopeBlock` layers. The rotary table is computed once per run.

    Arguments
    ---------
    size : int
        Width of a head.
    base : float
        Base of the rotary angles.
    """

    def __init__(self, size: int, base: float):
        self.size = size
        self.base = base

    def enter(self, state: State) -> State:
        """Set the state's positions to the rotary table [1, T, size]."""
        state = super().enter(state)
        mask = state.mask
        if mask is not None and mask.is_floating_point():
            mask = mask.isneginf()  # SpeechBrain's causal mask holds 0 and -inf
        table = rotary_table(state.x.shape[1], self.size, self.base, state.x.device)
        return replace(state, mask=mask, pos=table)

    def call(self, state: State, layer: nn.Module) -> tuple[torch.Tensor, None]:
        """Apply one block. Fused attention returns no weights."""
        forbidden = None if state.pad is None else state.pad[:, None, None]
        if state.mask is not None:
            forbidden = state.mask if forbidden is None else state.mask | forbidden
        return layer(state.x, state.pos, None if forbidden is None else ~forbidden), None


def rotary_table(time: int, size: int, base: float, device: torch.device | None = None) -> torch.Tensor:
    """Compute the cosines and sines of rotary positions.

    Arguments
    ---------
    time : int
        Number of frames, T.
    size : int
        Width of an attention head.
    base : float
        Base of the angles.
    device : torch.device, optional
        Device of the result.

    Returns
    -------
    torch.Tensor
        [1, T, size]: cosines, then sines, of ``t * base ** (-2 i / size)`` for i below size / 2.
    """
    rates = base ** (-torch.arange(0, size, 2, device=device) / size)
    angles = torch.arange(time, device=device)[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)[None]


def _rotate(x, rotary):
    """Rotate the pairs (i, i + size / 2) of x [B, heads, T, size] by their angles."""
    cos, sin = rotary.chunk(2, -1)
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)
