"""The state of a batch inside a model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from speechbrain_recursive.nn.padding import own_frames, pad_mask
from speechbrain_recursive.nn.schedule import Step


@dataclass(frozen=True)
class State:
    """A batch at one point of a model. States are immutable; use ``dataclasses.replace``.

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
    memory : mapping of str to torch.Tensor
        Batch-first tensors of this forward pass alone, such as the state at a block's entry, or the
        targets that a head is given.
    extra : mapping
        Further keyword arguments of the layers. While streaming, left contexts by step under
        ``contexts``, and the last frames of hooks under ``borders``.
    readout : callable, optional
        From hidden states [B, T, d] to token logits [B, T, V]; posterior feedback reads it.
    """

    x: torch.Tensor
    pad: torch.Tensor | None = None
    mask: torch.Tensor | None = None
    pos: torch.Tensor | None = None
    step: Step | None = None
    memory: Mapping[str, torch.Tensor] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    readout: Callable[[torch.Tensor], torch.Tensor] | None = None

    @property
    def frames(self) -> torch.Tensor:
        """Absolute frame counts (LongTensor [B])."""
        if self.pad is None:
            return torch.full(self.x.shape[:1], self.x.shape[1], device=self.x.device)
        return own_frames(self.pad)

    def remember(self, **tensors: torch.Tensor) -> "State":
        """The state with batch-first tensors added to its memory."""
        return replace(self, memory={**self.memory, **tensors})

    def border(self, name: str, last: torch.Tensor) -> torch.Tensor:
        """What a hook had in the last frame of the chunk before, at this loop of this block.

        Arguments
        ---------
        name : str
            What it is.
        last : torch.Tensor
            The same in the last frame of this chunk [B, 1, d], which the next chunk will be given.

        Returns
        -------
        torch.Tensor
            [B, 1, d]; zeros in the first chunk, and where nothing streams.
        """
        borders = self.extra.get("borders")
        if borders is None:
            return torch.zeros_like(last)
        key = name, self.step.block, self.step.loop
        before = borders.get(key)
        borders[key] = last
        return torch.zeros_like(last) if before is None else before

    def select(self, rows: torch.Tensor) -> "State":
        """The state of some rows.

        Arguments
        ---------
        rows : torch.LongTensor
            Row indices [N].
        """
        batch = len(self.x)
        mask = self.mask
        if mask is not None and mask.dim() == 3:
            mask = mask.unflatten(0, (batch, -1))[rows].flatten(0, 1)
        return replace(
            self,
            x=self.x[rows],
            pad=None if self.pad is None else self.pad[rows],
            mask=mask,
            pos=self.pos[rows] if self.pos is not None and len(self.pos) == batch > 1 else self.pos,
            memory={name: value[rows] for name, value in self.memory.items()},
        )

    def scatter(self, rows: torch.Tensor, part: "State") -> "State":
        """Write back the hidden states, the memory and the step of selected rows.

        Arguments
        ---------
        rows : torch.LongTensor
            Where the rows of ``part`` belong [N].
        part : State
            What :meth:`select` returned, some steps later.

        Returns
        -------
        State
            Memory that only ``part`` has, or has in another shape, is zero for the other rows.
        """
        memory = {}
        for name, value in part.memory.items():
            whole = self.memory.get(name)
            if whole is None or whole.shape[1:] != value.shape[1:]:  # of a block before a pooling
                whole = value.new_zeros(len(self.x), *value.shape[1:])
            memory[name] = whole.index_copy(0, rows, value)
        x = self.x.index_copy(0, rows, part.x)
        return replace(self, x=x, step=part.step, memory=memory)

    def resize(self, x: torch.Tensor, frames: torch.Tensor) -> "State":
        """The state after its time axis has changed, for instance by pooling.

        Arguments
        ---------
        x : torch.Tensor
            New hidden states [B, T', d].
        frames : torch.LongTensor
            New absolute frame counts [B].

        Returns
        -------
        State
            Relative positions [1, 2T-1, d] are cut to [1, 2T'-1, d], a table of T rows to T'.

        Raises
        ------
        ValueError
            Under an attention mask, which cannot be cut, or if there are positions for fewer frames.
        """
        time = x.shape[1]
        pos = self.pos
        if self.mask is not None:
            raise ValueError("the time axis cannot change under an attention mask")
        if pos is not None:
            if time > self.x.shape[1]:
                raise ValueError("positions cannot be extended to more frames")
            relative = pos.shape[1] == 2 * self.x.shape[1] - 1
            center = self.x.shape[1] - 1
            pos = pos[:, center - time + 1 : center + time] if relative else pos[:, :time]
        pad = pad_mask(frames, time) if self.pad is not None else None
        return replace(self, x=x, pad=pad, pos=pos)
