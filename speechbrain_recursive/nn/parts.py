"""Parts of a model by name: those that start afresh, and those that are not trained."""

from collections.abc import Collection, Iterable, Sequence

from torch import nn

from speechbrain_recursive.errors import UserError


def prefixes(model: nn.Module, names: Sequence[str], key: str) -> tuple[str, ...]:
    """What the parameters of some parts begin with.

    Arguments
    ---------
    model : torch.nn.Module
        An ``ASRModel``, or another model.
    names : sequence of str
        Names of heads, such as ``ctc``, of parts behind the encoder, or what names of parameters begin
        with, such as ``embed`` or ``encoder.layers.0``.
    key : str
        The key of the YAML that names them, for messages.

    Returns
    -------
    tuple of str
        In the order of the names, each with a dot at its end.

    Raises
    ------
    UserError
        If the model has no such part, or the names are no list.

    Example
    -------
    >>> heads = nn.ModuleDict({"ctc": nn.Linear(2, 3)})
    >>> model = nn.ModuleDict({"embed": nn.Linear(2, 2), "heads": heads})
    >>> prefixes(model, ["embed", "ctc"], "freeze")
    ('embed.', 'heads.ctc.')
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise UserError(f"{key} is a list of names, such as [embed, ctc], not {names!r}")
    parameters, found = [name for name, _ in model.named_parameters()], []
    for name in names:
        tried = [f"{room}{name}." for room in ("heads.", "after.", "")]
        prefix = next((each for each in tried if any(p.startswith(each) for p in parameters)), None)
        if prefix is None:
            raise UserError(
                f"{key}: the model has no part '{name}'; it has {', '.join(parts(parameters))}"
            )
        found.append(prefix)
    return tuple(found)


def freeze(model: nn.Module, names: Sequence[str]) -> None:
    """Keep some parts from being trained; dropout in them goes on.

    Arguments
    ---------
    model : torch.nn.Module
        The model.
    names : sequence of str
        See :func:`prefixes`.

    Raises
    ------
    UserError
        If the model has no such part, or nothing would be trained.
    """
    frozen = prefixes(model, names, "freeze")
    for name, parameter in model.named_parameters():
        if name.startswith(frozen):
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("freeze leaves nothing of the model to train")


def parts(parameters: Iterable[str]) -> list[str]:
    """The parts that parameters belong to, in their order.

    Example
    -------
    >>> parts(["embed.project.weight", "heads.ctc.linear.bias", "heads.ctc.linear.weight"])
    ['embed', 'heads.ctc']
    """
    words = (name.split(".") for name in parameters)
    return list(dict.fromkeys(".".join(w[: 2 if w[0] in ("heads", "after") else 1]) for w in words))


def summary(model: nn.Module, taken: Collection[str]) -> str:
    """Say which parts were taken over, which start afresh and which are frozen.

    Arguments
    ---------
    model : torch.nn.Module
        The model.
    taken : collection of str
        Names of the weights that were taken over.

    Returns
    -------
    str
        One line. A part of which this is true in part is named with its share of parameters.
    """
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    sets = {
        "kept": {*taken} & sizes.keys(),
        "reset": sizes.keys() - {*taken},
        "frozen": {name for name, parameter in model.named_parameters() if not parameter.requires_grad},
    }
    said = []
    for what, chosen in sets.items():
        shares = []
        for part in parts(name for name in sizes if name in chosen):
            inside = {name: size for name, size in sizes.items() if name.startswith(f"{part}.")}
            share = sum(size for name, size in inside.items() if name in chosen) / sum(inside.values())
            shares.append(part if share == 1 else f"{part} ({share:.0%})")
        said.append(f"{what}: {', '.join(shares) or 'nothing'}")
    return "; ".join(said)
