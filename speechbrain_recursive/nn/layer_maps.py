"""Which layers of a trained model each layer of a smaller one starts from.

A map takes the numbers of layers of teacher (N) and student (M). For each layer of the student it gives
a tuple of teacher layers, counted from 0: one is copied, of several the mean is taken, and with none the
layer keeps its initial weights. YAML names a map with ``!name:``, and with the arguments it needs::

    layers: !name:speechbrain_recursive.nn.layer_maps.stepwise
        n_phonetic: 7
"""

from collections.abc import Sequence

LayerMap = tuple[tuple[int, ...], ...]


def stepwise(n_teacher: int, n_student: int, n_phonetic: int) -> LayerMap:
    """Every second layer of each group; the obscure layer between the groups is left out (BiCycle).

    The phonetic group of the student takes layers 1, 3, 5, ... of the teacher, from the bottom, and its
    linguistic group layers N, N-2, ..., from the top. The first and the last layer are both included.

    Arguments
    ---------
    n_teacher : int
        Layers of the teacher, N.
    n_student : int
        Layers of the student, M.
    n_phonetic : int
        Layers of the teacher's phonetic group, p. Layer p + 1 is the obscure one.

    Raises
    ------
    ValueError
        If either model has no linguistic group, or the teacher's has too few layers for the student's.

    Example
    -------
    >>> [layers[0] + 1 for layers in stepwise(18, 9, n_phonetic=7)]
    [1, 3, 5, 7, 10, 12, 14, 16, 18]
    """
    if not 1 <= n_phonetic <= n_teacher - 2:
        raise ValueError(
            f"n_phonetic: {n_phonetic} of {n_teacher} layers leaves no linguistic group behind the "
            f"obscure layer; choose 1 to {n_teacher - 2}"
        )
    phonetic = tuple(range(0, n_phonetic, 2))
    n_linguistic = n_student - len(phonetic)
    linguistic = tuple(range(n_teacher - 1, n_phonetic, -2))[:n_linguistic]
    if n_linguistic < 1 or len(linguistic) < n_linguistic:
        raise ValueError(
            f"n_phonetic: {n_phonetic} gives the student {len(phonetic)} of its {n_student} layers; the "
            f"others would take {n_linguistic} linguistic layers of the teacher, which offers "
            f"{len(range(n_teacher - 1, n_phonetic, -2))}"
        )
    return tuple((layer,) for layer in (*phonetic, *reversed(linguistic)))


def uniform(n_teacher: int, n_student: int) -> LayerMap:
    """Layers at equal distances, with the first and the last.

    Example
    -------
    >>> uniform(9, 3)
    ((0,), (4,), (8,))
    """
    _check(n_teacher, n_student)
    gaps = max(n_student - 1, 1)
    return tuple((round(index * (n_teacher - 1) / gaps),) for index in range(n_student))


def first(n_teacher: int, n_student: int) -> LayerMap:
    """The first M layers.

    Example
    -------
    >>> first(9, 2)
    ((0,), (1,))
    """
    _check(n_teacher, n_student)
    return tuple((index,) for index in range(n_student))


def shared_mean(n_teacher: int, n_student: int) -> LayerMap:
    """The mean of the layers that a cycle of M layers stands for (Relaxed Recursive Transformer).

    Example
    -------
    >>> shared_mean(6, 2)
    ((0, 2, 4), (1, 3, 5))
    """
    _check(n_teacher, n_student)
    return tuple(tuple(range(index, n_teacher, n_student)) for index in range(n_student))


def random(n_teacher: int, n_student: int) -> LayerMap:
    """None: all layers keep their initial weights.

    Example
    -------
    >>> random(6, 2)
    ((), ())
    """
    return ((),) * n_student


def kept(n_teacher: int, n_student: int, layers: Sequence[int]) -> LayerMap:
    """The layers that are named; the others are dropped.

    Raises
    ------
    ValueError
        If they are not as many as the student has, not in order, or not among the teacher's.

    Example
    -------
    >>> kept(12, 3, layers=[0, 5, 11])
    ((0,), (5,), (11,))
    """
    layers = list(layers)
    if len(layers) != n_student:
        raise ValueError(f"kept: {layers} names {len(layers)} layers; the model has {n_student}")
    if layers != sorted({*layers} & {*range(n_teacher)}):
        raise ValueError(f"kept: {layers} is to name layers from 0 to {n_teacher - 1}, in their order")
    return tuple((layer,) for layer in layers)


def _check(n_teacher, n_student):
    if n_student > n_teacher:
        raise ValueError(f"{n_student} layers cannot start from the {n_teacher} layers of the teacher")
