"""Joint CTC/attention beam search with shallow fusion, by SpeechBrain's searcher and scorers."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from speechbrain.decoders.scorer import CTCScorer, ScorerBuilder, TransformerLMScorer
from speechbrain.decoders.seq2seq import S2STransformerBeamSearcher

from speechbrain_recursive.decoding.decoder import Decode, Decoder, Setting
from speechbrain_recursive.decoding.ngram import check_order
from speechbrain_recursive.decoding.scorer import KenLMScorer
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.request import Request


class RowwiseSearcher(S2STransformerBeamSearcher):
    """SpeechBrain's searcher with a length limit that depends on each utterance's own frames.

    The stock limit depends on the padded length, so results change with the other utterances of a
    batch, and hypotheses that reach it lose their last token. Here a hypothesis at its limit can only
    end. Blank and bos are never part of a hypothesis.

    Arguments
    ---------
    blank_index : int
        Index of the blank.
    **kwargs
        See ``S2STransformerBeamSearcher``; ``min_decode_ratio`` has no effect.
    """

    def __init__(self, blank_index: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.blank_index = blank_index

    def forward(self, enc_states: torch.Tensor, frames: torch.Tensor) -> tuple:
        """Search a batch.

        Arguments
        ---------
        enc_states : torch.Tensor
            Encoder output [B, T, d].
        frames : torch.Tensor
            Number of frames of each utterance [B], at least 1.

        Returns
        -------
        tuple
            What ``S2SBeamSearcher`` returns, the hypotheses first.
        """
        self.words = torch.ones(self.set_n_out(), dtype=torch.bool, device=enc_states.device)
        self.words[[self.blank_index, self.bos_index]] = False
        limits = (frames * self.max_decode_ratio).long().clamp(min=1)
        self.limits = limits.repeat_interleave(self.beam_size)
        return super().forward(enc_states, frames / enc_states.shape[1])

    def change_max_decoding_length(self, min_decode_steps, max_decode_steps):
        """Allow one step past the longest limit, to end in; the CTC scorer fails at any later step."""
        return 0, int(self.limits.max()) + 1

    def set_n_out(self):
        """Size of the vocabulary; the stock method expects SpeechBrain's ``Linear``."""
        return self.fc.out_features

    def _set_eos_minus_inf_step(self, log_probs, step, min_decode_steps):
        allowed = (step < self.limits)[:, None] & self.words
        allowed[:, self.eos_index] = True
        return log_probs.masked_fill(~allowed, self.minus_inf)


@dataclass(frozen=True)
class JointBeam(Decoder):
    """Finds the tokens with the best joint score of attention decoder, CTC and language models.

    The score is (1 - ctc_weight) log p_att + ctc_weight log p_ctc + lm_weight log p_lm
    + ngram_weight log p_ngram, divided by the number of tokens. CTC and the n-gram score only the
    ``candidates * beam_size`` tokens that the decoder and the Transformer LM rank highest. The search
    runs at the trained depth alone.

    Arguments
    ---------
    beam_size : int
        Number of hypotheses.
    ctc_weight : float
        Weight of CTC, from 0 to below 1.
    lm : str, optional
        Results folder of a Transformer language model over the same tokens.
    lm_weight : float
        Weight of ``lm``.
    ngram_weight : float
        Weight of an n-gram over tokens. If positive, the n-gram is estimated from the training
        transcripts and written to the results folder, for example to ``tokens6.arpa`` at order 6.
    ngram_order : int
        Length in tokens of its longest n-gram, 2 to 6.
    max_decode_ratio : float
        Longest hypothesis in tokens per encoder frame, above 0 and up to 1.
    candidates : float
        How many tokens CTC and the n-gram score for each hypothesis, as a multiple of ``beam_size``.
    temperature : float
        Divides the logits of the attention decoder and of ``lm``; above 0.

    Raises
    ------
    UserError
        If a number is out of range. :meth:`check` raises it if the model or the tokenizer lacks what the
        search needs, or if the language model does not fit.

    Example
    -------
    >>> decode = JointBeam(beam_size=8, ctc_weight=0.4).build(setting)  # doctest: +SKIP
    >>> [tokenizer.decode(ids) for ids in decode(outputs)]  # doctest: +SKIP
    """

    request = Request()
    trained_only = True
    beam_size: int = 8
    ctc_weight: float = 0.4
    lm: str | None = None
    lm_weight: float = 0.0
    ngram_weight: float = 0.0
    ngram_order: int = 6
    max_decode_ratio: float = 1.0
    candidates: float = 1.5
    temperature: float = 1.0

    def __post_init__(self):
        check_order(self.ngram_order, least=2)
        if not 0 <= self.ctc_weight < 1:
            raise UserError(f"ctc_weight {self.ctc_weight}: must be at least 0 and below 1")
        if not 0 < self.max_decode_ratio <= 1:
            raise UserError(f"max_decode_ratio {self.max_decode_ratio}: must be above 0 and at most 1")
        if self.temperature <= 0:
            raise UserError(f"temperature {self.temperature}: must be above 0")

    def check(self, setting: Setting) -> None:
        """Check heads, tokens and language model; see :meth:`Decoder.check`."""
        needed = ["seq2seq", "ctc"] if self.ctc_weight > 0 else ["seq2seq"]
        missing = [f"the model has no {name} head" for name in needed if name not in setting.model.heads]
        if setting.tokenizer.bos is None or setting.tokenizer.eos is None:
            missing.append("the tokenizer has no bos and eos")
        if missing:
            raise UserError(
                f"the joint search cannot run: {' and '.join(missing)}; remove it in the YAML file: "
                "`decoders: {joint: !remove}`"
            )
        if self.lm is not None:
            setting.load_lm(self.lm)

    def build(self, setting: Setting) -> Decode:
        """Load language models, estimate the n-gram and make the search; see :meth:`Decoder.build`."""
        tokenizer, heads, pieces = setting.tokenizer, setting.model.heads, setting.tokenizer.pieces
        full, part, weights = [], [], {}
        if self.lm is not None:
            full.append(TransformerLMScorer(setting.load_lm(self.lm), self.temperature))
            weights["transformerlm"] = self.lm_weight
        if self.ctc_weight > 0:
            part.append(CTCScorer(heads["ctc"].linear, tokenizer.blank, tokenizer.eos))
            weights["ctc"] = self.ctc_weight
        if self.ngram_weight > 0:
            order = self.ngram_order
            arpa = setting.own_ngram(
                f"tokens{order}.arpa",
                order,
                lambda line: " ".join(pieces[i] for i in tokenizer.encode(line)),
            )
            # Blank, bos, eos and unk stand before the pieces of text.
            names = ["<unk>", "<s>", "</s>", "<unk>", *pieces[tokenizer.unk + 1 :]]
            part.append(KenLMScorer(arpa, names))
            weights["kenlm"] = self.ngram_weight
        searcher = RowwiseSearcher(
            blank_index=tokenizer.blank,
            modules=[heads["seq2seq"], heads["seq2seq"].linear],
            bos_index=tokenizer.bos,
            eos_index=tokenizer.eos,
            min_decode_ratio=0.0,
            max_decode_ratio=self.max_decode_ratio,
            beam_size=self.beam_size,
            temperature=self.temperature,
            using_eos_threshold=False,
            scorer=ScorerBuilder(weights, full, part, self.candidates) if weights else None,
        )
        return partial(_search, searcher)


@torch.no_grad()  # positional encodings cached in inference_mode would break later training
def _search(searcher, outputs):
    """Token ids of each utterance, without bos and eos; an utterance of no frames has none."""
    encoded, frames = outputs.encoded, outputs.frames
    found = [[] for _ in range(len(encoded))]
    rows = torch.nonzero(frames > 0).flatten().tolist()
    if rows:
        counts = frames[rows].to(encoded.device)
        hypotheses = searcher(encoded[rows, : int(counts.max())], counts)[0]
        for row, tokens in zip(rows, hypotheses, strict=True):
            found[row] = tokens
    return found
