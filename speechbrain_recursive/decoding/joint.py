"""Joint CTC/attention beam search with shallow fusion, by SpeechBrain's searcher and scorers."""

from pathlib import Path

import torch
from speechbrain.decoders.scorer import CTCScorer, KenLMScorer, ScorerBuilder, TransformerLMScorer
from speechbrain.decoders.seq2seq import S2STransformerBeamSearcher

from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError


class RowwiseSearcher(S2STransformerBeamSearcher):
    """SpeechBrain's searcher with the longest hypothesis counted from each utterance's own frames.

    The stock one counts from the padded length, so that the result depends on the other utterances, and
    drops the last token of hypotheses that it cuts. Here a hypothesis at its limit may only end. Neither
    blank nor bos is ever a hypothesis.

    Arguments
    ---------
    blank_index : int
        Index of the blank.
    **kwargs
        See ``S2STransformerBeamSearcher``; ``min_decode_ratio`` has no effect.
    """

    def __init__(self, blank_index, **kwargs):
        super().__init__(**kwargs)
        self.blank_index = blank_index

    def forward(self, enc_states, frames):
        """Searches a batch.

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
        """One step beyond the longest limit, to end in; the CTC scorer fails at any later one."""
        return 0, int(self.limits.max()) + 1

    def set_n_out(self):
        """Size of the vocabulary; the stock method knows SpeechBrain's ``Linear`` only."""
        return self.fc.out_features

    def _set_eos_minus_inf_step(self, log_probs, step, min_decode_steps):
        allowed = (step < self.limits)[:, None] & self.words
        allowed[:, self.eos_index] = True
        return log_probs.masked_fill(~allowed, self.minus_inf)


class JointBeam:
    """Finds the tokens that the attention decoder, CTC and the language models agree on best.

    The score is (1 - ctc_weight) log p_att + ctc_weight log p_ctc + lm_weight log p_lm
    + ngram_weight log p_ngram, divided by the number of tokens. CTC and the n-gram score only the
    ``candidates * beam_size`` tokens that the decoder and the Transformer LM like best.

    Arguments
    ---------
    model : torch.nn.Module
        An ASR model: ``transformer``, a SpeechBrain ``TransformerASR``, and the output layers
        ``seq_lin`` and ``ctc_lin``, each from d to V. It must be in eval mode when the search runs.
    tokenizer : object
        With ``pieces``, ``blank``, ``bos``, ``eos`` and ``unk``.
    beam_size : int
        Number of hypotheses.
    ctc_weight : float
        Weight of CTC, from 0 to below 1.
    lm : torch.nn.Module or None
        SpeechBrain's ``TransformerLM`` over the same tokens.
    lm_weight : float
        Weight of ``lm``.
    ngram : str, Path or None
        KenLM file over tokens; see :func:`estimate_token_ngram`.
    ngram_weight : float
        Weight of ``ngram``.
    max_decode_ratio : float
        Longest hypothesis in tokens per encoder frame, above 0 and up to 1.
    candidates : float
        How many tokens CTC and the n-gram score for each hypothesis, as a multiple of ``beam_size``.

    Raises
    ------
    UserError
        If the n-gram is missing, there is no attention decoder, bos or eos, or a number is out
        of range.

    Example
    -------
    >>> joint = JointBeam(model, tokenizer, beam_size=8, ctc_weight=0.4)  # doctest: +SKIP
    >>> [tokenizer.decode(ids) for ids in joint(encoded, frames)]  # doctest: +SKIP
    """

    def __init__(
        self,
        model,
        tokenizer,
        beam_size=8,
        ctc_weight=0.4,
        lm=None,
        lm_weight=0.0,
        ngram=None,
        ngram_weight=0.0,
        max_decode_ratio=1.0,
        candidates=1.5,
    ):
        if model.seq_lin is None or tokenizer.bos is None or tokenizer.eos is None:
            raise UserError(
                "the joint search needs an attention decoder, and a tokenizer with bos and eos"
            )
        if not 0 <= ctc_weight < 1:
            raise UserError(
                f"ctc_weight {ctc_weight}: must be from 0 to below 1; CTC alone has decoders of its own"
            )
        if not 0 < max_decode_ratio <= 1:
            raise UserError(
                f"max_decode_ratio {max_decode_ratio}: must be above 0 and at most 1 token a frame"
            )
        full, partial, weights = [], [], {}
        if lm is not None:
            full.append(TransformerLMScorer(lm))
            weights["transformerlm"] = lm_weight
        if ctc_weight > 0:
            partial.append(CTCScorer(model.ctc_lin, tokenizer.blank, tokenizer.eos))
            weights["ctc"] = ctc_weight
        if ngram is not None:
            if not Path(ngram).is_file():
                raise UserError(f"no n-gram at {Path(ngram).resolve()}")
            partial.append(KenLMScorer(str(ngram), len(tokenizer.pieces), _kenlm_names(tokenizer)))
            weights["kenlm"] = ngram_weight
        self.searcher = RowwiseSearcher(
            blank_index=tokenizer.blank,
            modules=[model.transformer, model.seq_lin],
            bos_index=tokenizer.bos,
            eos_index=tokenizer.eos,
            min_decode_ratio=0.0,
            max_decode_ratio=max_decode_ratio,
            beam_size=beam_size,
            using_eos_threshold=False,
            length_normalization=True,
            scorer=ScorerBuilder(weights, full, partial, candidates) if weights else None,
        )

    @torch.no_grad()  # under inference_mode, cached positional encodings would break later training
    def __call__(self, encoded, frames):
        """Decodes a batch.

        Arguments
        ---------
        encoded : torch.Tensor
            Encoder output [B, T, d].
        frames : torch.Tensor
            Number of frames of each utterance [B]; 0 gives no tokens.

        Returns
        -------
        list of list of int
            Token ids of each utterance, without bos and eos.
        """
        found = [[] for _ in range(len(encoded))]
        rows = torch.nonzero(frames > 0).flatten().tolist()
        if rows:
            heard = frames[rows].to(encoded.device)
            hypotheses = self.searcher(encoded[rows, : int(heard.max())], heard)[0]
            for row, tokens in zip(rows, hypotheses, strict=True):
                found[row] = tokens
        return found


def _kenlm_names(tokenizer):
    """What KenLM calls each token."""
    names = list(tokenizer.pieces)
    for index, name in (
        (tokenizer.bos, "<s>"),
        (tokenizer.eos, "</s>"),
        (tokenizer.blank, "<unk>"),
    ):
        names[index] = name
    if tokenizer.unk is not None:
        names[tokenizer.unk] = "<unk>"
    return names


def estimate_token_ngram(text, tokenizer, arpa, order=6):
    """Estimates an n-gram over tokens, for :class:`JointBeam`.

    Arguments
    ---------
    text : iterable of str
        Sentences.
    tokenizer : object
        With ``pieces`` and ``encode``.
    arpa : str or Path
        The ARPA file to write.
    order : int
        Length of the longest n-gram in tokens.

    Returns
    -------
    Path
        ``arpa``.
    """
    pieces = tokenizer.pieces
    return estimate_ngram(
        (" ".join(pieces[i] for i in tokenizer.encode(line)) for line in text), arpa, order
    )
