"""Text of audio files, from a results folder, at any depth."""

from pathlib import Path

import torch

from speechbrain_recursive.data.dataset import read_audio
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.greedy import greedy
from speechbrain_recursive.errors import UserError
from speechbrain_recursive.hparams import load_trained
from speechbrain_recursive.inference.calibrate import attach, calibrated


class Transcriber:
    """A trained ASR model with its tokenizer.

    Arguments
    ---------
    folder : str or pathlib.Path
        What a finished run left: ``hyperparams.yaml``, ``model.ckpt`` and ``tokenizer.json``. Loading
        a YAML file runs what it says, so the folder must be one that you trust.
    adaptive : bool
        Let utterances leave early by the folder's calibration, see
        :func:`~speechbrain_recursive.inference.calibrate.calibrate`.

    Raises
    ------
    UserError
        If the folder holds no finished run or no ASR model, or its weights are not those of its YAML.
    """

    def __init__(self, folder, adaptive=False):
        self.model, hparams = load_trained(folder)
        if not hasattr(self.model, "parts"):
            raise UserError(f"{folder} holds no ASR model, but a {type(self.model).__name__}")
        self.policy = hparams["loop_policy"]
        if adaptive:
            attach(self.model, calibrated(folder))
        self.tokenizer = load_tokenizer(Path(folder) / "tokenizer.json")

    @torch.no_grad()
    def __call__(self, path, loops=None):
        """Recognize one file, by greedy CTC decoding.

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
            If the file is missing or no audio, is empty, or the loop count is below 1.
        """
        if not Path(path).is_file():
            raise UserError(f"{path} is not there")
        signal = read_audio(path, self.model.sample_rate)
        if not len(signal):
            raise UserError(f"{path} holds no audio")
        if loops is None:
            loops = self.policy.at_inference(torch.tensor([len(signal) / self.model.sample_rate]))
        try:
            outputs = self.model(signal[None], torch.ones(1), loops=loops)
        except ValueError as error:
            raise UserError(f"--loops {loops}: {error}") from error
        return self.tokenizer.decode(greedy(outputs.log_probs, outputs.frames)[0])
