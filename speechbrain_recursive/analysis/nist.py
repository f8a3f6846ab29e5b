"""Scoring as NIST scores conversations: rules, alternatives, and ``sclite`` where it is installed.

References and hypotheses pass the same rules (:mod:`speechbrain_recursive.data.glm`) and are aligned as
``sclite -F -D`` aligns them (:mod:`speechbrain_recursive.analysis.networks`).
"""

import logging
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from speechbrain_recursive.analysis.networks import align
from speechbrain_recursive.analysis.wer import ErrorRate, Scored, Triple, bootstrap_interval, score
from speechbrain_recursive.errors import UserError, one_line

DEBIAN = "/usr/lib/sctk/bin"  # where its package sctk has the programs
NO_RULES = b";;\n%NO%RULE% => %NO%RULE%\n"  # rfilter1 needs one

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where an utterance is: name of its file, channel (``A`` or ``B``), start and stop in seconds."""

    file: str
    channel: str
    start: float
    stop: float


def scorer(rows: Mapping[str, Mapping[str, Any]], rules: Callable | None) -> Callable:
    """Make what counts the errors of a test set.

    Arguments
    ---------
    rows : mapping of str to mapping
        The rows of its manifest, by utterance.
    rules : GLM or None
        Its rules; without any, words are counted as they are.

    Returns
    -------
    callable
        From triples to :class:`~speechbrain_recursive.analysis.wer.Scored`.

    Raises
    ------
    UserError
        If a reference has braces or parentheses that do not match.
    """
    if rules is None:
        return score
    places = {
        uid: Place(
            Path(row["wav"]).stem,
            "AB"[row["channel"] or 0],
            row["start"] or 0.0,
            row["duration"] if row["stop"] is None else row["stop"],
        )
        for uid, row in rows.items()
    }
    found = NistScorer(places, rules)
    found.check({uid: row["wrd"] for uid, row in rows.items()})
    return found


class NistScorer:
    """Counts errors of one test set.

    Arguments
    ---------
    places : mapping of str to Place
        By utterance.
    rules : callable
        ``(text, kind)``: a text with alternatives, of kind ``"reference"`` or ``"hypothesis"``. Its
        ``path`` is that of the file of the rules, or None, for NIST's programs.

    Example
    -------
    >>> from speechbrain_recursive.data.glm import GLM
    >>> count = NistScorer({"u": Place("sw_4390", "A", 0.0, 1.0)}, GLM())
    >>> scored = count([("u", ["(UH)", "{", "YES", "/", "YEAH", "}"], ["YEAH", "SURE"])])
    >>> scored.rate.errors, scored.rate.lengths, scored.triples
    ((1,), (2,), [('u', ['UH', 'YES'], ['UH', 'YES', 'SURE'])])
    """

    def __init__(self, places: Mapping[str, Place], rules: Callable[[str, str], str]):
        self.places, self.rules = places, rules

    def check(self, references: Mapping[str, str]) -> None:
        """Refuse references whose braces or parentheses do not match.

        Arguments
        ---------
        references : mapping of str to str
            By utterance.

        Raises
        ------
        UserError
            If there is one.
        """
        for uid, text in references.items():
            try:
                align(self.rules(text, "reference"), "")
            except ValueError as error:
                raise UserError(f"the reference of {uid} cannot be scored ({error}): {text!r}") from None

    def __call__(self, triples: Iterable[Triple]) -> Scored:
        """Count errors.

        Arguments
        ---------
        triples : iterable of (str, sequence of str, sequence of str)
            Utterance, words of the reference, words of the hypothesis, as they were before any rule.
            Braces and other marks of alternatives mean nothing in a hypothesis and are left out.

        Returns
        -------
        Scored
            With ``sclite``, its error rate in percent, among what belongs into the report, where
            NIST's programs are installed.
        """
        texts = [
            (uid, " ".join(one), re.sub(r"[{}()/@]", "", " ".join(other))) for uid, one, other in triples
        ]
        found = [
            align(self.rules(one, "reference"), self.rules(other, "hypothesis"))
            for _, one, other in texts
        ]
        errors, lengths = (tuple(getattr(each, key) for each in found) for key in ("errors", "length"))
        rate = ErrorRate(errors, lengths, *bootstrap_interval(errors, lengths))
        resolved = [
            (uid, each.reference, each.hypothesis) for (uid, *_), each in zip(texts, found, strict=True)
        ]
        theirs = self._sclite(texts)
        return Scored(rate, resolved, {} if theirs is None else {"sclite": theirs})

    def _sclite(self, texts):
        """The error rate by NIST's programs, in percent; None where they are not installed."""
        if not installed():
            return None
        try:
            return self._by_programs(texts)
        except subprocess.CalledProcessError as error:  # not worth losing a report
            logger.warning("%s failed: %s", error.cmd[0], one_line(error.stderr or error.stdout))
            return None

    def _by_programs(self, texts):
        ordered = sorted((self.places[uid], one, other) for uid, one, other in texts)
        with tempfile.TemporaryDirectory() as folder:
            rules = Path(folder, "glm")
            rules.write_bytes(self.rules.path.read_bytes() if self.rules.path else NO_RULES)
            for kind, use, lines in (("stm", "ref", _stm(ordered)), ("ctm", "hyp", _ctm(ordered))):
                command = ["csrfilt.sh", "-i", kind, "-t", use, "-dh", "glm"]
                Path(folder, kind).write_text(_run(command, folder, "".join(lines)))
            options = "-r stm stm -h ctm ctm -F -D -o rsum stdout"
            table = _run(["sclite", *options.split()], folder)
        words, errors = re.search(r"\| Sum +\|([ \d]+)\|([ \d]+)\|", table).groups()
        return 100.0 * int(errors.split()[4]) / int(words.split()[1])


def installed() -> bool:
    """Whether NIST's programs are there."""
    programs = ("sclite", "csrfilt.sh", "rfilter1", "perl")
    return all(shutil.which(name, path=_search()) for name in programs)


def _search():
    """Where programs are looked for."""
    return f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{DEBIAN}"


def _stm(ordered):
    for place, reference, _ in ordered:
        side = f"{place.file}_{place.channel}"
        yield f"{place.file} {place.channel} {side} {place.start:.3f} {place.stop:.3f} <O> {reference}\n"


def _ctm(ordered):
    """Words of a segment share its time: sclite finds segments by times, and alignment ignores them."""
    for place, _, hypothesis in ordered:
        words = hypothesis.split()
        each = (place.stop - place.start) / max(len(words), 1)
        for i, word in enumerate(words):
            start = place.start + (i + 0.25) * each
            yield f"{place.file} {place.channel} {start:.4f} {each / 2:.4f} {word}\n"


def _run(command, folder, text=None):
    environment = os.environ | {"PATH": _search()}
    options = {"cwd": folder, "env": environment, "capture_output": True, "text": True, "check": True}
    return subprocess.run(command, input=text, **options).stdout
