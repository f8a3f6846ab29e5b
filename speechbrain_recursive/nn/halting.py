"""Adaptive exit: rows leave a block when another loop would hardly change them.

The papers leave this to future work. A row is one utterance; its criterion is a mean over its real
frames, computed at the end of each loop, and the row is done when it falls below the threshold.
"""

from dataclasses import replace

import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.hooks import Hook
from speechbrain_recursive.nn.padding import pad_mask


def cosine_change(before, after, readout):
    """One minus the cosine similarity of each frame's state before and after the loop [B, T]."""
    return 1 - torch.cosine_similarity(before, after, dim=-1)


def posterior_change(before, after, readout):
    """Kullback-Leibler divergence of each frame's token posteriors, after from before [B, T]."""
    before, after = readout(before).log_softmax(-1), readout(after).log_softmax(-1)
    return (after.exp() * (after - before)).sum(-1)


def posterior_entropy(before, after, readout):
    """Entropy of each frame's token posteriors after the loop, in nats [B, T]."""
    after = readout(after).log_softmax(-1)
    return -(after.exp() * after).sum(-1)


CRITERIA = {"cosine": cosine_change, "kl": posterior_change, "entropy": posterior_entropy}


class Halting(Hook):
    """Ends rows early in evaluation; in training every row makes all its loops.

    Arguments
    ---------
    criterion : str
        ``cosine`` or ``kl``, the change that a loop made, or ``entropy``, what is still undecided. The
        latter two read token posteriors and need a model with a CTC head.
    threshold : float
        Rows below it are done; 0 never ends a row.
    every : int
        Rows leave only after loops that it divides, and what counts as change is the change since the
        last such loop: the interval of a model whose exits are supervised at intervals.

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

    def __init__(self, criterion="kl", threshold=0.0, every=1):
        super().__init__()
        if criterion not in CRITERIA:
            raise UserError(f"criterion '{criterion}' is none of {', '.join(CRITERIA)}")
        self.criterion = criterion
        self.threshold = threshold
        self.every = every

    def before_loop(self, state):
        """Remember the state after the last loop at which rows could leave."""
        if state.step.loop % self.every:
            return state
        return replace(state, memory={**state.memory, "before": state.x})

    def done(self, state):
        """Rows whose criterion is below the threshold."""
        if self.training or self.threshold <= 0 or (state.step.loop + 1) % self.every:
            return None
        return self.measure(state) < self.threshold

    def measure(self, state):
        """The criterion of each row.

        Arguments
        ---------
        state : State
            At the end of a loop.

        Returns
        -------
        torch.Tensor
            [B].
        """
        by_frame = CRITERIA[self.criterion](state.memory["before"], state.x, state.readout)
        real = ~pad_mask(state.frames, by_frame.shape[1])
        return (by_frame * real).sum(1) / real.sum(1).clamp(min=1)
