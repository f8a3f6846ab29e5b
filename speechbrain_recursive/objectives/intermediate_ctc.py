"""CTC at checkpoints of a loop."""

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.objectives.ctc import CTC


class IntermediateCTC(CTC):
    """The mean CTC loss of the loops that the interval divides (LARM, Eq. 3 and 4), named "ctc".

    With ``interval`` 1 it is dense supervision, with ``interval`` equal to ``loops`` it is the plain CTC
    loss of the last loop. A training step that makes another number of loops is also supervised at its
    last one.

    Arguments
    ---------
    loops : int
        Loops that are trained for, N.
    interval : int
        Loops from one checkpoint to the next, K.
    block : str
        The block that loops.
    reduction : str
        See :class:`CTC`.

    Raises
    ------
    UserError
        If the interval does not divide the loops.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> IntermediateCTC(loops=12, interval=4).exits(cycle(2, 12))
    (7, 15, 23)
    """

    def __init__(self, loops, interval, block="recurrent", reduction="batchmean"):
        super().__init__(reduction)
        if interval < 1 or loops % interval:
            raise UserError(
                f"interval: {interval} does not divide the training budget of {loops} loops; "
                f"choose among {', '.join(str(k) for k in range(1, loops + 1) if loops % k == 0)}"
            )
        self.interval = interval
        self.block = block

    def exits(self, schedule):
        """Steps after which a schedule is supervised.

        Arguments
        ---------
        schedule : Schedule

        Returns
        -------
        tuple of int
        """
        last = schedule.ends(self.block)[-1]
        return tuple(dict.fromkeys((*schedule.ends(self.block, every=self.interval), last)))

    def __call__(self, outputs, batch):
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            `exits`, each [B, T, V], and `frames` [B].
        batch : PaddedBatch
            As :class:`CTC` takes it.

        Returns
        -------
        dict
            "ctc" -> scalar.
        """
        losses = [self.loss(log_probs, outputs.frames, batch) for log_probs in outputs.exits.values()]
        self._count_impossible(outputs.frames, batch)
        return {"ctc": sum(losses) / len(losses)}
