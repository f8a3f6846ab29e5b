"""Loading checkpoints of other models: which parts of a model they are for."""

from collections.abc import Mapping

import torch
from torch import nn

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


def warm_start(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load a checkpoint of ours or of stock SpeechBrain, strictly.

    Arguments
    ---------
    model : torch.nn.Module
        An ``ASRModel``, or any other model from its own kind of checkpoint.
    weights : mapping of str to torch.Tensor
        The state of an ``ASRModel``, of a ``TransformerASR`` alone (the front-end and the output layers
        keep their initial weights), or of the model in one of SpeechBrain's Transformer recipes.

    Raises
    ------
    RuntimeError
        If names or shapes differ; the message names them.

    Example
    -------
    >>> model = nn.ModuleDict({"embed": nn.ModuleDict({"project": nn.Linear(2, 2, bias=False)})})
    >>> warm_start(model, {"custom_src_module.layers.0.w.weight": torch.eye(2)})
    >>> model["embed"]["project"].weight.tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    transformer = any(key.startswith("custom_src_module.") for key in weights)
    recipe = any(key.startswith("1.custom_src_module.") for key in weights)
    if transformer or recipe:
        kept = ["embed.compute_features."]
        if transformer:
            kept += ["embed.frontend.", "heads.ctc.", "heads.seq2seq.linear."]
        renamed = {_renamed(key): value for key, value in weights.items() if _CONSTANT not in key}
        ours = model.state_dict().items()
        weights = {key: value for key, value in ours if key.startswith(tuple(kept))} | renamed
    model.load_state_dict(weights)


def _renamed(key):
    key = key.removeprefix("1.")  # where a recipe's model has its TransformerASR
    for old, new in _RENAMED.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
