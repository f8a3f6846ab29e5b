"""A model in parts: embedding, recursive encoder, what follows it, heads."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.encoder import RecursiveEncoder
from speechbrain_recursive.nn.layer_dropout import Numbers
from speechbrain_recursive.nn.request import Outputs, Request, Run
from speechbrain_recursive.nn.schedule import Schedule
from speechbrain_recursive.nn.state import State


class ASRModel(nn.Module):
    """From waveform to token log-posteriors: the module that is trained, published and exported.

    An utterance gives the same result alone and in any batch.

    Arguments
    ---------
    embed : torch.nn.Module
        From features to the first state, such as
        :class:`~speechbrain_recursive.nn.embed.FilterbankEmbedding`.
    encoder : RecursiveEncoder
        Runs a schedule.
    heads : mapping of str to torch.nn.Module
        Each takes a State. Its ``targets`` name what it needs of the state's memory, and its ``reads``
        the part that its state comes from: ``encoder``, or one of ``after``. A head named ``ctc`` lends
        the encoder its readout, for posterior feedback and adaptive exit.
    after : mapping of str to torch.nn.Module, optional
        Parts from State to State behind the encoder's final norm, in order.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from speechbrain.processing.features import InputNormalization
    >>> from speechbrain_recursive.nn.embed import FilterbankEmbedding
    >>> from speechbrain_recursive.nn.frontend import ConvSubsampling
    >>> from speechbrain_recursive.nn.heads import CTCHead
    >>> from speechbrain_recursive.nn.larm import RopeEncoder
    >>> from speechbrain_recursive.nn.schedule import cycle
    >>> normalize = InputNormalization(norm_type="sentence")
    >>> embed = FilterbankEmbedding(Fbank(n_mels=40), normalize, ConvSubsampling(4), 40, d_model=16)
    >>> encoder = RecursiveEncoder(RopeEncoder(2, d_model=16, nhead=2, d_ffn=64), cycle(2, loops=3))
    >>> model = ASRModel(embed, encoder, {"ctc": CTCHead(16, n_tokens=30)}).eval()
    >>> wavs, wav_lens = torch.rand(2, 16000), torch.ones(2)
    >>> model(wavs, wav_lens, depth=model.depth(5)).log_probs.shape
    torch.Size([2, 26, 30])
    """

    def __init__(
        self,
        embed: nn.Module,
        encoder: RecursiveEncoder,
        heads: Mapping[str, nn.Module],
        after: Mapping[str, nn.Module] | None = None,
    ):
        super().__init__()
        self.embed = embed
        self.encoder = encoder
        self.after = nn.ModuleDict(after or {})
        self.heads = nn.ModuleDict(heads)

    @property
    def sample_rate(self) -> int:
        """Samples per second of the waveforms."""
        return self.embed.sample_rate

    @property
    def frame_seconds(self) -> float:
        """Seconds between the encoder's frames.

        Frame k is centered at k times as many, unless hooks pool the frames.
        """
        return self.embed.frame_seconds * self.encoder.stride

    @property
    def schedule(self) -> Schedule:
        """The schedule that the encoder was built for."""
        return self.encoder.schedule

    def depth(self, request: Any = None) -> Depth:
        """Resolve a request for a depth of this model; see :meth:`Depth.of`."""
        return Depth.of(self.schedule, request)

    def parts(self) -> dict[str, nn.Module]:
        """The model's parts by name, for counting parameters."""
        heads = {f"{name} head": head for name, head in self.heads.items()}
        return {"encoder": self.encoder, "embed": self.embed, **self.after, **heads}

    def forward(
        self,
        wavs: torch.Tensor,
        wav_lens: torch.Tensor,
        targets: Mapping[str, torch.Tensor] | None = None,
        depth: Depth | None = None,
        request: Request | None = None,
        augment: Callable | None = None,
        dynchunktrain_config: Any = None,
    ) -> Outputs:
        """Run the model on a batch of waveforms.

        Arguments
        ---------
        wavs : torch.Tensor
            [B, S] at ``sample_rate``, zero-padded.
        wav_lens : torch.Tensor
            Relative lengths [B].
        targets : mapping of str to torch.Tensor, optional
            Batch-first tensors for the heads that need them, such as ``tokens_bos`` [B, U].
        depth : Depth, optional
            The schedule's own by default.
        request : Request, optional
            What is wanted; by default every head that needs no targets.
        augment : callable, optional
            From features [B, T, F] and relative lengths [B] to augmented features of the same shape.
        dynchunktrain_config : DynChunkTrainConfig, optional
            Chunked attention and convolution.

        Returns
        -------
        Outputs
        """
        features, frames = self.embed.features(wavs, wav_lens)
        if augment is not None:
            features = augment(features, frames / features.shape[1])
        return self.from_features(features, frames, targets, depth, request, dynchunktrain_config)

    def from_features(
        self,
        features: torch.Tensor,
        frames: torch.Tensor,
        targets: Mapping[str, torch.Tensor] | None = None,
        depth: Depth | None = None,
        request: Request | None = None,
        dynchunktrain_config: Any = None,
    ) -> Outputs:
        """Run the model on features [B, T, F] of so many real frames [B]; see :meth:`forward`.

        Raises
        ------
        UserError
            If a head is asked for that the model lacks.
        ValueError
            If the targets of a head are missing.
        """
        if request is None:
            request = Request(heads=[name for name, head in self.heads.items() if not head.targets])
        state = self.embed(features, frames, dynchunktrain_config).remember(**(targets or {}))
        if "ctc" in self.heads:
            state = replace(state, readout=self.readout)
        numbers = {}  # of layer dropout, for all runs of this step
        outputs = self._run(state, self.depth() if depth is None else depth, request, numbers)
        for name, run in request.runs.items():
            outputs.runs[name] = self._run(state, run.depth, run.request, numbers)
        outputs.features = features, frames
        return outputs

    def check_training(self, depth: Depth, request: Request) -> None:
        """Refuse what cannot be trained, see :meth:`RecursiveEncoder.check_training`."""
        for run in (Run(depth, request), *request.runs.values()):
            self.encoder.check_training(run.depth, run.request.exits)

    def compile_layers(self) -> None:
        """Compile the encoder's layers, see :meth:`RecursiveEncoder.compile_layers`."""
        self.encoder.compile_layers()

    def _run(self, state: State, depth: Depth, request: Request, numbers: Numbers) -> Outputs:
        kept = request.taps, request.exits, request.attention
        trace = self.encoder.run(state, depth, *kept, numbers)
        last = request.exits.get(depth, Request())  # an exit at full depth is the run itself
        outputs = self.finish(trace.state, depth, request.heads | last.heads)
        outputs.taps, outputs.attention = trace.taps, trace.attention
        for exit, wanted in request.exits.items():
            if exit == depth:
                # Not `outputs` itself: DDP searches outputs for tensors and would go in circles.
                outputs.exits[exit] = Outputs(outputs.states, depth, outputs.heads)
            else:
                outputs.exits[exit] = self.finish(trace.exits[exit], exit, wanted.heads)
        return outputs

    def finish(self, state: State, depth: Depth, heads: Iterable[str]) -> Outputs:
        """Run everything behind the encoder's last layer.

        Arguments
        ---------
        state : State
            After the last block, of a run of this depth.
        depth : Depth
            What the outputs are said to be of.
        heads : iterable of str
            Names of the heads that run.
        """
        states = {"encoder": replace(state, x=self.encoder.norm(state.x))}
        for name, part in self.after.items():
            states[name] = part(list(states.values())[-1])
        return Outputs(states, depth, {name: self._head(name, states) for name in sorted(heads)})

    def _head(self, name, states):
        if name not in self.heads:
            raise UserError(
                f"the model has no head '{name}', which an objective or decoder reads; "
                f"it has {', '.join(self.heads)}"
            )
        head = self.heads[name]
        state = states[head.reads]
        missing = [target for target in head.targets if target not in state.memory]
        if missing:
            raise ValueError(f"head '{name}' needs the targets {', '.join(missing)}")
        return head(state)

    def readout(self, x: torch.Tensor) -> torch.Tensor:
        """Token logits [B, T, V] of hidden states [B, T, d] from anywhere in the encoder."""
        return self.heads["ctc"].linear(self.encoder.norm(x))
