"""A model as a service: what it offers, and an answer for each recording."""

from pathlib import Path
from typing import Any, NamedTuple

from speechbrain_recursive import __version__
from speechbrain_recursive.analysis.cost import multiply_adds_per_second
from speechbrain_recursive.data.blocks import Audio
from speechbrain_recursive.inference.transcribe import RecursiveASR
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.serving.batching import Ask, Batcher, Found
from speechbrain_recursive.serving.depths import Depths, error_rates
from speechbrain_recursive.serving.limits import Limits, Refused


class Answer(NamedTuple):
    """What was found, the depth that ran, and its multiply-adds per second of audio.

    The multiply-adds are without an attention decoder, which runs per token.
    """

    found: Found
    depth: Depth
    multiply_adds_per_second: int


def name_of(source: str | Path) -> str:
    """What clients call a model: USER/NAME on the Hub, or the last two names of a folder.

    Example
    -------
    >>> name_of("me/my-model")
    'me/my-model'
    """
    path = Path(source)
    return "/".join(path.resolve().parts[-2:]) if path.exists() else str(source)


class Service:
    """A model that answers concurrent requests.

    Arguments
    ---------
    asr : RecursiveASR
        The model, which nothing else may run.
    name : str
        What clients call the model.
    limits : Limits
        What is taken from clients.
    batch_seconds : float
        Limit on the padded duration of a batch, in seconds.
    max_depth : int, optional
        Greatest logical depth that is computed; by default that of twice the trained loops.
    streaming : StreamingASR, optional
        The same model for live audio; None if it cannot stream.

    Raises
    ------
    UserError
        If a file of the model's folder is damaged or missing, or ``max_depth`` is less than the trained
        depth.
    """

    def __init__(
        self,
        asr: RecursiveASR,
        name: str,
        limits: Limits = Limits(),  # noqa: B008
        batch_seconds: float = 60.0,
        max_depth: int | None = None,
        streaming: Any = None,
    ):
        self.asr, self.limits, self.streaming = asr, limits, streaming
        self.name = name
        self.depths = Depths.of(asr.model.schedule, max_depth)
        self.decoders = [*asr.hparams["task"].decoders]
        self.language = asr.hparams["corpus"].language
        self.error_rates = error_rates(asr.folder, self.depths.axis)
        self.batcher = Batcher(asr, batch_seconds, limits.seconds)
        self._costs = {}
        self.default = asr.decoder_at()[0]
        self.trained_cost = self._cost(asr.depth())

    def facts(self) -> dict[str, Any]:
        """What the service offers, for ``/health``."""
        return {
            "status": "ok",
            "version": __version__,
            "model": self.name,
            "sample_rate": self.asr.model.sample_rate,
            "language": self.language,
            "axis": self.depths.axis,
            "depths": self.depths.values,
            "trained": self.depths.trained,
            "decoders": self.decoders,
            "decoder": self.default,
            "streaming": self.streaming is not None,
            "multiply_adds_per_second": self.trained_cost,
            "error_rates": self.error_rates,
            "limits": self.limits._asdict(),
            "requests": self.batcher.count,
        }

    def ask(self, loops: int | None, depth: int | None, decoder: str | None) -> Ask:
        """Check how a client asks for a transcript.

        Raises
        ------
        Refused
            If there is no such decoder.
        UserError
            If there is no such depth, or it is greater than is computed.
        """
        if decoder not in (None, *self.decoders):
            known = ", ".join(self.decoders)
            raise Refused(400, f"decoder {decoder}: the model has {known}", param="decoder")
        if (loops, depth) != (None, None):
            self.depths.check(self.asr.depth(loops, depth))
        return Ask(loops, depth, decoder)

    async def transcribe(self, audio: Audio, ask: Ask) -> Answer:
        """Transcribe a recording; see :meth:`Batcher.transcribe`."""
        found = await self.batcher.transcribe(audio, ask)
        depth = self.asr.depth(ask.loops, ask.depth, [found.transcript.seconds])
        return Answer(found, depth, await self.batcher.run(self._cost, depth))

    def _cost(self, depth):
        if depth not in self._costs:
            self._costs[depth] = multiply_adds_per_second(self.asr.model, depth)
        return self._costs[depth]
