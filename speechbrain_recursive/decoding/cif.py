"""Beam search over the fired states of CIF, with shallow fusion of a Transformer language model."""

from dataclasses import dataclass
from functools import partial

import torch

from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.request import Request


@dataclass(frozen=True)
class CifBeam(Decoder):
    """Finds the tokens with the best joint score of the CIF decoder and a language model.

    Every fired state takes one token. A hypothesis ends with <eos>, or when it has used up its states:
    then the language model alone scores its end. Since all hypotheses of an utterance have the same
    states, scores are not normalized by length. An utterance is decoded as if it were alone.

    Arguments
    ---------
    beam_size : int
        Hypotheses that are kept; 1 is greedy decoding.
    lm : str, optional
        Results folder of a Transformer language model with the same tokens.
    lm_weight : float
        Its weight; 1 is that of the decoder.

    Raises
    ------
    UserError
        If ``beam_size`` is below 1. :meth:`check` raises it if the model or the tokenizer lacks what
        the search needs, or if the language model does not fit.

    Example
    -------
    >>> decode = CifBeam(beam_size=10).build(setting)  # doctest: +SKIP
    >>> [tokenizer.decode(ids) for ids in decode(outputs)]  # doctest: +SKIP
    """

    request = Request()
    beam_size: int = 10
    lm: str | None = None
    lm_weight: float = 0.0

    def __post_init__(self):
        if self.beam_size < 1:
            raise UserError(f"beam_size {self.beam_size}: must be at least 1")

    def check(self, setting: Setting) -> None:
        """Check parts, tokens and language model; see :meth:`Decoder.check`."""
        model = setting.model
        parts = [name for name in ("cif", "decoder") if name not in model.after]
        missing = [f"the model has no part '{name}'" for name in parts]
        if "seq2seq" not in model.heads:
            missing.append("the model has no seq2seq head")
        if setting.tokenizer.bos is None or setting.tokenizer.eos is None:
            missing.append("the tokenizer has no bos and eos")
        if missing:
            raise UserError(
                f"the CIF search cannot run: {' and '.join(missing)}; recipes/common/cif.yaml has them"
            )
        if self.lm is not None:
            setting.load_lm(self.lm)

    def build(self, setting: Setting) -> Decode:
        """Load the language model and make the search; see :meth:`Decoder.build`."""
        model, tokenizer = setting.model, setting.tokenizer
        decoder, linear = model.after["decoder"], model.heads["seq2seq"].linear
        lm = None if self.lm is None else setting.load_lm(self.lm)

        def score(tokens, fired):
            """What decoder and language model say of the next token, each [N, V]."""
            said = linear(decoder.decode(tokens, fired)[:, -1]).float().log_softmax(-1)
            fused = 0.0 if lm is None else self.lm_weight * lm(tokens)[:, -1].float().log_softmax(-1)
            return said, fused

        marks = tokenizer.blank, tokenizer.bos, tokenizer.eos
        return partial(_search, score, marks, self.beam_size)


@torch.no_grad()
def _search(score, marks, width, outputs):
    """Token ids of each utterance, without bos and eos; one that fires nothing has none."""
    blank, bos, eos = marks
    state = outputs.states["cif"]
    counts, size = state.frames, int(state.frames.max())
    fired = state.x[:, :size].repeat_interleave(width, 0)
    batch, device = len(counts), fired.device
    tokens = torch.full((batch, width, 1), bos, device=device)
    scores = torch.full((batch, width), -torch.inf, device=device)
    scores[:, 0] = 0.0  # of equal hypotheses, one
    ended = torch.zeros(batch, width, dtype=torch.bool, device=device)
    for step in range(size + 1):
        said, fused = score(tokens.flatten(0, 1), fired)
        said[:, [blank, bos]] = -torch.inf
        spent = (counts <= step).repeat_interleave(width)
        said = _only(said, spent, eos) + fused
        said = _only(said, ended.flatten(), eos)
        total = scores[..., None] + said.unflatten(0, (batch, width))
        scores, best = total.flatten(1).topk(width)
        parent, token = best // said.shape[1], best % said.shape[1]
        tokens = torch.cat([tokens.gather(1, parent[..., None].expand_as(tokens)), token[..., None]], 2)
        ended = token == eos
        if (ended | scores.isneginf()).all():
            break
    return [row[: row.index(eos)] for row in tokens[:, 0, 1:].tolist()]


def _only(said, rows, token):
    """Log-probabilities [N, V], in which some rows [N] say one token."""
    certain = torch.full_like(said, -torch.inf)
    certain[:, token] = 0.0
    return torch.where(rows[:, None], certain, said)
