"""Transcription of audio files by the model of a results folder, at any depth."""

import logging
from pathlib import Path

import torch

from speechbrain_recursive.data.audio import read_audio
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import check_file
from speechbrain_recursive.inference.adaptive import attach, calibrated
from speechbrain_recursive.inference.results import asked, depth_for, open_results
from speechbrain_recursive.nn.depth import Depth

logger = logging.getLogger(__name__)


class Transcriber:
    """A trained ASR model with its tokenizer.

    Arguments
    ---------
    folder : str or pathlib.Path
        The results of a finished run; see
        :func:`~speechbrain_recursive.inference.results.open_results`.
    adaptive : bool
        Exit early by the folder's calibration, from the depth that it was made for; see
        :func:`~speechbrain_recursive.inference.calibrate.calibrate`.
    device : str
        Where the model runs.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Raises
    ------
    UserError
        If :func:`~speechbrain_recursive.inference.results.open_results` raises it, or ``adaptive`` is
        asked for and the folder was not calibrated.
    """

    def __init__(
        self, folder: str | Path, adaptive: bool = False, device: str = "cpu", trust: bool = False
    ):
        self.model, self.tokenizer, hparams = open_results(folder, device, trust)
        self.folder, self.device = folder, device
        self.policy, self.calibrated = hparams["task"].policy, None
        if adaptive:
            exits, loops = calibrated(folder)
            self.calibrated = self.model.depth(loops)
            attach(self.model, exits)

    def depth(self, loops: int | None = None, depth: int | None = None, seconds: float = 1.0) -> Depth:
        """The depth of a run.

        Arguments
        ---------
        loops : int, optional
            Loop count of the blocks that recur. By default, that of the calibration if exits are
            adaptive, else the one trained for.
        depth : int, optional
            Logical depth, in place of a loop count; see
            :func:`~speechbrain_recursive.inference.results.depth_for`.
        seconds : float
            Duration of the utterance, which the depth can depend on.

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
            return self.calibrated or self.policy.at_inference(self.model.schedule, [seconds])
        found = depth_for(self.model, loops, depth, self.folder)
        if self.calibrated not in (None, found):
            said = asked(loops, depth)
            raise UserError(
                f"{said}: adaptive exit was calibrated for {self.calibrated.schedule}; leave out "
                f"{said.split()[0]}, or run calibrate with {said}"
            )
        return found

    @torch.no_grad()
    def __call__(self, path: str | Path, loops: int | None = None, depth: int | None = None) -> str:
        """Transcribe one file by greedy CTC decoding.

        Arguments
        ---------
        path : str or pathlib.Path
            Audio of any rate and number of channels.
        loops, depth : int, optional
            See :meth:`depth`.

        Returns
        -------
        str

        Raises
        ------
        UserError
            If the file is missing, empty or not audio, or holds NaN; if :meth:`depth` raises it; or if
            the model cannot make so many loops.
        """
        signal = read_audio(check_file(path), self.model.sample_rate)
        if not len(signal):
            raise UserError(f"{path} holds no audio")
        if not signal.any():
            logger.warning("%s is silent", path)
        run = self.depth(loops, depth, len(signal) / self.model.sample_rate)
        try:
            outputs = self.model(
                signal[None].to(self.device), torch.ones(1, device=self.device), depth=run
            )
        except ValueError as error:
            raise UserError(f"{asked(loops, depth)}: {error}") from error
        return self.tokenizer.decode(greedy(outputs.log_probs, outputs.frames)[0])
