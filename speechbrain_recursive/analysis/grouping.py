"""Grouping the layers of a trained model for BiCycle, by the diagonality of their attention.

The lower, phonetic layers attend widely and the upper, linguistic ones near the diagonal. One layer
between them is ambiguous ("obscure") and belongs to neither group. The paper does not state how it is
found. Our choice: the CAD of all layers but one is approximated by two values, one below that layer and
one above it, and the layer that leaves the least squared error is the obscure one. Groups must leave a
student two layers each.
"""

from dataclasses import dataclass

import numpy as np

from speechbrain_recursive.analysis.report import markdown_table
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.layer_maps import stepwise

_RULE = (
    "The obscure layer is the one without which two values, one below it and one above it, approximate "
    "the CAD of all layers best (not stated in the paper; our choice). Groups must leave a student two "
    "layers each. Error: root mean square."
)


@dataclass(frozen=True)
class Grouping:
    """A phonetic group, an obscure layer and a linguistic group.

    Arguments
    ---------
    n_layers, n_phonetic : int
        Layers in all, N, and of the phonetic group, p. Layer p + 1 is the obscure one.
    phonetic, obscure, linguistic : float
        Mean CAD of each.
    error : float
        Root mean square of the distances of both groups' layers from their group's mean.
    """

    n_layers: int
    n_phonetic: int
    phonetic: float
    obscure: float
    linguistic: float
    error: float

    @property
    def layers(self) -> str:
        """The groups' layers, counted from 0."""
        p, last = self.n_phonetic, self.n_layers - 1
        return f"phonetic {_span(0, p - 1)}, obscure {p}, linguistic {_span(p + 1, last)}"


def group(cad: np.ndarray, n_phonetic: int) -> Grouping:
    """Group layers with a phonetic group of a given size.

    Arguments
    ---------
    cad : numpy.ndarray
        Of each layer and head [N, heads], see
        :func:`speechbrain_recursive.analysis.diagonality.mean_diagonality`.
    n_phonetic : int
        Layers of the phonetic group.

    Raises
    ------
    UserError
        If there would be no phonetic or no linguistic group.

    Example
    -------
    >>> group(np.array([[0.5], [0.7], [0.9]]), n_phonetic=1).layers
    'phonetic 0, obscure 1, linguistic 2'
    """
    n, by_layer = len(cad), cad.mean(1)
    if not 1 <= n_phonetic <= n - 2:
        raise UserError(
            f"--n_phonetic {n_phonetic}: {n} layers leave no phonetic or no linguistic group beside the "
            f"obscure layer" + (f"; choose 1 to {n - 2}" if n > 2 else "")
        )
    below, above = by_layer[:n_phonetic], by_layer[n_phonetic + 1 :]
    squares = ((below - below.mean()) ** 2).sum() + ((above - above.mean()) ** 2).sum()
    means = below.mean(), by_layer[n_phonetic], above.mean()
    return Grouping(n, n_phonetic, *map(float, means), float(np.sqrt(squares / (n - 1))))


def groupings(cad: np.ndarray) -> list[Grouping]:
    """All groupings of at least three layers, by the size of the phonetic group; see :func:`group`."""
    return [group(cad, n_phonetic) for n_phonetic in range(1, len(cad) - 1)]


def propose_grouping(cad: np.ndarray) -> Grouping | None:
    """The grouping of the least error, of those that a student can be made of.

    Arguments
    ---------
    cad : numpy.ndarray
        Of each layer and head [N, heads].

    Returns
    -------
    Grouping or None
        None for fewer than seven layers.

    Example
    -------
    >>> propose_grouping(np.array([[5], [5], [5], [7], [9], [9], [9], [9]])).layers
    'phonetic 0-2, obscure 3, linguistic 4-7'
    """
    possible = [each for each in groupings(cad) if min(student_layers(len(cad), each.n_phonetic)) >= 2]
    return min(possible, key=lambda each: round(each.error, 9), default=None)


def student_layers(n_layers: int, n_phonetic: int, n_student: int | None = None) -> tuple[int, int]:
    """Layers of the phonetic and the linguistic group of a student.

    Arguments
    ---------
    n_layers, n_phonetic : int
        Of the teacher.
    n_student : int, optional
        Layers of the student; by default as many as step-wise initialization has layers for.

    Example
    -------
    >>> student_layers(18, 7)
    (4, 5)
    """
    phonetic = (n_phonetic + 1) // 2
    return phonetic, (n_layers - n_phonetic) // 2 if n_student is None else n_student - phonetic


def student_keys(grouping: Grouping, n_student: int | None = None) -> dict[str, int]:
    """Keys of the BiCycle recipes, for a student of a grouped teacher.

    Arguments
    ---------
    grouping : Grouping
        Of the teacher.
    n_student : int, optional
        Layers of the student; by default as many as step-wise initialization has layers for.

    Returns
    -------
    dict
        ``n_teacher`` and ``n_phonetic``, layers of the teacher and of its phonetic group, and
        ``n_layers``, those of the student.

    Raises
    ------
    UserError
        If the teacher has too few layers in a group, or the student would have fewer than two.

    Example
    -------
    >>> student_keys(group(np.zeros((18, 1)), n_phonetic=7))
    {'n_teacher': 18, 'n_phonetic': 7, 'n_layers': 9}
    """
    n, p = grouping.n_layers, grouping.n_phonetic
    phonetic, linguistic = student_layers(n, p, n_student)
    if min(phonetic, linguistic) < 2:
        raise UserError(
            f"--n_phonetic {p}: a student of {phonetic + linguistic} layers would have {phonetic} "
            f"phonetic and {linguistic} linguistic ones; BiCycle takes two of each at least"
        )
    try:
        stepwise(n, phonetic + linguistic, p)
    except ValueError as error:
        raise UserError(f"--student_layers {n_student}: {error}") from error
    return {"n_teacher": n, "n_phonetic": p, "n_layers": phonetic + linguistic}


def choose_grouping(
    cad: np.ndarray, n_phonetic: int | None = None, n_student: int | None = None
) -> tuple[Grouping, dict[str, int]] | tuple[None, None]:
    """The user's grouping or the proposed one, and the recipes' keys that follow from it.

    Arguments
    ---------
    cad : numpy.ndarray
        Of each layer and head [N, heads].
    n_phonetic : int, optional
        The user's choice; see :func:`group`.
    n_student : int, optional
        See :func:`student_keys`.

    Returns
    -------
    Grouping or None
        None if there are fewer than seven layers and no choice of the user's.
    dict or None

    Raises
    ------
    UserError
        Where :func:`group` and :func:`student_keys` raise it.
    """
    chosen = propose_grouping(cad) if n_phonetic is None else group(cad, n_phonetic)
    return (None, None) if chosen is None else (chosen, student_keys(chosen, n_student))


def grouping_report(cad: np.ndarray, chosen: Grouping | None, keys: dict[str, int] | None = None) -> str:
    """The evidence for a grouping, and what follows from it, as Markdown.

    Arguments
    ---------
    cad : numpy.ndarray
        Of each layer and head [N, heads].
    chosen, keys
        From :func:`choose_grouping`.

    Returns
    -------
    str
    """
    if chosen is None:
        return f"{len(cad)} layers are too few for BiCycle's groups, which take seven."
    head = ["phonetic layers", "CAD phonetic", "obscure", "linguistic", "error"]
    lines = []
    for each in groupings(cad):
        values = (f"{value:.3f}" for value in (each.phonetic, each.obscure, each.linguistic))
        mark = " (chosen)" if each == chosen else ""
        lines.append([f"{each.n_phonetic}{mark}", *values, f"{each.error:.4f}"])
    parts = [_RULE, markdown_table(head, lines), f"Layers, counted from 0: {chosen.layers}."]
    if chosen.linguistic <= chosen.phonetic:
        parts.append("The upper layers are not more diagonal than the lower ones, unlike the paper's.")
    n, p, m = keys.values()
    phonetic, linguistic = student_layers(n, p, m)
    layers = [str(layer) for (layer,) in stepwise(n, m, p)]
    parts.append(
        f"A student of {m} layers starts from layers {', '.join(layers[:phonetic])} and "
        f"{', '.join(layers[phonetic:])}. Its schedule is bicycle(n_phonetic={phonetic}, "
        f"n_linguistic={linguistic}, ...). The recipes' keys:"
    )
    text = "".join(f"{key}: {value}\n" for key, value in keys.items())
    return "\n\n".join([*parts, f"```yaml\n{text}```"])


def _span(first, last):
    return str(first) if first == last else f"{first}-{last}"
