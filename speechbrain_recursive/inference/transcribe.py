"""Transcription by the model of a results folder, at any depth and with any of its decoders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from speechbrain_recursive.inference.hub import fetch
from speechbrain_recursive.inference.recognizer import Recognizer
from speechbrain_recursive.inference.results import open_results
from speechbrain_recursive.inference.transcriber import Transcriber


class RecursiveASR(Recognizer, Transcriber):
    """A trained ASR model with its tokenizer and its decoders, in the style of SpeechBrain's interfaces.

    :meth:`from_hparams` opens a results folder. An utterance has the same transcript alone and in any
    batch.

    Attributes
    ----------
    model : ASRModel
        In eval mode.
    tokenizer : CharacterTokenizer or SentencePieceTokenizer
        Of the model's outputs.
    decoder : str or None
        Which of the run's decoders runs; None: the best of its report.

    Example
    -------
    >>> asr = RecursiveASR.from_hparams("results/mini/1234")  # doctest: +SKIP
    >>> asr.transcribe_file("speech.wav", loops=8)  # doctest: +SKIP
    'PLEASE BRING THE WAGON'
    """

    @classmethod
    def from_hparams(
        cls,
        source: str | Path,
        savedir: str | Path | None = None,
        run_opts: Mapping[str, Any] | None = None,
        decoder: str | None = None,
        adaptive: bool = False,
        trust: bool = False,
        revision: str | None = None,
    ) -> "RecursiveASR":
        """Open a model.

        Arguments
        ---------
        source : str or pathlib.Path
            The results folder of a finished run, a published one, or USER/NAME on the Hub.
        savedir : str or pathlib.Path, optional
            Where to put what is fetched from the Hub. A folder is used where it is.
        run_opts : mapping, optional
            ``device``: where the model runs, ``cpu`` by default.
        decoder : str, optional
            One of the run's decoders by its name. By default, the one with the lowest error rate in the
            run's report at the depth that is asked for.
        adaptive : bool
            Exit early by the folder's calibration, from the depth that it was made for; see
            :func:`~speechbrain_recursive.inference.calibrate.calibrate`.
        trust : bool
            Whether the folder's YAML may name any code; see
            :func:`~speechbrain_recursive.hparams.load_trained`.
        revision : str, optional
            Commit, tag or branch on the Hub; see :func:`~speechbrain_recursive.inference.hub.fetch`.

        Raises
        ------
        UserError
            If :func:`~speechbrain_recursive.inference.results.open_results` raises it, there is no such
            decoder, or ``adaptive`` is asked for and the folder was not calibrated.
        """
        device = (run_opts or {}).get("device", "cpu")
        folder = fetch(source, revision, savedir)
        return cls(*open_results(folder, device, trust), folder, decoder, adaptive, trust)
