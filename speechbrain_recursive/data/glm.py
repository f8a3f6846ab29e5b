"""NIST's global mapping files (GLM): rules for references and hypotheses before they are scored.

The rules are those of NIST's ``rfilter1``, and what is done around them that of ``csrfilt.sh -dh``:

- ``A => B`` or ``A => B / C __ D``, one to a line: A becomes B after C and before D. Brackets or
  quotation marks keep spaces at an edge: ``[UH] => [(%HESITATION)] / [ ] __ [ ]`` changes the word UH,
  and no part of a word.
- The first token of the file, ``;;``, begins comments. A comment
  ``INPUT_DEPENDENT_APPLICATION = "<regex>"`` limits the rules below it to references (``stm``, ``ref``)
  or to hypotheses (``ctm``, ``hyp``).
- Lines that begin with ``*`` are a header. Of it, ``case_sensitive`` and ``copy_no_hit`` are read.
- A text is in capitals and has one space around each word. It is read from left to right. The first rule
  that fits at a character is applied, and reading goes on behind what it has replaced.
- Each word of a hypothesis is a text of its own, since hypotheses are files of one word to a line: rules
  for several words, or for a word beside another one, change references alone.
- Afterwards hyphens within words become spaces.
"""

import re
from pathlib import Path
from typing import NamedTuple

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file

KINDS = {"reference": ("stm", "ref"), "hypothesis": ("ctm", "hyp")}
_LIMIT = re.compile(r'\s+INPUT_DEPENDENT_APPLICATION\s*=\s*"([^"]*)"')
_HEADER = re.compile(r"""\*.*?["'](.*)["']""")
_CONTEXT = re.compile(r"(.*?)\s/\s*(\[[^]]*\]|[^]{}/]*?)\s*__+\s*(\[[^]]*\]|[^]{}/]*?)\s*")


class Rule(NamedTuple):
    """``found`` becomes ``put`` where ``before`` precedes and ``after`` follows."""

    found: str
    put: str
    before: str = ""
    after: str = ""


class GLM:
    """The rules of a file.

    Arguments
    ---------
    path : str or Path
        The file; without one there are no rules.

    Attributes
    ----------
    path : Path or None
        The file.

    Raises
    ------
    UserError
        If the file is missing or does not parse.

    Example
    -------
    >>> import pathlib, tempfile
    >>> rules = ";;\\nUH => (%HESITATION) / [ ] __ [ ]\\nOK => O. K. / [ ] __ [ ]\\n"
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "rules.glm")
    ...     _ = path.write_text(rules)
    ...     GLM(path)("uh ok uh-huh summer", "hypothesis")
    '(%HESITATION) O. K. UH HUH SUMMER'
    """

    def __init__(self, path: str | Path | None = None):
        self.keep, self.exact = True, True
        self.rules = {kind: {} for kind in KINDS}
        self.path = None if path is None else Path(path)
        if self.path:
            self._read(self.path)

    def __call__(self, text: str, kind: str) -> str:
        """Apply the rules.

        Arguments
        ---------
        text : str
            Words. Alternatives stand as ``{ A / B }``, and words that may be missing as ``(A)``.
        kind : str
            ``"reference"`` or ``"hypothesis"``.

        Returns
        -------
        str
            In capitals, with alternatives and words that may be missing as above.

        Raises
        ------
        ValueError
            If parentheses do not match.
        """
        parts = [text] if kind == "reference" else text.split()
        return " ".join(word for part in parts for word in _optional(self._filter(part, kind).split()))

    def _filter(self, text, kind):
        words = re.sub(r"([()])", r" \1 ", text.upper()).split()
        text = self._rewrite(f"  {' '.join(words)}  ", self.rules[kind])
        return re.sub(r"([^( ])-(?=[^) ])", r"\1 ", re.sub(r"([()])", r" \1 ", text))

    def _rewrite(self, text, rules):
        found, place = [], 0
        folded = text if self.exact else text.upper()
        while place < len(text):
            for rule in rules.get(folded[place], ()):
                end = place + len(rule.found)
                if (
                    folded.startswith(rule.found, place)
                    and folded.startswith(rule.after, end)
                    and folded.endswith(rule.before, 0, place)
                ):
                    found.append(rule.put)
                    place = end
                    break
            else:
                found.append(text[place] if self.keep else "")
                place += 1
        return "".join(found)

    def _read(self, path):
        lines = check_file(path).read_text("latin-1").splitlines()  # some have letters with accents
        comment, *_ = " ".join(lines[:1]).split() or [""]
        if not comment.startswith(";"):
            raise UserError(f"{path}, line 1: rules begin with a comment, such as ;; my rules")
        kinds = {*KINDS}
        for number, line in enumerate(map(str.strip, lines), start=1):
            where = f"{path}, line {number}"
            if line.startswith(comment):
                if limit := _LIMIT.match(line.removeprefix(comment)):
                    kinds = {k for k, names in KINDS.items() if _any(limit[1], names, where)}
            elif line.startswith("*"):
                self._header(line, where)
            elif line := line.split(comment)[0].strip():
                rule = self._rule(line, where)
                for kind in kinds:
                    self.rules[kind].setdefault(rule.found[0], []).append(rule)

    def _header(self, line, where):
        value = _HEADER.match(line)
        if not value:
            raise UserError(
                f"{where}: a header has a value in quotation marks, such as * format = 'NIST1'"
            )
        yes = value[1].upper() in ("T", "TRUE", "YES")
        if re.search("format", line, re.I) and value[1].upper() != "NIST1":
            raise UserError(f"{where}: rules of format {value[1]!r} cannot be read, only NIST1")
        if re.search("case_sensitive", line, re.I):
            self.exact = yes
        if re.search("copy_no_hit", line, re.I):
            self.keep = yes

    def _rule(self, line, where):
        left, arrow, right = line.partition("=>")
        if not arrow or not _bare(left):
            raise UserError(f"{where}: {line!r} is no rule such as A => B / [ ] __ [ ]")
        context = _CONTEXT.fullmatch(right)
        right, before, after = context.groups() if context else (right, "", "")
        if any(right.count(one) != right.count(other) for one, other in ("{}", "()")):
            raise UserError(f"{where}: {line!r} has a brace or a parenthesis without its other half")
        fold = str if self.exact else str.upper
        return Rule(fold(_bare(left)), _bare(right), fold(_bare(before)), fold(_bare(after)))


def _any(regex, names, where):
    try:
        return any(re.search(regex.lower(), name) for name in names)
    except re.error as error:
        raise UserError(f"{where}: {regex!r} is no regular expression ({error})") from None


def _bare(side):
    """Without the brackets or quotation marks around it, if it has them."""
    side = side.strip()
    return side[1:-1] if len(side) > 1 and side[0] + side[-1] in ("[]", '""') else side


def _optional(words):
    """Give each word between parentheses parentheses of its own."""
    depth = 0
    for word in words:
        if word in "()":
            depth += 1 if word == "(" else -1
            if depth < 0:
                break
        else:
            yield f"{'(' * depth}{word}{')' * depth}"
    if depth:
        raise ValueError("parentheses do not match")
