"""Distillation from a teacher's CTC posteriors and from states of its layers."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Outputs, Request
from speechbrain_recursive.objectives.divergence import divergence
from speechbrain_recursive.objectives.objective import Objective


class PosteriorDistillation(Objective):
    """Kullback-Leibler divergence of the student's CTC posteriors from the teacher's, named "kd".

    The mean over real frames of sum_v p_teacher(v) (log p_teacher(v) - log p_student(v)), both at the
    given temperature and times its square (Hinton et al., 2014).

    Arguments
    ---------
    teacher : str
        The teacher's name under ``teachers:``.
    temperature : float
        Divides the logits of both; not stated in the BiCycle paper, our choice.
    """

    def __init__(self, teacher: str = "teacher", temperature: float = 1.0):
        super().__init__()
        self.teacher = teacher
        self.temperature = temperature

    def needs(self, depth: Depth) -> Request:
        """The CTC heads of both."""
        ctc = Request(heads=["ctc"])
        return Request(heads=["ctc"], teachers={self.teacher: ctc})

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            With ``log_probs`` [B, T, V] of both models and ``frames`` [B].
        batch : PaddedBatch
            Not used.

        Returns
        -------
        dict
            "kd" -> scalar.

        Raises
        ------
        UserError
            If the posteriors of the two are of different shapes.
        """
        del batch
        student, teacher = outputs.log_probs, outputs.teachers[self.teacher].log_probs
        _check_same(self.teacher, "posteriors", student, teacher)
        student, teacher = (
            torch.log_softmax(log_probs.float() / self.temperature, dim=-1)
            for log_probs in (student, teacher)
        )
        each = divergence(student, teacher)[_real(outputs)]
        return {"kd": self.temperature**2 * each.mean()}


class FeatureDistillation(Objective):
    """Mean squared error between states of student and teacher.

    With ``normalize`` every frame's vector is divided by its L2 norm first. Over the ends of the
    phonetic and the linguistic group this is group-wise feature distillation (BiCycle, Eq. 1 to 3); over
    the last layers alone, without normalization, it is the loss of FitNets (Romero et al., 2015). In
    YAML::

        !new:speechbrain_recursive.objectives.distillation.FeatureDistillation
            name: gfd
            layers: {phonetic: 7, last: 18}

    Arguments
    ---------
    layers : mapping of str to int
        From a block of the student's schedule, or ``last``, to a logical step of the teacher, counted
        from 1: the state behind the block, or behind the last layer, is compared with the state behind
        that step. Losses of several are added up.
    name : str
        Name of the loss.
    teacher : str
        The teacher's name under ``teachers:``.
    normalize : bool
        Whether to compare directions alone.
    widths : sequence of int, optional
        Widths of student and teacher, if they differ: a linear map of the student's states is trained
        with the model for each compared layer.

    Raises
    ------
    UserError
        If ``layers`` is empty, or names steps below 1.
    """

    def __init__(
        self,
        layers: Mapping[str, int],
        name: str,
        teacher: str = "teacher",
        normalize: bool = True,
        widths: tuple[int, int] | None = None,
    ):
        super().__init__()
        if not layers or any(not isinstance(step, int) or step < 1 for step in layers.values()):
            raise UserError(
                f"{name}: layers are blocks with steps of the teacher from 1 on, not {layers}"
            )
        self.layers = dict(layers)
        self.name = name
        self.teacher = teacher
        self.normalize = normalize
        self.project = nn.ModuleDict(
            {block: nn.Linear(*widths) if widths else nn.Identity() for block in layers}
        )

    def needs(self, depth: Depth) -> Request:
        """The states that are compared."""
        steps = [step - 1 for step in self.layers.values()]
        return Request(taps=self._steps(depth).values(), teachers={self.teacher: Request(taps=steps)})

    def forward(self, outputs: Outputs, batch: Any) -> dict[str, torch.Tensor]:
        """Compute the loss.

        Arguments
        ---------
        outputs : Outputs
            With taps [B, T, d] of both models.
        batch : PaddedBatch
            Not used.

        Returns
        -------
        dict
            The name -> scalar.

        Raises
        ------
        UserError
            If states of the two are of different shapes.
        """
        del batch
        total = 0.0
        for block, step in self._steps(outputs.depth).items():
            student = self.project[block](outputs.taps[step].x)
            teacher = outputs.teachers[self.teacher].taps[self.layers[block] - 1].x
            _check_same(self.teacher, f"states at {block}", student, teacher)
            pair = student.float(), teacher.float()
            if self.normalize:
                pair = (nn.functional.normalize(x, dim=-1) for x in pair)
            student, teacher = (x[~_padding(outputs.taps[step])] for x in pair)
            total = total + nn.functional.mse_loss(student, teacher)
        return {self.name: total}

    def _steps(self, depth):
        """The student's logical steps by block."""
        last = {"last": len(depth) - 1}
        try:
            return {
                block: last[block] if block in last else depth.schedule.ends(block)[-1]
                for block in self.layers
            }
        except ValueError as error:
            raise UserError(f"{self.name}: {error}") from error


def _check_same(teacher, what, ours, theirs):
    if ours.shape != theirs.shape:
        raise UserError(
            f"teacher '{teacher}': its {what} are {list(theirs.shape)} where the student's are "
            f"{list(ours.shape)}; frames, width and tokens must be the same"
        )


def _real(outputs):
    return ~_padding(outputs.states["encoder"])


def _padding(state):
    """True on padding [B, T]."""
    if state.pad is None:
        return torch.zeros(state.x.shape[:2], dtype=torch.bool, device=state.x.device)
    return state.pad
