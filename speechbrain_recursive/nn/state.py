"""What travels through a recursive encoder, and the hooks at which a method can touch it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.nn.padding import own_frames, pad_mask
from speechbrain_recursive.nn.schedule import Step


@dataclass(frozen=True)
class State:
    """A batch on its way through the encoder. It is never changed, only replaced.

    Arguments
    ---------
    x : torch.Tensor
        Hidden states [B, T, d].
    pad : torch.BoolTensor, optional
        [B, T], True on padding.
    mask : torch.Tensor, optional
        Attention mask [T, T], or [B * heads, T, T], True where attention is forbidden.
    pos : torch.Tensor, optional
        Positions as the layers take them: [1, 2T-1, d] for relative ones, [1, T, d / heads] for rotary.
    step : Step, optional
        The logical step that runs next; ``step.loop`` counts from 0.
    loops : int or torch.LongTensor, optional
        How many loops the current block makes, one number or one for each row [B].
    memory : mapping of str to torch.Tensor
        Batch-first tensors of this forward alone, such as the state at a block's entry.
    extra : mapping
        Further keyword arguments of the layers; streaming contexts under ``contexts``.
    readout : callable, optional
        From hidden states [B, T, d] to token logits [B, T, V]: what posterior feedback reads.
    """

    x: torch.Tensor
    pad: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    pos: torch.Tensor | None = None
    step: Step | None = None
    loops: Any = None
    memory: Mapping[str, torch.Tensor] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    readout: Callable | None = None

    @property
    def frames(self):
        """Absolute frame counts (LongTensor [B])."""
        if self.pad is None:
            return torch.full(self.x.shape[:1], self.x.shape[1], device=self.x.device)
        return own_frames(self.pad)

    def rows(self, keep):
        """The state of some rows.

        Arguments
        ---------
        keep : torch.LongTensor
            Row indices [N].

        Returns
        -------
        State
        """
        batch = len(self.x)
        mask = self.mask
        if mask is not None and mask.dim() == 3:
            mask = mask.unflatten(0, (batch, -1))[keep].flatten(0, 1)
        return replace(
            self,
            x=self.x[keep],
            pad=None if self.pad is None else self.pad[keep],
            mask=mask,
            pos=self.pos[keep] if self.pos is not None and len(self.pos) == batch > 1 else self.pos,
            loops=self.loops[keep] if torch.is_tensor(self.loops) else self.loops,
            memory={name: value[keep] for name, value in self.memory.items()},
        )

    def put(self, rows, part):
        """Write back the hidden states and the memory of rows that went their own way.

        Arguments
        ---------
        rows : torch.LongTensor
            Where the rows of ``part`` belong [N].
        part : State
            As :meth:`rows` gave it, some steps later.

        Returns
        -------
        State
            Memory that began after the other rows had gone is zero for them.
        """
        memory = {}
        for name, value in part.memory.items():
            whole = self.memory.get(name)
            if whole is None:
                whole = value.new_zeros(len(self.x), *value.shape[1:])
            memory[name] = whole.index_copy(0, rows, value)
        return replace(self, x=self.x.index_copy(0, rows, part.x), memory=memory)

    def resize(self, x, frames):
        """The state after its time axis has changed, as by pooling or by stripping tokens.

        Arguments
        ---------
        x : torch.Tensor
            New hidden states [B, T', d].
        frames : torch.LongTensor
            New absolute frame counts [B].

        Returns
        -------
        State
            Relative positions [1, 2T-1, d] are recut to [1, 2T'-1, d], a table of T rows to T'.

        Raises
        ------
        ValueError
            Under an attention mask, whose cut is not defined, or if positions end before the frames.
        """
        time = x.shape[1]
        pos = self.pos
        if self.mask is not None:
            raise ValueError("the time axis cannot change under an attention mask")
        if pos is not None:
            if time > self.x.shape[1]:
                raise ValueError("positions can be recut to fewer frames only")
            relative = pos.shape[1] == 2 * self.x.shape[1] - 1
            center = self.x.shape[1] - 1
            pos = pos[:, center - time + 1 : center + time] if relative else pos[:, :time]
        pad = pad_mask(frames, time) if self.pad is not None else None
        return replace(self, x=x, pad=pad, pos=pos)


class Hook(nn.Module):
    """Where a method touches the recursion; each hook does nothing until it is overridden.

    Hooks are pure: they keep nothing on ``self`` between calls. What a hook adds starts as the
    identity, so that attaching it to a trained encoder changes nothing before it is trained.

    ``injects`` says that every loop reads a state from before the block, so that gradients reach the
    layers below even when only the last loops are back-propagated.
    """

    injects = False

    def attach(self, layers):
        """Build what depends on the block's layers, once, when an encoder takes the hook.

        Arguments
        ---------
        layers : dict of int to torch.nn.Module
            The block's physical layers by index.
        """

    def before_loop(self, state):
        """Turn the state into the input of a loop.

        ``state.step.loop`` is 0 on entering the block; at r > 0 ``state.x`` is the output h(r) of the
        r-th loop. It does not run after the last one.

        Returns
        -------
        State
        """
        return state

    def around_step(self, state, layer, call):
        """Run one layer: ``call(state, layer)`` gives the pair (x [B, T, d], attention).

        Returns
        -------
        tuple
        """
        return call(state, layer)

    def leave_block(self, state):
        """Change the state when all rows have left the block, once.

        Returns
        -------
        State
        """
        return state

    def done(self, state):
        """Rows that need no further loop.

        Returns
        -------
        torch.BoolTensor or None
            [B], or None where the hook never ends a row early.
        """
        return None
