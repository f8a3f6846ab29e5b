"""BERT: a frozen one of Hugging Face as a teacher of tokens, and a small one to be trained."""

import hashlib
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from speechbrain.dataio.batch import PaddedData
from torch import nn

from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.hub import import_transformers, quiet, read_vocabulary
from speechbrain_recursive.nn.firing import without_autocast
from speechbrain_recursive.nn.padding import pad_mask

LIKE_BERT = ("bert", "distilbert", "electra", "ernie")
MARKS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MOST_UNKNOWN = 0.1  # share of a run's tokens that a BERT need not know; our choice


def masked_lm(
    n_tokens: int,
    d_model: int,
    nhead: int,
    d_ffn: int,
    num_layers: int,
    dropout: float = 0.1,
    initializer_range: float = 0.02,
) -> nn.Module:
    """Hugging Face's ``BertForMaskedLM`` with random weights, for the tokens of a recipe.

    Its vocabulary is `MARKS`, followed by the tokenizer's pieces of text.

    Arguments
    ---------
    n_tokens : int
        Size of the tokenizer, which has <blank>, <bos>, <eos> and <unk>.
    d_model, nhead, d_ffn, num_layers : int
        Width, attention heads, inner width and number of layers.
    dropout : float
        Of states and attention weights.
    initializer_range : float
        Standard deviation of the initial weights. The default is Hugging Face's; narrow models learn
        faster from about d_model^(-1/2).

    Returns
    -------
    torch.nn.Module

    Example
    -------
    >>> masked_lm(20, d_model=8, nhead=2, d_ffn=16, num_layers=1).config.vocab_size
    21
    """
    transformers = import_transformers()
    config = transformers.BertConfig(
        vocab_size=n_tokens - 4 + len(MARKS),
        hidden_size=d_model,
        num_attention_heads=nhead,
        intermediate_size=d_ffn,
        num_hidden_layers=num_layers,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=initializer_range,
    )
    return transformers.BertForMaskedLM(config)


class BertIds:
    """From a tokenizer's ids to those of a BERT, one to one (CIF-HKD, Section 2.1.2).

    Arguments
    ---------
    tokenizer : object
        With ``words``, as WordPiece and Chinese characters have, and ``eos``.
    vocabulary : sequence of str
        BERT's pieces, by id.

    Attributes
    ----------
    table : torch.LongTensor
        BERT's id of each token; <eos> is [SEP], and what BERT does not know is [UNK].
    unknown : list of str
        What BERT does not know.

    Raises
    ------
    UserError
        If the tokens are not of this kind, or BERT knows too few of them.
    """

    def __init__(self, tokenizer: Any, vocabulary: Sequence[str]):
        if tokenizer.words is None or tokenizer.eos is None:
            raise UserError(
                "BERT cannot read the tokens of this run: set token_type to wordpiece, or to char for "
                "Chinese, with <bos> and <eos>"
            )
        ids = {piece: i for i, piece in enumerate(vocabulary)}
        self.cls, unk = ids["[CLS]"], ids["[UNK]"]
        words = ["" if word is None else word for word in tokenizer.words]
        found = [ids.get(word, ids.get(word.lower(), unk)) for word in words]
        real = [i for i, word in enumerate(words) if word and unicodedata.category(word[0]) != "Co"]
        self.unknown = [words[i] for i in real if found[i] == unk]
        if len(self.unknown) > MOST_UNKNOWN * len(real):
            raise UserError(
                f"it knows {len(real) - len(self.unknown)} of this run's {len(real)} tokens: its "
                "language or its vocabulary is another"
            )
        found[tokenizer.eos] = ids["[SEP]"]
        self.table = torch.tensor(found)

    def __call__(self, tokens_eos: PaddedData) -> tuple[torch.Tensor, torch.Tensor]:
        """[CLS], the tokens, [SEP].

        Arguments
        ---------
        tokens_eos : PaddedData
            Tokens and <eos> [B, I].

        Returns
        -------
        torch.LongTensor
            BERT's ids [B, I + 1].
        torch.BoolTensor
            False on padding [B, I + 1].
        """
        tokens, lengths = tokens_eos
        counts = torch.round(lengths * tokens.shape[1]).long()
        ids = nn.functional.pad(self.table.to(tokens.device)[tokens], (1, 0), value=self.cls)
        return ids, ~pad_mask(counts + 1, ids.shape[1])


class Bert:
    """A frozen BERT, which gives a state for each token and <eos> of a batch.

    Arguments
    ---------
    source : str or pathlib.Path
        Its name at Hugging Face, or its folder.
    tokenizer : object
        See :class:`BertIds`.
    device : torch.device or str
        Where it runs.

    Attributes
    ----------
    width : int
        Of its states.
    ids : BertIds
        From the tokenizer's ids to its own.

    Raises
    ------
    UserError
        If there is no such model, it is not BERT-like, or it does not know the tokens.
    """

    def __init__(self, source: str | Path, tokenizer: Any, device: torch.device | str = "cpu"):
        self.source = str(source)
        self.model, self._vocabulary = _load(self.source)
        try:
            self.ids = BertIds(tokenizer, self._vocabulary)
        except UserError as error:
            raise UserError(f"bert: {source}: {error}") from None
        self.model = self.model.eval().requires_grad_(False).to(device)
        self.width = self.model.config.hidden_size

    @torch.no_grad()
    def __call__(self, tokens_eos: PaddedData) -> torch.Tensor:
        """The last layer's states without [CLS], in float32.

        Arguments
        ---------
        tokens_eos : PaddedData
            Tokens and <eos> [B, I].

        Returns
        -------
        torch.Tensor
            [B, I, D].

        Raises
        ------
        UserError
            If there are more tokens than BERT has positions.
        """
        ids, real = self.ids(tokens_eos)
        if ids.shape[1] > (most := self.model.config.max_position_embeddings):
            raise UserError(
                f"bert: {self.source} reads {most - 2} tokens, an utterance has {ids.shape[1] - 2}"
            )
        with without_autocast(self.model.get_input_embeddings().weight):
            states = self.model(input_ids=ids, attention_mask=real.long()).last_hidden_state
        return states[:, 1:]

    def digest(self) -> str:
        """SHA-256 of its weights and of the ids that it reads for the tokenizer's."""
        found = hashlib.sha256(self.ids.table.numpy().tobytes())
        for name, value in sorted(self.model.state_dict().items()):
            if not name.startswith("pooler."):  # which the states do not pass
                found.update(name.encode())
                found.update(value.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()


def _load(source):
    """The model without a head, and its vocabulary."""
    if not Path(source).is_dir() and source.count("/") > 1:
        raise UserError(
            f"bert: there is no folder {source}: train it first, or give the folder of a BERT or its "
            "name at Hugging Face with --bert"
        )
    transformers = import_transformers()
    try:
        config = transformers.AutoConfig.from_pretrained(source)
        if config.model_type not in LIKE_BERT:
            raise UserError(
                f"bert: {source} is not BERT-like but of the type {config.model_type}: give a model of "
                f"the type {', '.join(LIKE_BERT)}"
            )
        vocabulary = read_vocabulary(source, "bert")
        with quiet(transformers):
            model, report = transformers.AutoModel.from_pretrained(
                source, output_loading_info=True, dtype=torch.float32
            )
    except UserError:
        raise
    except Exception as error:  # whatever networks, hubs and damaged files raise
        raise UserError(
            f"bert: {source} cannot be loaded: {one_line(error, 250)}; where there is no network, give "
            "the folder of a copy with --bert"
        ) from error
    if missing := sorted(key for key in report["missing_keys"] if not key.startswith("pooler.")):
        raise UserError(f"bert: {source} lacks {', '.join(missing[:3])} ({len(missing)} in all)")
    if config.vocab_size < len(vocabulary):
        raise UserError(
            f"bert: {source} has {config.vocab_size} embeddings, its vocab.txt {len(vocabulary)} pieces"
        )
    return model, vocabulary
