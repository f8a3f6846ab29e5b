"""From waveform to token log-probabilities: the module that is trained, published and exported."""

from dataclasses import dataclass, field, replace

import torch
from speechbrain.lobes.models.convolution import ConvolutionFrontEnd
from torch import nn

from speechbrain_recursive.nn.frontend import FrontEnd


@dataclass
class Outputs:
    """What an ASR model computes for a batch.

    Arguments
    ---------
    encoded : torch.Tensor
        Encoder output after its final norm [B, T, d].
    frames : torch.LongTensor
        Absolute counts of real encoder frames [B].
    log_probs : torch.Tensor
        CTC log-posteriors [B, T, V], float32.
    decoded : torch.Tensor, optional
        Log-posteriors of the attention decoder [B, U, V] under teacher forcing, float32.
    taps : dict of int to torch.Tensor
        Hidden states [B, T, d] of the tapped steps, before the final norm.
    exits : dict of int to torch.Tensor
        CTC log-posteriors [B, T, V] of exits after those steps, float32.
    """

    encoded: torch.Tensor
    frames: torch.Tensor
    log_probs: torch.Tensor
    decoded: torch.Tensor | None = None
    taps: dict = field(default_factory=dict)
    exits: dict = field(default_factory=dict)


class ASRModel(nn.Module):
    """Features, front-end, recursive encoder, CTC head and, if there is a decoder, its head.

    An utterance gives the same result alone and in any batch.

    Arguments
    ---------
    compute_features : torch.nn.Module
        SpeechBrain's ``Fbank``.
    normalize : torch.nn.Module
        SpeechBrain's ``InputNormalization`` with ``norm_type: sentence``.
    frontend : torch.nn.Module
        SpeechBrain's ``ConvolutionFrontEnd``, or a module that takes and gives frame counts as
        :class:`~speechbrain_recursive.nn.frontend.FrontEnd` does.
    transformer : RecursiveTransformerASR
        With ``num_decoder_layers: 0`` the ASR model is CTC-only.
    d_model : int
        Width of the transformer.
    n_tokens : int
        Size of the vocabulary with its special tokens.

    Raises
    ------
    ValueError
        If the front-end's convolutions do not pad by reflection, or the normalizer keeps statistics,
        which would not travel with the weights.
    """

    def __init__(self, compute_features, normalize, frontend, transformer, d_model, n_tokens):
        super().__init__()
        if normalize.norm_type != "sentence":
            raise ValueError(f"norm_type is {normalize.norm_type}; the ASR model needs sentence")
        self.compute_features = compute_features
        self.normalize = normalize
        self.frontend = FrontEnd(frontend) if isinstance(frontend, ConvolutionFrontEnd) else frontend
        self.transformer = transformer
        self.ctc_lin = nn.Linear(d_model, n_tokens)
        self.seq_lin = nn.Linear(d_model, n_tokens) if hasattr(transformer, "decoder") else None

    @property
    def sample_rate(self):
        """Samples per second that the features expect (int)."""
        return self.compute_features.compute_STFT.sample_rate

    @property
    def schedule(self):
        """The schedule that the encoder was built for (Schedule)."""
        return self.transformer.encoder.schedule

    def at(self, loops):
        """The schedule at given loop counts (Schedule); see :meth:`RecursiveEncoder.at`."""
        return self.transformer.encoder.at(loops)[0]

    def parts(self):
        """Its parts by name (dict of str to torch.nn.Module), for counting parameters."""
        transformer = self.transformer
        found = {"encoder": transformer.encoder, "frontend": self.frontend, "ctc head": self.ctc_lin}
        if self.seq_lin is not None:
            found["decoder"] = nn.ModuleList([transformer.decoder, transformer.custom_tgt_module])
            found["seq2seq head"] = self.seq_lin
        return {**found, "input projection": transformer.custom_src_module}

    def forward(
        self,
        wavs,
        wav_lens,
        tokens_bos=None,
        loops=None,
        taps=(),
        exits=(),
        augment=None,
        dynchunktrain_config=None,
    ):
        """Recognize a batch of waveforms.

        Arguments
        ---------
        wavs : torch.Tensor
            [B, S], 16 kHz, zero-padded.
        wav_lens : torch.Tensor
            Relative lengths [B].
        tokens_bos : torch.LongTensor, optional
            Tokens that start with <bos>, padded with blanks [B, U]; decodes with teacher forcing.
        loops : int, dict or torch.LongTensor, optional
            Loop counts, see :meth:`RecursiveEncoder.run`.
        taps : iterable of int
            Steps to keep hidden states of.
        exits : iterable of int
            Steps, each the end of a loop, after which the rest of the encoder and the CTC head run as
            if the loop had been the block's last.
        augment : callable, optional
            From features [B, T, F] and relative lengths [B] to augmented features of the same shape.
        dynchunktrain_config : DynChunkTrainConfig, optional
            Chunked attention and convolution.

        Returns
        -------
        Outputs
        """
        features, frames = self.features(wavs, wav_lens)
        if augment is not None:
            features = augment(features, frames / features.shape[1])
        return self.from_features(features, frames, tokens_bos, loops, taps, exits, dynchunktrain_config)

    def from_features(
        self,
        features,
        frames,
        tokens_bos=None,
        loops=None,
        taps=(),
        exits=(),
        dynchunktrain_config=None,
    ):
        """Recognize a batch of normalized features [B, T, F] of so many real frames [B].

        The other arguments and the result are those of :meth:`forward`.
        """
        x, frames = self.frontend(features, frames)
        state = self.transformer.enter(x, frames / x.shape[1], dynchunktrain_config)
        encoder, state = self.transformer.encoder, replace(state, readout=self.readout)
        taps, exits = set(taps), set(exits)
        trace = encoder.run(state, None, loops, taps | exits)
        frames, encoded = trace.state.frames, encoder.norm(trace.state.x)
        decoded = None
        if tokens_bos is not None and self.seq_lin is not None:
            states = self.transformer.decode_forced(tokens_bos, encoded, trace.state.pad)
            decoded = self.seq_lin(states).float().log_softmax(-1)
        log_probs = self.ctc_lin(encoded).float().log_softmax(-1)
        return Outputs(
            encoded,
            frames,
            log_probs,
            decoded,
            {index: x for index, x in trace.taps.items() if index in taps},
            self._exits(state, loops, log_probs, trace.taps, exits),
        )

    def _exits(self, state, loops, log_probs, taps, exits):
        """Log-posteriors by step, of those steps that are exits."""
        schedule, found = self.at(loops), {}
        steps = list(schedule)
        for index in exits:
            if index == schedule.ends(steps[index].block)[-1]:
                found[index] = log_probs
            else:
                left = replace(state, x=taps[index])
                left = self.transformer.encoder.leave(left, steps[index].block, loops)
                found[index] = self.readout(left.x).float().log_softmax(-1)
        return found

    def features(self, wavs, wav_lens):
        """Normalized log-Mel features.

        Arguments
        ---------
        wavs : torch.Tensor
            [B, S].
        wav_lens : torch.Tensor
            Relative lengths [B].

        Returns
        -------
        torch.Tensor
            [B, T, F].
        torch.LongTensor
            Absolute frame counts [B].
        """
        samples = torch.round(wav_lens.double() * wavs.shape[1]).long()
        frames = 1 + samples // self.compute_features.compute_STFT.hop_length
        features = self.compute_features(wavs)
        # The normalizer takes every frame below length * T, so half a frame keeps it off rounding.
        return self.normalize(features, (frames - 0.5) / features.shape[1]), frames

    def readout(self, x):
        """Token logits [B, T, V] of hidden states [B, T, d] from anywhere in the encoder."""
        return self.ctc_lin(self.transformer.encoder.norm(x))
