"""Training at two depths at once: the deepest unfolding and the seed that it unfolds from."""

from typing import Any

import torch

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request, Run
from speechbrain_recursive.objectives.objective import Objective

SEED = "seed"  # the name of the further run


class Foldable(Objective):
    """The losses of two depths and a self-distillation: "Unfolding A Few Structures", Eq. 4.

    L_F(deepest) + a_p L_P(seed) + a_kl KL(SG(p_F) || p_P), where SG stops the gradient.

    The run of a training step is the deepest unfolding. The seed, in which every block makes one loop,
    is a further run on the same embedded frames. A term of weight 0 is left out, and so is the seed's
    run if both are; a step that goes no deeper than the seed has the plain objective. In YAML::

        objective: !new:speechbrain_recursive.objectives.foldable.Foldable
            objective: !ref <joint>
            seed_weight: 0.25
            kl_weight: 0.1

    The paper does not say which distributions the divergence is of, nor how it is averaged. Ours is that
    of all heads which the objective has a loss of, CTC frames and decoder tokens, each in the unit and
    with the weight of that loss; see :meth:`~Objective.divergence`.

    Arguments
    ---------
    objective : Objective
        The loss of both runs; returns its total as "loss", as
        :class:`~speechbrain_recursive.objectives.joint.Joint` does.
    seed_weight : float
        a_p: 0.25 for Conformers and 0.7 for pre-trained models in the paper.
    kl_weight : float
        a_kl: 0.1 and 0.005.

    Raises
    ------
    UserError
        If a weight is negative.
    """

    def __init__(self, objective: Objective, seed_weight: float = 0.25, kl_weight: float = 0.1):
        super().__init__()
        for name, weight in (("seed_weight", seed_weight), ("kl_weight", kl_weight)):
            if not weight >= 0:
                raise UserError(f"{name} is a number of at least 0, not {weight!r}")
        self.objective = objective
        self.seed_weight = seed_weight
        self.kl_weight = kl_weight

    def needs(self, depth: Depth) -> Request:
        """What the objective needs of the run and, under ``runs``, of the seed."""
        seed = self._seed(depth)
        needs = self.objective.needs(depth)
        return needs if seed is None else _beside(needs, seed, self.objective.needs(seed))

    def requests(self, depth: Depth) -> list[Request]:
        """All that :meth:`needs` returns in the course of training."""
        seed = self._seed(depth)
        deep = self.objective.requests(depth)
        if seed is None:
            return deep
        pairs = zip(deep, self.objective.requests(seed), strict=True)
        return [_beside(needs, seed, of_seed) for needs, of_seed in pairs]

    def start_epoch(self, epoch: int) -> None:
        """Prepare the objective."""
        self.objective.start_epoch(epoch)

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the losses.

        Arguments
        ---------
        outputs : Outputs
            Of the deepest run, with the seed's in ``runs``.
        batch : PaddedBatch
            As the objective takes it.

        Returns
        -------
        dict
            The objective's losses of each run, as "deep_ctc" and "seed_ctc"; "kl"; and the total as
            "loss".

        Raises
        ------
        UserError
            If the objective returns no "loss", or has no distributions to compare.
        """
        losses = self._losses("deep", outputs, batch)
        if self._seed(outputs.depth) is None:
            return losses
        seed = outputs.runs[SEED]
        if self.seed_weight:
            of_seed = self._losses(SEED, seed, batch)
            total = losses["loss"] + self.seed_weight * of_seed["loss"]
            losses = {**losses, **of_seed, "loss": total}
        if self.kl_weight:
            losses["kl"] = self.objective.divergence(seed, outputs, batch)["loss"]
            losses["loss"] = losses["loss"] + self.kl_weight * losses["kl"]
        return losses

    def _seed(self, depth):
        """The seed's depth, if it is run."""
        seed = Depth(depth.schedule.with_loops(1))
        return seed if seed != depth and (self.seed_weight or self.kl_weight) else None

    def _losses(self, run, outputs, batch):
        losses = self.objective(outputs, batch)
        if "loss" not in losses:
            raise UserError(
                f"Foldable: the objective returns no 'loss', only {', '.join(losses)}: use Joint"
            )
        return {name if name == "loss" else f"{run}_{name}": value for name, value in losses.items()}


def _beside(needs, seed, of_seed):
    return needs | Request(runs={SEED: Run(seed, of_seed)})
