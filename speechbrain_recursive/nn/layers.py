"""Banks of stock layers, initialized as SpeechBrain's ``TransformerASR`` initializes them."""

from speechbrain.lobes.models.transformer.TransformerASR import TransformerASR
from torch import nn


def stock_layers(num_layers: int, d_model: int, **options) -> nn.Module:
    """SpeechBrain's encoder of the kind that ``encoder_module`` names.

    Arguments
    ---------
    num_layers : int
        Physical layers.
    d_model : int
        Width.
    **options
        ``TransformerASR``'s: ``encoder_module`` (``transformer``, ``conformer`` or ``branchformer``),
        ``nhead``, ``d_ffn``, ``dropout``, ``activation``, ``attention_type``, ``kernel_size``,
        ``csgu_linear_units``, ``layerdrop_prob``...

    Returns
    -------
    TransformerEncoder, ConformerEncoder or BranchformerEncoder
        Pre-norm.

    Example
    -------
    >>> type(stock_layers(2, 8, nhead=2, d_ffn=16, encoder_module="conformer")).__name__
    'ConformerEncoder'
    """
    sizes = {"input_size": 1, "num_encoder_layers": num_layers, "num_decoder_layers": 0}
    return _stock(1, d_model, sizes | options).encoder


def stock_decoder(
    n_tokens: int, num_layers: int, d_model: int, **options
) -> tuple[nn.Module, nn.Module]:
    """SpeechBrain's token embedding and ``TransformerDecoder``.

    Arguments
    ---------
    n_tokens : int
        Size of the vocabulary.
    num_layers : int
        Decoder layers.
    d_model : int
        Width.
    **options
        ``TransformerASR``'s: ``nhead``, ``d_ffn``, ``dropout``, ``activation``.

    Returns
    -------
    torch.nn.Module
        From tokens [B, U] to [B, U, d].
    TransformerDecoder
    """
    sizes = {"input_size": 1, "num_encoder_layers": 0, "num_decoder_layers": num_layers}
    stock = _stock(n_tokens, d_model, sizes | options)
    return stock.custom_tgt_module.layers[0], stock.decoder


def _stock(n_tokens, d_model, options):
    return TransformerASR(n_tokens, d_model=d_model, normalize_before=True, causal=False, **options)
