"""SpeechBrain's ``TransformerASR`` with a recursive encoder."""

import torch
from speechbrain.lobes.models.transformer.Transformer import PositionalEncoding
from speechbrain.lobes.models.transformer.TransformerASR import (
    TransformerASR,
    make_transformer_src_mask,
    make_transformer_src_tgt_masks,
)

from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.padding import pad_mask


class LongPositionalEncoding(PositionalEncoding):
    """The stock sinusoids, computed on the fly past the stock table's end, where it crashes.

    Example
    -------
    >>> LongPositionalEncoding(8, max_len=10)(torch.zeros(1, 25, 8)).shape
    torch.Size([1, 25, 8])
    """

    def forward(self, x):
        """Positions for x [B, T, d], as [1, T, d]."""
        if x.size(1) <= self.max_len:
            return super().forward(x)
        longer = PositionalEncoding(self.pe.shape[-1], x.size(1))
        return longer.pe.to(self.pe)


class RecursiveTransformerASR(TransformerASR):
    """A ``TransformerASR`` whose encoder runs a schedule.

    State-dict keys are the stock model's, so a stock checkpoint of ``schedule.n_layers`` layers loads.

    Arguments
    ---------
    tgt_vocab : int
        Number of tokens.
    input_size : int
        Features per frame.
    schedule : Schedule
        Which encoder layer runs at each logical step.
    hooks : dict of str to list of Hook, optional
        See :class:`~speechbrain_recursive.nn.encoder.RecursiveEncoder`, as for the next two.
    recompute : bool
        Recompute each loop's activations in the backward pass.
    grad_loops : int, optional
        Back-propagate through the last so many loops alone.
    encoder : torch.nn.Module, optional
        Layers to run in place of stock ones, such as LARM's ``RopeEncoder``.
    **stock
        ``TransformerASR``'s arguments, without ``num_encoder_layers``.

    Raises
    ------
    ValueError
        If there is a decoder but no positional encoding for it.

    Example
    -------
    >>> from speechbrain_recursive.nn.schedule import latent
    >>> net = RecursiveTransformerASR(
    ...     30, 20, latent(1, 3, 1, 1), d_model=16, nhead=2, d_ffn=32, num_decoder_layers=1, causal=False
    ... )
    >>> encoded, decoded = net(torch.rand(2, 12, 20), torch.ones(2, 5, dtype=torch.long))
    >>> encoded.shape, decoded.shape, len(net.encoder.layers)
    (torch.Size([2, 12, 16]), torch.Size([2, 5, 16]), 3)
    """

    def __init__(
        self,
        tgt_vocab,
        input_size,
        schedule,
        hooks=None,
        recompute=False,
        grad_loops=None,
        encoder=None,
        **stock,
    ):
        if encoder is not None:
            stock["encoder_module"] = None  # the stock class then builds none
        super().__init__(tgt_vocab, input_size, num_encoder_layers=schedule.n_layers, **stock)
        if hasattr(self, "decoder") and self._decoder_positions() is None:
            raise ValueError("the decoder needs positions: set positional_encoding: fixed_abs_sine")
        # After the stock initialization, which overwrites every matrix, identity or not.
        encoder = self.encoder if encoder is None else encoder
        self.encoder = RecursiveEncoder(encoder, schedule, hooks, recompute, grad_loops)
        for name in ("positional_encoding", "positional_encoding_decoder"):
            if isinstance(getattr(self, name, None), PositionalEncoding):
                table = getattr(self, name)
                setattr(self, name, LongPositionalEncoding(table.pe.shape[-1], table.max_len))

    def forward(self, src, tgt, wav_len=None, pad_idx=0, loops=None):
        """Encode and decode with teacher forcing.

        Arguments
        ---------
        src : torch.Tensor
            [B, T, F].
        tgt : torch.LongTensor
            Tokens that start with <bos>, [B, U].
        wav_len : torch.Tensor, optional
            Relative lengths [B]; ``frames / T`` of absolute counts is exact.
        pad_idx : int
            Token that pads ``tgt``.
        loops : int, dict or torch.LongTensor, optional
            Loop counts, see :meth:`RecursiveEncoder.run`.

        Returns
        -------
        torch.Tensor
            Encoded frames [B, T, d].
        torch.Tensor
            Decoded states [B, U, d].
        """
        encoded = self.encode(src, wav_len, loops=loops)
        pad = None if wav_len is None else pad_mask(self._frames(wav_len, src), src.shape[1])
        return encoded, self.decode_forced(tgt, encoded, pad, pad_idx)

    def encode(self, src, wav_len=None, pad_idx=0, dynchunktrain_config=None, loops=None):
        """Encode.

        Arguments
        ---------
        src : torch.Tensor
            [B, T, F].
        wav_len : torch.Tensor, optional
            Relative lengths [B].
        pad_idx : int
            Not used; it stands in the stock signature.
        dynchunktrain_config : DynChunkTrainConfig, optional
            Chunked attention and convolution.
        loops : int, dict or torch.LongTensor, optional
            Loop counts.

        Returns
        -------
        torch.Tensor
            [B, T, d].
        """
        state = self.enter(src, wav_len, dynchunktrain_config)
        return self.encoder.norm(self.encoder.run(state, loops=loops).state.x)

    def enter(self, src, wav_len=None, dynchunktrain_config=None):
        """The encoder's first state: projected features, masks, positions.

        Arguments
        ---------
        src : torch.Tensor
            [B, T, F] or [B, T, F, C].
        wav_len : torch.Tensor, optional
            Relative lengths [B].
        dynchunktrain_config : DynChunkTrainConfig, optional
            Chunked attention and convolution.

        Returns
        -------
        State
        """
        src = src.flatten(2)
        mask = make_transformer_src_mask(src, self.causal, dynchunktrain_config)
        pad = None if wav_len is None else pad_mask(self._frames(wav_len, src), src.shape[1])
        x = self.custom_src_module(src).to(next(self.parameters()).dtype)  # autocast would narrow it
        pos = None
        if self.attention_type == "RelPosMHAXL":
            pos = self.positional_encoding(x)
        elif self.positional_encoding_type == "fixed_abs_sine" and self.attention_type == "regularMHA":
            x = x + self.positional_encoding(x)
        return self.encoder.family.prepare(
            x,
            src_mask=mask,
            src_key_padding_mask=pad,
            pos_embs=pos,
            dynchunktrain_config=dynchunktrain_config,
        )

    def decode_forced(self, tgt, encoded, pad=None, pad_idx=0):
        """Decode with teacher forcing.

        Arguments
        ---------
        tgt : torch.LongTensor
            [B, U].
        encoded : torch.Tensor
            [B, T, d].
        pad : torch.BoolTensor, optional
            [B, T], True on padding of ``encoded``.
        pad_idx : int
            Token that pads ``tgt``.

        Returns
        -------
        torch.Tensor
            [B, U, d].
        """
        _, tgt_pad, _, tgt_mask = make_transformer_src_tgt_masks(encoded, tgt, pad_idx=pad_idx)
        tgt = self.custom_tgt_module(tgt)
        decoded, _, _ = self.decoder(
            tgt + self._decoder_positions()(tgt),
            encoded,
            tgt_mask=torch.isneginf(tgt_mask),  # boolean as the padding mask, which torch asks for
            tgt_key_padding_mask=tgt_pad,
            memory_key_padding_mask=pad,
        )
        return decoded

    def _decoder_positions(self):
        own = getattr(self, "positional_encoding_decoder", None)
        return own or getattr(self, "positional_encoding", None)

    @staticmethod
    def _frames(wav_len, src):
        return torch.round(wav_len * src.shape[1]).long()
