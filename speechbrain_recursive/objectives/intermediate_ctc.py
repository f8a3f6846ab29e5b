"""CTC at several loops of a block."""

from typing import Any

import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.nn.schedule import Schedule
from speechbrain_recursive.objectives.ctc import CTC


class IntermediateCTC(CTC):
    """The mean CTC loss of the loops that the interval divides (LARM, Eq. 3 and 4), named "ctc".

    With ``interval`` 1 every loop is supervised; with the schedule's own loop count, N, it is the plain
    CTC loss of the last loop. A training step that makes another number of loops is also supervised at
    its last one.

    Arguments
    ---------
    schedule : Schedule
        The model's own.
    interval : int
        Loops from one supervised exit to the next, K.
    block : str
        The block that loops.
    reduction : str
        See :class:`CTC`.

    Raises
    ------
    UserError
        If no block of that name recurs, or the interval does not divide its loops.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> objective = IntermediateCTC(cycle(2, 12), interval=4)
    >>> [str(exit) for exit in objective.needs(Depth(cycle(2, 12))).exits]
    ['4', '8', '12']
    """

    def __init__(
        self, schedule: Schedule, interval: int, block: str = "recurrent", reduction: str = "batchmean"
    ):
        super().__init__(reduction)
        loops = schedule.loops.get(block)
        if loops is None:
            raise UserError(f"intermediate CTC: no block '{block}' recurs in the schedule {schedule}")
        if interval < 1 or loops % interval:
            raise UserError(
                f"interval: {interval} does not divide the training budget of {loops} loops; "
                f"choose among {', '.join(str(k) for k in range(1, loops + 1) if loops % k == 0)}"
            )
        self.interval = interval
        self.block = block

    def needs(self, depth: Depth) -> Request:
        """The CTC head at every supervised exit."""
        made = depth.schedule.loops[self.block]
        loops = dict.fromkeys((*range(self.interval, made + 1, self.interval), made))
        ctc = Request(heads=["ctc"])
        return Request(exits={depth.stop(self.block, count): ctc for count in loops})

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            With the `exits` of :meth:`needs`, each with `log_probs` [B, T, V] and `frames` [B].
        batch : PaddedBatch
            As :class:`CTC` takes it.

        Returns
        -------
        dict
            "ctc" -> scalar.
        """
        self._count_impossible(outputs.frames, batch)
        exits = self.needs(outputs.depth).exits  # others may be another objective's
        losses = [self.loss(outputs.exits[exit], batch) for exit in exits]
        return {"ctc": sum(losses) / len(losses)}
