"""What is asked of a model in one step, and what it gives back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.state import State


@dataclass(frozen=True)
class Request:
    """What objectives and decoders read of a run; the model computes that and no more.

    Requests are merged with ``|``.

    Arguments
    ---------
    heads : iterable of str
        Names of heads.
    taps : iterable of int
        Indices of logical steps whose states are kept.
    exits : mapping of Depth to Request
        Early exits, and what each is asked for (heads alone).
    runs : mapping of str to Run
        Further runs of the encoder on the same embedded frames, under names of their own.
    teachers : mapping of str to Request
        What teachers are asked for, by name.
    attention : iterable of int
        Indices of logical steps whose attention weights are kept.

    Raises
    ------
    ValueError
        If two requests that are merged want different depths under one run's name, an exit is asked for
        more than heads, or a further run for runs or teachers of its own.

    Example
    -------
    >>> request = Request(heads=["ctc"]) | Request(heads=["ctc", "seq2seq"], taps=[3])
    >>> sorted(request.heads), sorted(request.taps)
    (['ctc', 'seq2seq'], [3])
    """

    heads: Iterable[str] = ()
    taps: Iterable[int] = ()
    exits: "Mapping[Depth, Request]" = field(default_factory=dict)
    runs: "Mapping[str, Run]" = field(default_factory=dict)
    teachers: "Mapping[str, Request]" = field(default_factory=dict)
    attention: Iterable[int] = ()

    def __post_init__(self):
        object.__setattr__(self, "heads", frozenset(self.heads))
        object.__setattr__(self, "taps", frozenset(self.taps))
        object.__setattr__(self, "attention", frozenset(self.attention))
        if any(each != Request(each.heads) for each in self.exits.values()):
            raise ValueError("an exit is asked for heads alone")
        if any(run.request.runs or run.request.teachers for run in self.runs.values()):
            raise ValueError("a run has no runs or teachers of its own")

    def __or__(self, other: "Request") -> "Request":
        return Request(
            self.heads | other.heads,
            self.taps | other.taps,
            _merge(self.exits, other.exits),
            _merge(self.runs, other.runs),
            _merge(self.teachers, other.teachers),
            self.attention | other.attention,
        )


class Run(NamedTuple):
    """A further run: how deep it goes and what is read of it."""

    depth: Depth
    request: Request

    def __or__(self, other: "Run") -> "Run":
        if self.depth != other.depth:
            raise ValueError(f"one run is to be both {self.depth.schedule} and {other.depth.schedule}")
        return Run(self.depth, self.request | other.request)


@dataclass
class Outputs:
    """What a model computed for a batch.

    Arguments
    ---------
    states : dict of str to State
        By the name of the part that they come from: ``encoder``, after its final norm, and then each
        part behind it.
    depth : Depth
        What ran.
    heads : dict of str to torch.Tensor
        Results of the heads by name, such as log-posteriors [B, T, V].
    taps : dict of int to State
        States of the tapped steps, before the final norm.
    exits : dict of Depth to Outputs
        Early exits.
    runs : dict of str to Outputs
        Further runs.
    teachers : dict
        What teachers returned, by name.
    features : tuple, optional
        Features [B, T', F] and frame counts [B] that the frames were embedded from.
    attention : dict of int to torch.Tensor
        Attention weights of the steps that were asked for, as the layers return them.
    """

    states: dict[str, State]
    depth: Depth
    heads: dict[str, torch.Tensor] = field(default_factory=dict)
    taps: dict[int, State] = field(default_factory=dict)
    exits: "dict[Depth, Outputs]" = field(default_factory=dict)
    runs: "dict[str, Outputs]" = field(default_factory=dict)
    teachers: dict[str, Any] = field(default_factory=dict)
    features: tuple[torch.Tensor, torch.Tensor] | None = None
    attention: dict[int, torch.Tensor] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """The state behind the last part."""
        return list(self.states.values())[-1]

    @property
    def encoded(self) -> torch.Tensor:
        """Encoder output [B, T, d]."""
        return self.states["encoder"].x

    @property
    def frames(self) -> torch.Tensor:
        """Absolute counts of real encoder frames (LongTensor [B])."""
        return self.states["encoder"].frames

    @property
    def log_probs(self) -> torch.Tensor:
        """CTC log-posteriors [B, T, V]."""
        return self.heads["ctc"]

    @property
    def decoded(self) -> torch.Tensor | None:
        """Log-posteriors of the attention decoder under teacher forcing [B, U, V], if there are any."""
        return self.heads.get("seq2seq")


def _merge(ours, theirs):
    both = {key: ours[key] | theirs[key] for key in ours.keys() & theirs.keys()}
    return {**ours, **theirs, **both}
