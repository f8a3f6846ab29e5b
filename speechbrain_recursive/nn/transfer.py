"""Starting from the weights of other models."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.nn.layer_maps import LayerMap
from speechbrain_recursive.weights import load_weights, read_weights, weights_in

# Keys of TransformerASR, and of the other parts of a SpeechBrain Transformer recipe's model, which is
# [CNN, TransformerASR, seq_lin, ctc_lin].
_RENAMED = {
    "encoder.": "encoder.",
    "decoder.": "heads.seq2seq.decoder.",
    "custom_src_module.layers.0.w.": "embed.project.",
    "custom_tgt_module.layers.0.": "heads.seq2seq.embedding.",
    "0.": "embed.frontend.convs.",
    "2.w.": "heads.seq2seq.linear.",
    "3.w.": "heads.ctc.linear.",
}
_CONSTANT = "positional_encoding"  # tables of sinusoids


class WarmStart:
    """What a model starts from: a checkpoint of its own kind, or the layers of a larger model.

    In YAML, a BiCycle model that takes over layers of a trained teacher::

        warm_start: !new:speechbrain_recursive.nn.transfer.WarmStart
            path: results/bicycle_teacher/1234
            layers: !name:speechbrain_recursive.nn.layer_maps.stepwise
                n_phonetic: 7

    Nothing is read before the object is called.

    Arguments
    ---------
    path : str or pathlib.Path
        A results folder, a file of weights, or a model on the Hub; see
        :func:`~speechbrain_recursive.hub.fetch`.
    layers : callable, optional
        A map of :mod:`speechbrain_recursive.nn.layer_maps`. By default the checkpoint must be of exactly
        this model or a stock one of SpeechBrain's; see :func:`warm_start`.
    """

    def __init__(self, path: str | Path, layers: Callable[[int, int], LayerMap] | None = None):
        self.source, self.layers = path, layers

    @cached_property
    def path(self) -> Path:
        """The file of weights, fetched if it is on the Hub."""
        path = fetch(self.source)
        return path if path.is_file() or path.suffix == ".ckpt" else weights_in(path)

    def __call__(
        self, model: nn.Module, pieces: Sequence[str] = (), reset: tuple[str, ...] = ()
    ) -> set[str]:
        """Load into a model.

        Arguments
        ---------
        model : torch.nn.Module
            The model.
        pieces : sequence of str
            Not used: a checkpoint's tokens are those of the model.
        reset : tuple of str
            Weights whose names begin so keep their initial values.

        Returns
        -------
        set of str
            Names of the weights that were taken over.

        Raises
        ------
        UserError
            If there are no such weights, or they do not fit the model.
        """
        if not self.path.exists():
            raise UserError(
                f"warm_start: {self.path.parent} holds no finished run: there is no {self.path.name}"
            )
        if self.layers is None:
            taken = set()
            load_weights(self.path, lambda weights: taken.update(warm_start(model, weights, reset)))
            return taken
        weights = read_weights(self.path)
        try:
            return transfer_layers(model, weights, self.layers, reset)
        except ValueError as error:
            raise UserError(f"warm_start: {self.path}: {error}") from error


def transfer_layers(
    model: nn.Module,
    weights: Mapping[str, torch.Tensor],
    layers: Callable[[int, int], LayerMap],
    reset: tuple[str, ...] = (),
) -> set[str]:
    """Start a model from some layers of a trained one.

    Front-end, final norm and heads are carried over where both models have them. Hooks are given the
    layers that their loops stand for, see :meth:`Hook.start_from`.

    Arguments
    ---------
    model : torch.nn.Module
        An ``ASRModel``.
    weights : mapping of str to torch.Tensor
        The state of an ``ASRModel`` with other layers of the same kind.
    layers : callable
        From the numbers of teacher and student layers to a map.
    reset : tuple of str
        Weights whose names begin so keep their initial values.

    Returns
    -------
    set of str
        Names of the weights that were taken over.

    Raises
    ------
    ValueError
        If the teacher has no layers, lacks a weight of the student's, or one is of another shape; or
        the map does not fit.
    """
    teacher = _by_layer(weights)
    if not teacher:
        raise ValueError("holds no layers of an encoder")
    chosen = layers(len(teacher), len(model.encoder.layers))
    new = {
        key: value
        for key, value in weights.items()
        if key.startswith(("embed.", "heads.", "encoder.norm."))
    }
    for index, sources in enumerate(chosen):
        for name in teacher[0] if sources else ():
            mean = torch.stack([teacher[source][name].double() for source in sources]).mean(0)
            new[f"encoder.layers.{index}.{name}"] = mean.to(teacher[0][name].dtype)
    own = model.state_dict()
    new = {key: value for key, value in new.items() if key in own and not key.startswith(reset)}
    for key, value in own.items():
        if key in new and new[key].shape != value.shape:
            raise ValueError(
                f"{key} is {list(new[key].shape)} there and {list(value.shape)} in this model"
            )
        absent = key not in new and not key.startswith(reset)
        if absent and key.startswith("encoder.layers.") and chosen[_index(key)]:
            raise ValueError(f"its layers have no {key.split('.', 3)[3]}, which this model's have")
    model.load_state_dict({key: new.get(key, value) for key, value in own.items()})
    for block in model.schedule.blocks:
        for hook in model.encoder.hooks_of(block.name):
            hook.start_from(
                {index: [teacher[source] for source in chosen[index]] for index in block.layers}
            )
    return {*new}


def _index(key):
    return int(key.split(".")[2])


def _by_layer(weights):
    """Weights of each layer of an encoder, a list of dict."""
    found = {}
    for key, value in weights.items():
        if match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)", key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    return [found[index] for index in sorted(found)]


def warm_start(
    model: nn.Module, weights: Mapping[str, torch.Tensor], reset: tuple[str, ...] = ()
) -> set[str]:
    """Load a checkpoint of ours or of stock SpeechBrain, strictly.

    Arguments
    ---------
    model : torch.nn.Module
        An ``ASRModel``, or any other model from its own kind of checkpoint.
    weights : mapping of str to torch.Tensor
        The state of an ``ASRModel``, of a ``TransformerASR`` alone (the front-end and the output layers
        keep their initial weights), or of the model in one of SpeechBrain's Transformer recipes.
    reset : tuple of str
        Weights whose names begin so keep their initial values.

    Returns
    -------
    set of str
        Names of the weights that were taken over.

    Raises
    ------
    RuntimeError
        If names or shapes differ; the message names them.

    Example
    -------
    >>> model = nn.ModuleDict({"embed": nn.ModuleDict({"project": nn.Linear(2, 2, bias=False)})})
    >>> warm_start(model, {"custom_src_module.layers.0.w.weight": torch.eye(2)})
    {'embed.project.weight'}
    >>> model["embed"]["project"].weight.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    transformer = any(key.startswith("custom_src_module.") for key in weights)
    recipe = any(key.startswith("1.custom_src_module.") for key in weights)
    initial = [*reset]
    if transformer or recipe:
        initial += ["embed.compute_features."]
        if transformer:
            initial += ["embed.frontend.", "heads.ctc.", "heads.seq2seq.linear."]
        weights = {_renamed(key): value for key, value in weights.items() if _CONSTANT not in key}
    weights = {key: value for key, value in weights.items() if not key.startswith(tuple(reset))}
    ours = {key: value for key, value in model.state_dict().items() if key.startswith(tuple(initial))}
    model.load_state_dict(ours | weights)
    return {*weights}


def _renamed(key):
    key = key.removeprefix("1.")  # where a recipe's model has its TransformerASR
    for old, new in _RENAMED.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
