"""Heads: from a state to log-posteriors of tokens."""

import torch
from speechbrain.lobes.models.transformer.TransformerASR import (
    get_lookahead_mask,
    make_transformer_src_tgt_masks,
)
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.layers import stock_decoder
from speechbrain_recursive.nn.padding import pad_mask
from speechbrain_recursive.nn.positions import Sinusoids
from speechbrain_recursive.nn.state import State


class CTCHead(nn.Module):
    """Log-posteriors of each frame.

    Arguments
    ---------
    d_model : int
        Width of the state.
    n_tokens : int
        Size of the vocabulary, V.
    """

    targets: tuple[str, ...] = ()
    reads = "encoder"

    def __init__(self, d_model: int, n_tokens: int):
        super().__init__()
        self.linear = nn.Linear(d_model, n_tokens)

    def forward(self, state: State) -> torch.Tensor:
        """Log-posteriors [B, T, V], float32, of ``state.x`` [B, T, d]."""
        return self.linear(state.x).float().log_softmax(-1)


class Seq2SeqHead(nn.Module):
    """SpeechBrain's Transformer decoder, under teacher forcing.

    Arguments
    ---------
    d_model : int
        Width of the state.
    n_tokens : int
        Size of the vocabulary, V.
    num_layers : int
        Decoder layers, at least 1.
    **options
        ``nhead``, ``d_ffn``, ``dropout`` and ``activation``, see
        :func:`~speechbrain_recursive.nn.layers.stock_decoder`.

    Raises
    ------
    UserError
        If ``num_layers`` is below 1.

    Example
    -------
    >>> head = Seq2SeqHead(8, n_tokens=5, num_layers=1, nhead=2, d_ffn=16)
    >>> state = State(torch.rand(2, 10, 8)).remember(tokens_bos=torch.ones(2, 3, dtype=torch.long))
    >>> head(state).shape
    torch.Size([2, 3, 5])
    """

    targets = ("tokens_bos",)
    reads = "encoder"

    def __init__(self, d_model: int, n_tokens: int, num_layers: int, **options):
        super().__init__()
        if num_layers < 1:
            raise UserError("a seq2seq head needs a decoder layer; mini_ctc.yaml has no such head")
        self.embedding, self.decoder = stock_decoder(n_tokens, num_layers, d_model, **options)
        self.positions = Sinusoids(d_model)
        self.linear = nn.Linear(d_model, n_tokens)

    def forward(self, state: State) -> torch.Tensor:
        """Decode with teacher forcing.

        Arguments
        ---------
        state : State
            Encoded frames [B, T, d]; its memory holds ``tokens_bos`` [B, U], tokens that start with
            <bos> and are padded with blanks.

        Returns
        -------
        torch.Tensor
            Log-posteriors [B, U, V], float32.
        """
        tokens = state.memory["tokens_bos"]
        _, token_pad, _, mask = make_transformer_src_tgt_masks(state.x, tokens, pad_idx=0)
        # A boolean mask, like the padding mask, as PyTorch's attention asks for.
        decoded = self._decode(tokens, state.x, torch.isneginf(mask), token_pad, state.pad)[0]
        return self.linear(decoded).float().log_softmax(-1)

    @torch.no_grad()
    def decode(
        self, tokens: torch.Tensor, encoded: torch.Tensor, lengths: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode a prefix, as SpeechBrain's searchers call ``TransformerASR.decode``.

        Arguments
        ---------
        tokens : torch.LongTensor
            [N, U].
        encoded : torch.Tensor
            [N, T, d].
        lengths : torch.LongTensor, optional
            Absolute frame counts [N].

        Returns
        -------
        torch.Tensor
            Decoded states [N, U, d].
        torch.Tensor
            Attention weights of the last layer [N, U, T].
        """
        pad = None if lengths is None else pad_mask(lengths, encoded.shape[1])
        decoded, _, attention = self._decode(tokens, encoded, get_lookahead_mask(tokens), None, pad)
        return decoded, attention[-1]

    def _decode(self, tokens, encoded, mask, token_pad, pad):
        embedded = self.embedding(tokens)
        return self.decoder(
            embedded + self.positions(embedded),
            encoded,
            tgt_mask=mask,
            tgt_key_padding_mask=token_pad,
            memory_key_padding_mask=pad,
        )
