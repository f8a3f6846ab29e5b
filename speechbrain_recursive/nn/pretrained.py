"""Starting from a wav2vec 2.0 or HuBERT of Hugging Face, or from some layers of a fine-tuned one."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import read_text
from speechbrain_recursive.hub import import_transformers
from speechbrain_recursive.nn.layer_maps import LayerMap, kept
from speechbrain_recursive.nn.transfer import transfer_layers
from speechbrain_recursive.safety import SETTINGS
from speechbrain_recursive.weights import read_weights, weights_in

logger = logging.getLogger(__name__)

SENSITIVITY = "sensitivity.json"  # in a results folder, from `analyze sensitivity`
_LAYOUT = (
    "model_type",
    "hidden_size",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "conv_dim",
    "conv_kernel",
    "conv_stride",
    "conv_bias",
    "feat_extract_norm",
    "feat_extract_activation",
    "num_conv_pos_embeddings",
    "num_conv_pos_embedding_groups",
    "do_stable_layer_norm",
    "layer_norm_eps",
)
_MARKS = {"<blank>": "pad_token", "<unk>": "unk_token", "|": "word_delimiter_token"}


class Pretrained:
    """What an SSL model starts from.

    Nothing is read before the object is called.

    Arguments
    ---------
    source : str or pathlib.Path, optional
        The name or the folder of a Hugging Face model, such as ``facebook/hubert-base-ls960``, or the
        results folder of a finished run. None leaves the model as it is.
    kept : sequence of int, optional
        The layers to start from, counted from 0. By default all of them; a model of fewer layers takes
        those that the results folder's ``sensitivity.json`` ranks highest.
    """

    def __init__(self, source: str | Path | None, kept: Sequence[int] | None = None):
        self.source = source
        self.kept = kept

    @property
    def path(self) -> Path | None:
        """The weights of a finished run, if the source is one."""
        path = weights_in(self.source or "")
        of_hub = (path.parent / "config.json").is_file() and not (path.parent / SETTINGS).is_file()
        return path if path.is_file() and not of_hub else None

    def __call__(
        self, model: nn.Module, pieces: Sequence[str] = (), reset: tuple[str, ...] = ()
    ) -> set[str]:
        """Load into a model.

        A CTC head of Hugging Face's gives each piece its own row; pieces without one keep their random
        weights.

        Arguments
        ---------
        model : ASRModel
            Its ``embed`` is a :class:`~speechbrain_recursive.nn.ssl.WaveformEmbedding`.
        pieces : sequence of str
            The pieces of its tokenizer, by id.
        reset : tuple of str
            Weights whose names begin so keep their initial values.

        Returns
        -------
        set of str
            Names of the weights that were taken over.

        Raises
        ------
        UserError
            If there is no such model, it cannot be read or is of another layout, or the layers do not
            fit.
        """
        if self.source is None:
            return set()
        try:
            if self.path is None:
                weights = hub_weights(str(self.source), model, pieces)
            else:
                weights = read_weights(self.path)
            return transfer_layers(model, weights, self._layers, reset)
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"source: {self.source}: {error}") from error

    def _layers(self, n_teacher: int, n_student: int) -> LayerMap:
        """The map of layers, see :mod:`speechbrain_recursive.nn.layer_maps`."""
        if self.kept is not None:
            chosen = self.kept
        elif n_student == n_teacher:
            chosen = range(n_teacher)
        else:
            chosen = self._ranked(n_teacher, n_student)
        logger.info(f"Starts from layers {', '.join(map(str, chosen))} of {self.source}")
        return kept(n_teacher, n_student, chosen)

    def _ranked(self, n_teacher, n_student):
        """The layers that `analyze sensitivity` says to keep."""
        few = f"source: {self.source} has {n_teacher} layers, this model {n_student}: "
        if n_student > n_teacher:
            raise UserError(f"{few}set --n_layers to {n_teacher} or less")
        few += "name those to keep, such as --kept '[0, 1]'"
        if self.path is None:
            raise UserError(few)
        few += f", or run speechbrain-recursive analyze sensitivity {self.source}"
        text = read_text(self.path.with_name(SENSITIVITY), few)
        try:
            return json.loads(text)["kept"][str(n_student)]
        except (KeyError, TypeError, ValueError):
            raise UserError(few) from None


def hub_weights(name: str, model: nn.Module, pieces: Sequence[str]) -> dict[str, torch.Tensor]:
    """Read a wav2vec 2.0 or HuBERT of Hugging Face, by the keys of our model.

    Arguments
    ---------
    name : str
        Its name or folder.
    model : ASRModel
        Of the same layout, but for the number of layers.
    pieces : sequence of str
        The pieces of its tokenizer, by id.

    Returns
    -------
    dict of str to torch.Tensor

    Raises
    ------
    UserError
        If there is no such model, it cannot be read, or it is of another layout.
    """
    folder, example = Path(name), "such as facebook/hubert-base-ls960"
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UserError(f"source: {name} holds no finished run (model.ckpt) and no model (config.json)")
    if not folder.is_dir() and name.count("/") != 1:
        raise UserError(f"source: {name} is no folder, and no name of a Hugging Face model, {example}")
    transformers = import_transformers()
    ours = model.embed.config
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        _check_layout(name, config, ours)
        with_head = any(each.endswith("ForCTC") for each in config.architectures or ())
        kind = transformers.AutoModelForCTC if with_head else transformers.AutoModel
        theirs, report = kind.from_pretrained(name, output_loading_info=True)
        features = transformers.AutoFeatureExtractor.from_pretrained(name)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name) if with_head else None
    except UserError:
        raise
    except Exception as error:  # whatever networks, hubs and damaged files raise
        raise UserError(
            f"source: {name} cannot be loaded: {one_line(error, 250)}; where there is no network, give "
            "the folder of a copy with --source"
        ) from error
    if missing := [key for key in report["missing_keys"] if not key.endswith("masked_spec_embed")]:
        raise UserError(f"source: {name} lacks {', '.join(sorted(missing)[:3])} ({len(missing)} in all)")
    expected = {"do_normalize": model.embed.normalize, "sampling_rate": model.embed.sample_rate}
    for key, here in expected.items():
        if (there := getattr(features, key)) != here:
            raise UserError(f"source: {name} has {key} {there}, this recipe {here}")
    weights = theirs.base_model.state_dict() if with_head else theirs.state_dict()
    weights = {_renamed(key): value for key, value in weights.items()}
    if not with_head:
        logger.info(f"{name} has no CTC head: all {len(pieces)} rows start from random weights")
        return weights
    return weights | _carried(model.heads["ctc"].linear, theirs.lm_head, tokenizer, pieces, name)


def _check_layout(name, theirs, ours):
    """Refuse another layout (UserError)."""
    for key in _LAYOUT:
        there, here = (json.dumps(getattr(config, key, None)) for config in (theirs, ours))
        if there != here:  # as JSON, which knows no tuples
            raise UserError(f"source: {name} has {key} {there}, this recipe {here}")


def _renamed(key):
    return key if key.startswith("encoder.layers.") else f"embed.{key.removeprefix('encoder.')}"


def _carried(
    linear: nn.Linear, theirs: nn.Linear, tokenizer: Any, pieces: Sequence[str], name: str
) -> Mapping[str, torch.Tensor]:
    """Our CTC head with the rows of theirs, by piece."""
    vocabulary = tokenizer.get_vocab()
    names = [getattr(tokenizer, _MARKS[each], each) if each in _MARKS else each for each in pieces]
    rows = {row: vocabulary[each] for row, each in enumerate(names) if each in vocabulary}
    head = {key: value.clone() for key, value in linear.state_dict().items()}
    for key, value in theirs.state_dict().items():
        head[key][list(rows)] = value[list(rows.values())].to(head[key])
    fresh = [piece for row, piece in enumerate(pieces) if row not in rows]
    rest = f"; fresh: {' '.join(fresh)}" if fresh else ""
    logger.info(f"CTC head of {name}: {len(rows)} of {len(pieces)} rows carried over{rest}")
    return {f"heads.ctc.linear.{key}": value for key, value in head.items()}
