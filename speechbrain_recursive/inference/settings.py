"""The settings of a published model: what inference needs of a run's, without a path of the machine."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import resolve
from speechbrain_recursive.merging import dump, leaves, merge_trees, parse, tag

KEPT = ("seed", "sample_rate", "n_tokens", "corpus", "model", "decoders", "dev_decoder", "task")
KEPT_OF_LM = ("seed", "n_tokens", "model")
OWN = ("data_folder", "warm_start", "ngram", "lm", "wandb_project")  # what a recipe loses
TRAINING = {  # what objects that are kept take for training alone
    "corpus": (
        *("train_splits", "dev_splits", "test_splits"),
        *("train_manifest", "dev_manifest", "test_manifest", "tokenizer", "max_left_out"),
    ),
    "task": (
        "eval_loops",
        "eval_depths",
        "teachers",
        "wav_augment",
        "fea_augment",
        "compile_layers",
    ),
}
STOCK = """\
tokenizer: !new:speechbrain_recursive.inference.stock.Text
modules:
  encoder: !new:speechbrain_recursive.inference.stock.Encoder
    model: !ref <model>
    task: !ref <task>
pretrainer: !new:speechbrain_recursive.inference.stock.Opener
  model: !ref <model>
  text: !ref <tokenizer>
decoding_function: !name:speechbrain_recursive.inference.stock.greedy
  blank: 0
audio_normalizer: !new:speechbrain.dataio.preprocess.AudioNormalizer
  sample_rate: !ref <sample_rate>
"""
SEARCH = """\
modules:
  decoder: !new:speechbrain_recursive.inference.stock.Search
    decoder: !ref <decoders[{name}]>
    model: !ref <model>
    text: !ref <tokenizer>
pretrainer:
  search: !ref <modules[decoder]>
"""


def published_settings(
    text: str,
    path: str | Path,
    n_tokens: int,
    place: Callable[[str, str], str],
    search: str | None,
) -> str:
    """Derive the settings of a published ASR model.

    Arguments
    ---------
    text : str
        A run's ``hyperparams.yaml``, references resolved.
    path : str or pathlib.Path
        What error messages call it.
    n_tokens : int
        Number of tokens.
    place : callable
        From ``ngram`` or ``lm`` and the path that a decoder names to the name in the published folder.
    search : str, optional
        The decoder of SpeechBrain's ``EncoderDecoderASR``.

    Returns
    -------
    str
        YAML that :func:`~speechbrain_recursive.inference.results.open_results` and SpeechBrain's own
        interfaces open.

    Raises
    ------
    UserError
        If a path of this machine would remain.
    """
    tree = parse(text, path)
    for key, names in TRAINING.items():
        for name in names:
            tree[key].pop(name, None)
    for decoder in tree["decoders"].values():
        for kind in ("ngram", "lm"):
            if isinstance(decoder, Mapping) and decoder.get(kind) is not None:
                decoder[kind] = place(kind, str(decoder[kind]))
    kept = _kept(tree, KEPT, n_tokens)
    kept["output_folder"] = "."
    _check_paths(kept, path)
    stock = parse(STOCK, path)
    if search is not None:
        stock = merge_trees(stock, parse(SEARCH.format(name=search), path), path)
    return resolve(dump(kept) + dump(stock))


def language_model_settings(text: str, path: str | Path, n_tokens: int) -> str:
    """Derive the settings of a language model; see :func:`published_settings`."""
    kept = _kept(parse(text, path), KEPT_OF_LM, n_tokens)
    _check_paths(kept, path)
    return dump(kept)


def published_recipe(text: str, path: str | Path) -> str:
    """Derive the recipe of a published model, which fine-tuning builds on.

    It names no corpus, no model that the run started from, no n-gram, no language model and no project
    of Weights & Biases. Other paths of this machine become ``/path/to/NAME``, such as a teacher's.

    Arguments
    ---------
    text : str
        A run's ``recipe.yaml``.
    path : str or pathlib.Path
        What error messages call it.

    Returns
    -------
    str
        YAML whose references are not resolved.

    Example
    -------
    >>> print(published_recipe("lm: a/lm\\nlr: 0.1\\nteacher: /home/me/kd", "recipe.yaml"), end="")
    lm:
    lr: 0.1
    teacher: /path/to/kd
    """
    tree = parse(text, path)
    for key in OWN:
        if key in tree:
            tree[key] = None
    _replace_paths(tree)
    return dump(tree)


def _replace_paths(node):
    """Put ``/path/to/NAME`` in the place of absolute paths."""
    for key, child in [*(node.items() if isinstance(node, Mapping) else enumerate(node))]:
        if isinstance(child, Mapping | list):
            _replace_paths(child)
        elif isinstance(child, str) and os.path.isabs(child):
            node[key] = f"/path/to/{Path(child).name}"
        elif tag(child) is not None and os.path.isabs(str(child.value)):
            child.value = f"/path/to/{Path(child.value).name}"


def _kept(tree, names, n_tokens):
    """The named keys, and those whose objects they share, in the order of the file."""
    _replace(tree, tree["n_tokens"], n_tokens)
    reached = {id(node) for name in names if name in tree for node in _nodes(tree[name])}
    for name in [*tree]:
        if name not in names and id(tree[name]) not in reached:
            del tree[name]
    return tree


def _nodes(node: Any) -> Iterator[Any]:
    """A node and those below it that can be shared: mappings, lists and objects."""
    if isinstance(node, Mapping | list):
        yield node
        for child in node.values() if isinstance(node, Mapping) else node:
            yield from _nodes(child)
    elif tag(node) is not None:
        yield node


def _replace(node, old, new):
    """Put a value in the place of a node, wherever it stands."""
    for key, child in [*(node.items() if isinstance(node, Mapping) else enumerate(node))]:
        if child is old:
            node[key] = new
        elif isinstance(child, Mapping | list):
            _replace(child, old, new)


def _check_paths(tree, path):
    for key, value in leaves(tree):
        if isinstance(value, str) and os.path.isabs(value):
            raise UserError(f"{path}: {key} is {value}, a path of this machine: it cannot be published")
