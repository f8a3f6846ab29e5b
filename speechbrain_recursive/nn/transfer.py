"""Weights from elsewhere: which of an ASR model's parts a checkpoint is for."""

# Keys in SpeechBrain's Transformer recipes, whose model is [CNN, Transformer, seq_lin, ctc_lin].
_STOCK_RECIPE = {"0.": "frontend.convs.", "1.": "transformer.", "2.w.": "seq_lin.", "3.w.": "ctc_lin."}


def warm_start(model, weights):
    """Load a checkpoint of ours or of stock SpeechBrain, strictly.

    Arguments
    ---------
    model : torch.nn.Module
        What is to be started: a ``ASRModel``, or any other model from its own kind of checkpoint.
    weights : dict of str to torch.Tensor
        The state of a ``ASRModel``, of a ``TransformerASR`` alone (the front-end and the heads keep
        their initial weights), or of the model in one of SpeechBrain's Transformer recipes.

    Raises
    ------
    RuntimeError
        If names or shapes differ; the message names them.

    Example
    -------
    >>> from types import SimpleNamespace
    >>> from torch import nn
    >>> stock = nn.ModuleDict({"encoder": nn.Linear(2, 2)})
    >>> model = SimpleNamespace(transformer=nn.ModuleDict({"encoder": nn.Linear(2, 2)}))
    >>> warm_start(model, stock.state_dict())
    >>> bool((model.transformer["encoder"].weight == stock["encoder"].weight).all())
    True
    """
    if hasattr(model, "transformer") and any(key.startswith("encoder.") for key in weights):
        model.transformer.load_state_dict(weights)
        return
    if all(key.startswith(tuple(_STOCK_RECIPE)) for key in weights):
        features = {k: v for k, v in model.state_dict().items() if k.startswith("compute_features.")}
        weights = features | {_renamed(key): value for key, value in weights.items()}
    model.load_state_dict(weights)


def _renamed(key):
    prefix = next(prefix for prefix in _STOCK_RECIPE if key.startswith(prefix))
    return _STOCK_RECIPE[prefix] + key.removeprefix(prefix)
