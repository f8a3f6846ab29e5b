"""Adaptive exit: an utterance leaves a block when further loops would hardly change its state.

The papers leave this to future work. The criterion of an utterance is computed at the end of each loop,
as a mean over its real frames. The utterance leaves the block once the criterion is below a threshold.
"""

from collections.abc import Callable

import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.state import State

Readout = Callable[[torch.Tensor], torch.Tensor]


def cosine_change(before: torch.Tensor, after: torch.Tensor, readout: Readout) -> torch.Tensor:
    """Return one minus the cosine similarity of each frame's states before and after the loop [B, T]."""
    return 1 - torch.cosine_similarity(before, after, dim=-1)


def posterior_change(before: torch.Tensor, after: torch.Tensor, readout: Readout) -> torch.Tensor:
    """Return KL(after || before) of each frame's token posteriors [B, T]."""
    before, after = readout(before).log_softmax(-1), readout(after).log_softmax(-1)
    return (after.exp() * (after - before)).sum(-1)


def posterior_entropy(before: torch.Tensor, after: torch.Tensor, readout: Readout) -> torch.Tensor:
    """Return the entropy, in nats, of each frame's token posteriors after the loop [B, T]."""
    after = readout(after).log_softmax(-1)
    return -(after.exp() * after).sum(-1)


CRITERIA = {"cosine": cosine_change, "kl": posterior_change, "entropy": posterior_entropy}


class Halting(Hook):
    """Ends utterances early in evaluation. In training, every utterance runs all its loops.

    Arguments
    ---------
    criterion : str
        ``cosine`` or ``kl`` measure how much a loop changed the state, ``entropy`` the uncertainty that
        remains. ``kl`` and ``entropy`` read token posteriors and need a model with a CTC head.
    threshold : float
        An utterance leaves if its criterion is below this value; with 0, none does.
    every : int
        Utterances leave only after every so many loops, and changes are measured between these loops.
        Use the interval of :class:`~speechbrain_recursive.objectives.intermediate_ctc.IntermediateCTC`
        if the model was trained with it.

    Raises
    ------
    UserError
        For an unknown criterion.

    Example
    -------
    >>> from speechbrain.lobes.models.transformer.Transformer import TransformerEncoder
    >>> from speechbrain_recursive.nn.encoder import RecursiveEncoder
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> stock = TransformerEncoder(1, nhead=2, d_ffn=16, d_model=8)
    >>> encoder = RecursiveEncoder(stock, cycle(1, 9), {"recurrent": [Halting("cosine", 2.0)]}).eval()
    >>> one, once = encoder(torch.rand(2, 10, 8))[0], torch.rand(2, 10, 8)
    >>> torch.equal(encoder(once)[0], encoder(once, loops=1)[0])
    True
    """

    streams = False

    def __init__(self, criterion: str = "kl", threshold: float = 0.0, every: int = 1):
        super().__init__()
        if criterion not in CRITERIA:
            raise UserError(f"criterion '{criterion}' is none of {', '.join(CRITERIA)}")
        self.criterion = criterion
        self.threshold = threshold
        self.every = every

    def before_loop(self, state: State) -> State:
        """Store the state after the last loop at which utterances could leave."""
        return state if state.step.loop % self.every else state.remember(before=state.x)

    def done(self, state: State) -> torch.Tensor | None:
        """Return which utterances have a criterion below the threshold (BoolTensor [B])."""
        if self.training or self.threshold <= 0 or (state.step.loop + 1) % self.every:
            return None
        return self.measure(state) < self.threshold

    def measure(self, state: State) -> torch.Tensor:
        """Compute the criterion of each utterance.

        Arguments
        ---------
        state : State
            The state at the end of a loop.

        Returns
        -------
        torch.Tensor
            [B].
        """
        by_frame = CRITERIA[self.criterion](state.memory["before"], state.x, state.readout)
        real = ~pad_mask(state.frames, by_frame.shape[1])
        return (by_frame * real).sum(1) / real.sum(1).clamp(min=1)
