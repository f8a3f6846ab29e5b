"""Feedback of what the model already hears into the next loop."""

from dataclasses import replace

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.hooks import Hook

MODES = ("previous", "current")


class PosteriorFeedback(Hook):
    """Adds ``gain * shift(P softmax(readout(h)))`` to the state that a loop left (LARM, Eq. 6 to 8).

    ``readout`` is the model's own CTC head, lent to the state for the forward pass. P starts at zero:
    the identity. It reads the state as the loop left it, so it stands before whatever else changes it.

    Arguments
    ---------
    n_tokens : int
        Size of the vocabulary, V.
    d_model : int
        Width of the state.
    mode : str
        ``previous``: each frame hears the one before it, and the first nothing (Eq. 7); ``current``:
        each frame hears itself.
    gain : float
        Its initial value, not zero.
    learned : bool
        Whether it is a parameter.

    Raises
    ------
    UserError
        If the mode is unknown or the gain is zero, with which nothing would ever be learned.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import Step
    >>> from speechbrain_recursive.nn.state import State
    >>> feedback = PosteriorFeedback(n_tokens=5, d_model=8)
    >>> state = State(torch.rand(2, 10, 8), step=Step(1, 0, 1, "recurrent"), readout=nn.Linear(8, 5))
    >>> bool((feedback.before_loop(state).x == state.x).all())
    True
    """

    def __init__(self, n_tokens, d_model, mode="previous", gain=0.1, learned=True):
        super().__init__()
        if mode not in MODES:
            raise UserError(f"feedback '{mode}' is none of {', '.join(MODES)}")
        if gain == 0:
            raise UserError("posterior feedback needs a gain other than 0")
        self.delay = mode == "previous"
        self.project = nn.Linear(n_tokens, d_model, bias=False)
        nn.init.zeros_(self.project.weight)
        self.gain = nn.Parameter(torch.tensor(float(gain)), requires_grad=learned)

    def before_loop(self, state):
        """Add the feedback to every loop's beginning but the first's.

        Arguments
        ---------
        state : State

        Returns
        -------
        State

        Raises
        ------
        ValueError
            If the state carries no readout.
        """
        if state.step.loop == 0:
            return state
        if state.readout is None:
            raise ValueError("posterior feedback needs a model with a CTC head, which reads the state")
        heard = self.project(state.readout(state.x).softmax(-1))
        if self.delay:
            heard = nn.functional.pad(heard, (0, 0, 1, -1))
        return replace(state, x=state.x + self.gain * heard)
