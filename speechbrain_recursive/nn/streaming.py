"""Chunk-by-chunk encoding with a left context per logical step, and of waveforms as they come."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from speechbrain.nnet.attention import RelPosMHAXL
from torch import nn

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.state import State


@dataclass
class StreamingContext:
    """Left contexts of a streaming run, one per logical step, and the last frames of hooks.

    Each chunk updates them in place.
    """

    dynchunktrain_config: Any
    depth: Depth
    layers: list
    borders: dict = field(default_factory=dict)

    @property
    def frames(self) -> int:
        """Frames of left context that the next chunk has."""
        left = self.layers[0].mha_left_context
        return 0 if left is None else left.shape[1]


class Streaming:
    """SpeechBrain's streaming interface for a ``RecursiveEncoder`` whose layers support it."""

    def make_streaming_context(self, dynchunktrain_config, loops: Any = None) -> StreamingContext:
        """Create blank left contexts.

        Arguments
        ---------
        dynchunktrain_config : DynChunkTrainConfig
            Sizes of chunk and left context.
        loops : optional
            A request for a depth, see :meth:`Depth.of`; the schedule's own by default.
        """
        depth = Depth.of(self.schedule, loops)
        size = dynchunktrain_config.left_context_size_frames()
        contexts = [self.layers[step.layer].make_streaming_context(size) for step in depth.schedule]
        return StreamingContext(dynchunktrain_config, depth, contexts)

    def forward_streaming(
        self, src: torch.Tensor, context: StreamingContext, pos_embs: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, list]:
        """Encode one chunk.

        Arguments
        ---------
        src : torch.Tensor
            [B, chunk, d].
        context : StreamingContext
            Updated in place.
        pos_embs : torch.Tensor, optional
            Relative positions that cover the chunk and its left context.

        Returns
        -------
        torch.Tensor
            [B, chunk, d].
        list
            Empty: attention weights are not kept.
        """
        return self.norm(self.run_chunk(State(src, pos=pos_embs), context).x), []

    def run_chunk(self, state: State, context: StreamingContext) -> State:
        """The state behind the last block, before the final norm, of a chunk that has been embedded."""
        extra = {"contexts": context.layers, "borders": context.borders}
        state = replace(self.adapter.enter(state), extra=extra)
        return self.run_blocks(state, context.depth).state


class ModelStream:
    """An ``ASRModel`` on a waveform that comes in pieces.

    The log-posteriors are those of the whole waveform under the mask of its chunks.

    Samples are kept as far back as the features and the front-end of the next frame reach. A frame is
    embedded once all that it reads is there: the look-ahead of the front-end. A chunk of frames is then
    encoded as a whole.

    Arguments
    ---------
    model : ASRModel
        In eval mode.
    config : DynChunkTrainConfig
        Sizes of chunk and left context.
    depth : Depth, optional
        The schedule's own by default.

    Raises
    ------
    UserError
        If :func:`check_streaming` raises it.
    """

    def __init__(self, model: nn.Module, config: Any, depth: Depth | None = None):
        check_streaming(model)
        self.model, self.embed, self.size = model, model.embed, config.chunk_size
        self.context = model.encoder.make_streaming_context(config, depth)
        self.stft, self.reads = self.embed.compute_features.compute_STFT, self.embed.frontend.context
        self.samples = torch.zeros(0)  # from `first` on
        self.first = self.embedded = 0  # samples that are gone, frames that are embedded
        self.frames: list[torch.Tensor] = []  # that wait for the rest of their chunk

    @property
    def look_ahead(self) -> float:
        """Seconds after the center of a frame that it reads."""
        return (self.reads.right * self.stft.hop_length + self.stft.n_fft // 2) / self.stft.sample_rate

    @torch.no_grad()
    def feed(self, samples: torch.Tensor) -> torch.Tensor:
        """Take the next samples [S]; returns the log-posteriors [T, V] that they make final."""
        self.samples = torch.cat([self.samples, samples])
        end = self.first + len(self.samples)
        ready = (end - self.stft.n_fft // 2) // self.stft.hop_length  # the last feature
        last = (ready - self.reads.right) // self.reads.stride  # the last frame
        if last >= self.embedded:
            self._embed(self.reads.stride * last + self.reads.right + 1, last + 1)
        return self._encode(whole=True)

    @torch.no_grad()
    def finish(self) -> torch.Tensor:
        """The log-posteriors [T, V] of what is left."""
        features = 1 + (self.first + len(self.samples)) // self.stft.hop_length
        if self.first + len(self.samples):
            self._embed(features, None)
        return self._encode(whole=False)

    def _embed(self, end, last):
        """Embed the frames up to ``last``, from the features before ``end``."""
        hop, stride = self.stft.hop_length, self.reads.stride
        begin = max(0, self.embedded - -(-self.reads.left // stride)) * stride
        device = self.embed.project.weight.device
        features = self.embed.features(self.samples[None].to(device), torch.ones(1, device=device))[0]
        features = features[:, begin - self.first // hop : end - self.first // hop]
        frames = torch.full((1,), features.shape[1], device=device)
        x = self.embed(features, frames).x[:, self.embedded - begin // stride :]
        x = x if last is None else x[:, : last - self.embedded]
        self.frames.append(x)
        self.embedded += x.shape[1]
        begin = max(0, self.embedded - -(-self.reads.left // stride)) * stride  # of the next time
        gone = max(0, begin - -(-self.stft.n_fft // (2 * hop))) * hop
        self.samples, self.first = self.samples[gone - self.first :], gone

    def _encode(self, whole):
        """Encode the chunks that are complete, or all frames that wait."""
        found = []
        frames = torch.cat(self.frames, 1) if self.frames else None
        while frames is not None and frames.shape[1] >= (self.size if whole else 1):
            chunk, frames = frames[:, : self.size], frames[:, self.size :]
            state = State(chunk, readout=self.model.readout)
            time = chunk.shape[1] + self.context.frames
            around = self.embed.positions(State(chunk.new_zeros(1, time, chunk.shape[2])))
            state = self.model.encoder.run_chunk(replace(state, pos=around.pos), self.context)
            found.append(self.model.finish(state, self.context.depth, ["ctc"]).log_probs[0])
        self.frames = [] if frames is None else [frames]
        vocabulary = self.model.heads["ctc"].linear.out_features
        return torch.cat(found) if found else torch.zeros(0, vocabulary)


def obstacle(model: nn.Module) -> str | None:
    """Why a model cannot stream, or None."""
    layer, encoder = model.encoder.layers[0], model.encoder
    hooks = [hook for block in encoder.schedule.blocks for hook in encoder.hooks_of(block.name)]
    if not hasattr(layer, "forward_streaming"):
        return "its layers attend to the whole recording"
    if not isinstance(layer.mha_layer, RelPosMHAXL):
        return "its positions are not relative"
    if getattr(model.embed.normalize, "norm_type", None) != "fixed":
        return "its features are normalized by the whole recording"
    if model.embed.compute_features.compute_fbanks.top_db != float("inf"):
        return "its features depend on the loudest part of the recording"
    left_out = (type(hook).__name__ for hook in hooks if not hook.streams)
    return next((f"{name} needs the whole recording" for name in left_out), None)


def check_streaming(model: nn.Module) -> None:
    """Refuse models that cannot stream (UserError, with the reason and with what can)."""
    if why := obstacle(model):
        raise UserError(f"the model cannot stream: {why}; recipes built on streaming.yaml can")
