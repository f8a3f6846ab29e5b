"""The depths that clients may ask for, and the error rate that a report has for each."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import Schedule


class Depths(NamedTuple):
    """Depths on one axis.

    ``axis`` is ``loops`` where exactly one block of the schedule recurs, else ``depth``, the logical
    depth; ``values`` are its legal values in order; ``trained`` is the one trained for. ``deepest`` is
    the greatest logical depth.
    """

    axis: str
    values: tuple[int, ...]
    trained: int
    deepest: int

    @classmethod
    def of(cls, schedule: Schedule, deepest: int | None = None) -> "Depths":
        """The depths of a schedule.

        Arguments
        ---------
        schedule : Schedule
            As trained.
        deepest : int, optional
            Greatest logical depth; by default that of twice the loops.

        Raises
        ------
        UserError
            If ``deepest`` is less than the trained depth.

        Example
        -------
        >>> from speechbrain_recursive.nn.schedule import bicycle, latent, standard
        >>> Depths.of(latent(n_recurrent=2, loops=3, n_prelude=1, n_coda=1))
        Depths(axis='loops', values=(1, 2, 3, 4, 5, 6), trained=3, deepest=14)
        >>> Depths.of(bicycle(3, 3, 1, 1))
        Depths(axis='depth', values=(6, 8, 10), trained=6, deepest=10)
        >>> Depths.of(standard(4)).values
        (4,)
        """
        if deepest is None:
            deepest = len(schedule.with_loops(**{name: 2 * n for name, n in schedule.loops.items()}))
        if deepest < len(schedule):
            raise UserError(f"--max_depth {deepest}: the model was trained for {len(schedule)}")
        trained = Depth(schedule).loops
        if trained is not None:
            step = len(schedule.with_loops(2)) - len(schedule.with_loops(1))
            most = trained + (deepest - len(schedule)) // step
            return cls("loops", (*range(1, most + 1),), trained, deepest)
        first = len(schedule.with_loops(1))
        found = {n for n in range(first, deepest + 1) if schedule.reaches(n)} | {len(schedule)}
        return cls("depth", (*sorted(found),), len(schedule), deepest)

    def check(self, depth: Depth) -> None:
        """Refuse what is deeper.

        Raises
        ------
        UserError
            If the logical depth is greater than ``deepest``.
        """
        if len(depth) > self.deepest:
            raise UserError(
                f"depth {len(depth)} is more than this server computes: at most {self.axis} "
                f"{self.values[-1]}"
            )


def error_rates(folder: str | Path, axis: str) -> dict[str, Any] | None:
    """The error rates of a report by decoder and depth, on average over its test sets.

    Arguments
    ---------
    folder : str or pathlib.Path
        A results folder.
    axis : str
        ``loops`` or ``depth``.

    Returns
    -------
    dict or None
        ``metric`` (``wer`` or ``cer``), ``synthetic`` (bool: the speech is), and ``rates``: percent by
        decoder, then by depth as text. None if there is no report with such rows.

    Raises
    ------
    UserError
        If the report is damaged.
    """
    path = Path(folder) / "report.json"
    if not path.is_file():
        return None
    try:
        report = json.loads(read_text(path))
        rows = [row for row in report["results"] if row.get(axis) is not None]
        metric = "cer" if any("cer" in row for row in rows) else "wer"
        found: dict[str, dict[str, list[float]]] = {}
        for row in rows:
            if row[metric] is not None:
                found.setdefault(row["decoder"], {}).setdefault(str(row[axis]), []).append(row[metric])
        synthetic = bool(report.get("synthetic"))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UserError(f"{path} is no report, or it is damaged") from None
    rates = {decoder: _means(by_depth) for decoder, by_depth in found.items()}
    return {"metric": metric, "synthetic": synthetic, "rates": rates} if rates else None


def _means(rates: Mapping[str, list[float]]) -> dict[str, float]:
    return {depth: round(fmean(each), 2) for depth, each in rates.items()}
