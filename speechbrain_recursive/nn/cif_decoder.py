"""The decoder of CIF: one step per fired state, autoregressive (CIF-HKD, Section 2.1.1)."""

from dataclasses import replace

import torch
from speechbrain.lobes.models.transformer.Transformer import NormalizedEmbedding
from torch import nn

from speechbrain_recursive.nn.heads import CTCHead
from speechbrain_recursive.nn.layers import stock_layers
from speechbrain_recursive.nn.positions import Sinusoids
from speechbrain_recursive.nn.state import State


class CifDecoder(nn.Module):
    """Turns fired states into linguistic states, each with the token before it.

    A linear layer joins each fired state with the previous token, Transformer layers look back at
    earlier ones, and a second linear layer joins their output with the fired state again. The paper has
    "several FC layers"; where they stand is our choice.

    It is a part of a model behind :class:`~speechbrain_recursive.nn.cif.Cif`. Without target tokens, as
    at inference, it leaves the state as it is, and a search calls :meth:`decode`.

    Arguments
    ---------
    d_model : int
        Width of the fired states.
    n_tokens : int
        Size of the vocabulary.
    num_layers : int
        Transformer layers.
    **options
        ``nhead``, ``d_ffn``, ``dropout`` and ``activation``, see
        :func:`~speechbrain_recursive.nn.layers.stock_layers`.

    Example
    -------
    >>> decoder = CifDecoder(8, n_tokens=5, num_layers=1, nhead=2, d_ffn=16)
    >>> decoder.decode(torch.tensor([[1, 4]]), torch.rand(1, 3, 8)).shape
    torch.Size([1, 2, 8])
    """

    def __init__(self, d_model: int, n_tokens: int, num_layers: int = 2, **options):
        super().__init__()
        self.embedding = NormalizedEmbedding(d_model, n_tokens)
        # As SpeechBrain's TransformerASR. From a standard normal distribution, the tokens would be
        # sqrt(d) times as large as the fired states and drown them.
        nn.init.xavier_normal_(self.embedding.emb.Embedding.weight)
        self.join = nn.Linear(2 * d_model, d_model)
        self.positions = Sinusoids(d_model)
        self.layers = stock_layers(num_layers, d_model, attention_type="regularMHA", **options)
        self.rejoin = nn.Linear(2 * d_model, d_model)

    def forward(self, state: State) -> State:
        """Decode with teacher forcing.

        Arguments
        ---------
        state : State
            Fired states [B, I, d]; its memory may hold ``tokens_bos`` [B, U], tokens that start with
            <bos> and are padded with 0.

        Returns
        -------
        State
            Linguistic states [B, U, d], padded as the tokens.
        """
        tokens = state.memory.get("tokens_bos")
        if tokens is None:
            return state
        return replace(state, x=self.decode(tokens, state.x), pad=tokens == 0)

    def decode(self, tokens: torch.Tensor, fired: torch.Tensor) -> torch.Tensor:
        """Linguistic states of a prefix.

        Arguments
        ---------
        tokens : torch.LongTensor
            [B, U], from <bos> on.
        fired : torch.Tensor
            Fired states [B, I, d]. They are cut to U, or padded with zeros.

        Returns
        -------
        torch.Tensor
            [B, U, d]. Each looks at tokens and fired states up to its own alone.
        """
        length = tokens.shape[1]
        fired = nn.functional.pad(fired, (0, 0, 0, length - fired.shape[1]))
        x = self.join(torch.cat([self.embedding(tokens), fired], -1))
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        x, _ = self.layers(x + self.positions(x), src_mask=later)
        return self.rejoin(torch.cat([x, fired], -1))


class CifHead(CTCHead):
    """Log-posteriors [B, U, V] of each token, from the states of the part ``decoder``."""

    targets = ("tokens_bos",)
    reads = "decoder"
