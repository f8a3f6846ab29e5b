"""Feedback of token posteriors into the next loop."""

from dataclasses import replace

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.state import State

MODES = ("previous", "current")


class PosteriorFeedback(Hook):
    """Adds ``gain * shift(P softmax(readout(h)))`` to the output h of a loop (LARM, Eq. 6 to 8).

    ``readout`` applies the model's CTC head. P is initialized to zero, so that it leaves the output
    unchanged. The hook reads the output of the loop, so it comes before other hooks that change it.

    Arguments
    ---------
    n_tokens : int
        Size of the vocabulary, V.
    d_model : int
        Width of the state.
    mode : str
        ``previous``: each frame receives the posteriors of the frame before it, and the first frame
        receives zeros (Eq. 7); ``current``: each frame receives its own.
    gain : float
        Initial value of the gain, not zero.
    learned : bool
        Whether the gain is trained.

    Raises
    ------
    UserError
        If the mode is unknown, or the gain is zero: gain and P would both have no gradient.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import Step
    >>> from speechbrain_recursive.nn.state import State
    >>> feedback = PosteriorFeedback(n_tokens=5, d_model=8)
    >>> state = State(torch.rand(2, 10, 8), step=Step(1, 0, 1, "recurrent"), readout=nn.Linear(8, 5))
    >>> bool((feedback.before_loop(state).x == state.x).all())
    True
    """

    def __init__(
        self,
        n_tokens: int,
        d_model: int,
        mode: str = "previous",
        gain: float = 0.1,
        learned: bool = True,
    ):
        super().__init__()
        if mode not in MODES:
            raise UserError(f"feedback '{mode}' is none of {', '.join(MODES)}")
        if gain == 0:
            raise UserError("posterior feedback needs a gain other than 0")
        self.delay = mode == "previous"
        self.project = nn.Linear(n_tokens, d_model, bias=False)
        nn.init.zeros_(self.project.weight)
        self.gain = nn.Parameter(torch.tensor(float(gain)), requires_grad=learned)

    def before_loop(self, state: State) -> State:
        """Add the feedback to the input of every loop but the first.

        Raises
        ------
        ValueError
            If the state has no readout.
        """
        if state.step.loop == 0:
            return state
        if state.readout is None:
            raise ValueError("posterior feedback needs a model with a CTC head, which reads the state")
        feedback = self.project(state.readout(state.x).softmax(-1))
        if self.delay:
            first = state.border("feedback", feedback[:, -1:])
            feedback = torch.cat([first, feedback[:, :-1]], 1)
        return replace(state, x=state.x + self.gain * feedback)
