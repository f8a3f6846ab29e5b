"""Transcription of audio files by the model of a results folder, at any depth."""

from pathlib import Path

import torch

from speechbrain_recursive.data.dataset import read_audio
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.inference.calibrate import attach, calibrated
from speechbrain_recursive.nn.model import ASRModel


class Transcriber:
    """A trained ASR model with its tokenizer.

    Arguments
    ---------
    folder : str or pathlib.Path
        The results of a finished run: ``hyperparams.yaml``, ``model.ckpt`` and ``tokenizer.json``.
        Loading a YAML file can run any code that it names, so open only folders that you trust.
    adaptive : bool
        Exit early by the folder's calibration; see
        :func:`~speechbrain_recursive.inference.calibrate.calibrate`.

    Raises
    ------
    UserError
        If the folder holds no finished run or no ASR model, or its weights do not fit its YAML.
    """

    def __init__(self, folder: str | Path, adaptive: bool = False):
        self.model, hparams = load_trained(folder, ASRModel)
        self.policy = hparams["task"].policy
        if adaptive:
            attach(self.model, calibrated(folder))
        self.tokenizer = load_tokenizer(Path(folder) / "tokenizer.json")

    @torch.no_grad()
    def __call__(self, path: str | Path, loops: int | None = None) -> str:
        """Transcribe one file by greedy CTC decoding.

        Arguments
        ---------
        path : str or pathlib.Path
            Audio of any rate and number of channels.
        loops : int, optional
            Loop count of the blocks that recur; the one trained for by default.

        Returns
        -------
        str

        Raises
        ------
        UserError
            If the file is missing, empty or not audio, or the loop count is below 1.
        """
        if not Path(path).is_file():
            raise UserError(f"{path} does not exist")
        signal = read_audio(path, self.model.sample_rate)
        if not len(signal):
            raise UserError(f"{path} holds no audio")
        seconds = [len(signal) / self.model.sample_rate]
        try:
            depth = self.policy.at_inference(self.model.schedule, seconds)
            depth = depth if loops is None else self.model.depth(loops)
            outputs = self.model(signal[None], torch.ones(1), depth=depth)
        except ValueError as error:
            raise UserError(f"--loops {loops}: {error}") from error
        return self.tokenizer.decode(greedy(outputs.log_probs, outputs.frames)[0])
