"""How long the utterances are that a model was trained on."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError

KEY = "utterance_seconds"  # in report.json


class Durations(NamedTuple):
    """Seconds of the shortest, the typical and the longest utterance that a model was trained on.

    The default is that of read speech, for models whose folder does not tell.
    """

    shortest: float = 2.0
    typical: float = 12.0
    longest: float = 24.0

    @classmethod
    def measured(cls, seconds: Iterable[float]) -> "Durations":
        """Of some utterances.

        Example
        -------
        >>> Durations.measured([2.0, 9.0, 4.0])
        Durations(shortest=2.0, typical=4.0, longest=9.0)
        """
        seconds = [*seconds]
        return cls(min(seconds), median(seconds), max(seconds))

    @classmethod
    def of_run(cls, folder: str | Path, splits: Iterable[str]) -> "Durations":
        """Of the training splits of a results folder, from its report or else from its manifests.

        Raises
        ------
        UserError
            If the report or a manifest is damaged.
        """
        report, folder = Path(folder) / "report.json", Path(folder) / "manifests"
        try:
            if report.is_file() and (found := json.loads(report.read_text("utf-8")).get(KEY)):
                return cls(*map(float, (found[name] for name in cls._fields)))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise UserError(f"{report} is no report, or it is damaged") from None
        manifests = [folder / f"{split}.csv" for split in splits]
        if not all(path.is_file() for path in manifests):
            return cls()
        rows = (row for path in manifests for row in read_manifest(path).values())
        return cls.measured(row["duration"] for row in rows)
