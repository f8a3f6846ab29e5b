"""Chunk-by-chunk encoding with a left context per logical step."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.state import State


@dataclass
class StreamingContext:
    """Left contexts of a streaming run, one per logical step; each chunk updates them in place."""

    dynchunktrain_config: Any
    depth: Depth
    layers: list


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
        state = self.adapter.enter(State(src, pos=pos_embs))
        state = replace(state, extra={"contexts": context.layers})
        return self.norm(self.run_blocks(state, context.depth).state.x), []
