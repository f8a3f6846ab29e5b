"""The model of a results folder with its decoders, at any depth."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import speechbrain as sb
import torch
from torch.nn.utils.rnn import pad_sequence

from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.decoding.decoder import Decode
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.inference.adaptive import attach, calibrated
from speechbrain_recursive.inference.decoders import best_decoder, build_decoder
from speechbrain_recursive.inference.results import asked, depth_for
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.request import Request


class Recognizer:
    """From waveforms to tokens.

    Arguments
    ---------
    model, tokenizer, hparams
        From :func:`~speechbrain_recursive.inference.results.open_results`.
    folder : str or pathlib.Path
        The results folder.
    decoder : str, optional
        One of the run's decoders; by default, the best of the report at the depth that is asked for.
    adaptive : bool
        Exit early by the folder's calibration.
    trust : bool
        Whether the YAML of a language model may name any code.

    Raises
    ------
    UserError
        If there is no such decoder, or the folder was not calibrated.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        tokenizer: Any,
        hparams: Mapping[str, Any],
        folder: str | Path,
        decoder: str | None = None,
        adaptive: bool = False,
        trust: bool = False,
    ):
        self.model, self.tokenizer, self.hparams, self.folder = model, tokenizer, hparams, folder
        task, self.calibrated = hparams["task"], None
        if decoder not in (None, *task.decoders):
            raise UserError(f"--decoder {decoder}: {folder} has {', '.join(task.decoders)}")
        self.decoder, self.policy, self.trust, self._built = decoder, task.policy, trust, {}
        self.durations = Durations.of_run(folder, hparams["corpus"].train_splits)
        self.chunks = task.dynamic_chunks and task.dynamic_chunks(sb.Stage.TEST)
        self.sample_rate, self.frame_seconds = model.sample_rate, model.frame_seconds
        self.side = model.embed.frame_seconds / 2
        self.units = hparams["corpus"].units
        self.separator = " " if hparams["corpus"].metric == "wer" else ""
        if adaptive:
            exits, loops = calibrated(folder)
            self.calibrated = model.depth(loops)
            attach(model, exits)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return next(self.model.parameters()).device

    def depth(
        self, loops: int | None = None, depth: int | None = None, seconds: Iterable[float] = (1.0,)
    ) -> Depth:
        """The depth of a run.

        Arguments
        ---------
        loops : int, optional
            Loop count of the blocks that recur. By default, that of the calibration if exits are
            adaptive, else the one trained for.
        depth : int, optional
            Logical depth, in place of a loop count; see
            :func:`~speechbrain_recursive.inference.results.depth_for`.
        seconds : iterable of float
            Duration of each utterance, which the depth can depend on.

        Returns
        -------
        Depth

        Raises
        ------
        UserError
            If :func:`~speechbrain_recursive.inference.results.depth_for` raises it, or the calibration
            was made for another depth.
        """
        if (loops, depth) == (None, None):
            return self.calibrated or self.policy.at_inference(self.model.schedule, [*seconds])
        found = depth_for(self.model, loops, depth, self.folder)
        if self.calibrated not in (None, found):
            said = asked(loops, depth)
            raise UserError(
                f"{said}: adaptive exit was calibrated for {self.calibrated.schedule}; leave out "
                f"{said.split()[0]}, or run calibrate with {said}"
            )
        return found

    def decoder_at(self, loops: int | None = None, depth: int | None = None) -> tuple[str, Decode]:
        """Name and function of the decoder that runs at a depth; see :meth:`depth`."""
        at = None if (loops, depth) == (None, None) else self.depth(loops, depth)
        name = self.decoder or best_decoder(self.folder, self.hparams, at or self.calibrated)
        if name not in self._built:
            decoder = self.hparams["task"].decoders[name]
            self._built[name] = build_decoder(
                decoder, self.model, self.tokenizer, self.hparams, self.folder, self.trust
            )
        return name, self._built[name]

    def settings(self, loops: int | None = None, depth: int | None = None) -> dict[str, Any]:
        """What transcripts depend on, besides the audio, for JSON."""
        at = self.depth(loops, depth) if (loops, depth) != (None, None) or self.calibrated else None
        return {
            "model": str(Path(self.folder).resolve()),
            "decoder": self.decoder_at(loops, depth)[0],
            "depth": str((at or Depth(self.model.schedule)).schedule),
            "adaptive": self.calibrated is not None,
        }

    @torch.no_grad()
    def posteriors(
        self, signals: list[np.ndarray], loops: int | None, depth: int | None, name: str
    ) -> tuple[list[np.ndarray], list[list[int]]]:
        """Run the model and a decoder on a batch; see :meth:`Transcriber.posteriors`.

        Raises
        ------
        UserError
            If the model cannot make so many loops.
        """
        wavs = pad_sequence([torch.from_numpy(signal) for signal in signals], batch_first=True)
        counts = torch.tensor([len(signal) for signal in signals], dtype=torch.float64)
        run = self.depth(loops, depth, (counts / self.model.sample_rate).tolist())
        decoder = self.hparams["task"].decoders[name]
        try:
            outputs = self.model(
                wavs.to(self.device),
                (counts / wavs.shape[1]).to(self.device),
                depth=run,
                request=decoder.request | Request(heads={"ctc"}),
                dynchunktrain_config=self.chunks,
            )
        except ValueError as error:
            raise UserError(f"{asked(loops, depth)}: {error}") from error
        outputs.heads = {name: head.cpu() for name, head in outputs.heads.items()}
        frames = outputs.frames.tolist()
        log_probs = [row[:n].numpy() for row, n in zip(outputs.log_probs, frames, strict=True)]
        return log_probs, self._built[name](outputs)
