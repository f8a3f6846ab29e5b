"""Exported models on onnxruntime: NumPy is all that they need besides."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from speechbrain_recursive.data.durations import Durations
from speechbrain_recursive.data.text import units
from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding.prefix import Options
from speechbrain_recursive.decoding.search import LexiconSearch
from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.files import check_file, read_text
from speechbrain_recursive.inference.transcriber import Transcriber
from speechbrain_recursive.nn.depth import Depth
from speechbrain_recursive.nn.schedule import Block, Schedule

MODEL, ABOUT, TOKENS, LEXICON = "model.onnx", "export.json", "tokenizer.json", "lexicon.json"
FORMAT = 1


class RecursiveASROnnx(Transcriber):
    """The twin of :class:`~speechbrain_recursive.inference.transcribe.RecursiveASR` for exported models.

    It takes the folder that ``speechbrain-recursive export`` writes. Loop counts, and the path of a
    foldable model, are chosen at each call. PyTorch and SpeechBrain are not imported. Without
    ``soundfile``, files are WAV at the model's sample rate.

    Arguments
    ---------
    folder : str or pathlib.Path
        The exported folder.
    decoder : str, optional
        ``greedy`` or an n-gram decoder of the run; by default, the best of them in the run's report.
    threads : int, optional
        Number of threads of a session; by default, as many as there are cores.

    Raises
    ------
    UserError
        If the folder holds no exported model or one of a later format, there is no such decoder, or
        onnxruntime is not installed.

    Attributes
    ----------
    schedule : Schedule
        With the loop counts of training.

    Example
    -------
    >>> asr = RecursiveASROnnx("exported")  # doctest: +SKIP
    >>> asr.transcribe_file("speech.wav", loops=8)  # doctest: +SKIP
    'PLEASE BRING THE WAGON'
    """

    def __init__(self, folder: str | Path, decoder: str | None = None, threads: int | None = None):
        self.folder = Path(folder)
        about = _read(self.folder)
        self.sample_rate, self.frame_seconds = about["sample_rate"], about["frame_seconds"]
        self.side, self.durations = about["side"], Durations(*about["durations"])
        self.tokenizer = load_tokenizer(self.folder / TOKENS)
        self.units = lambda text: units(text, about["metric"])
        self.separator = " " if about["metric"] == "wer" else ""
        self.schedule = Schedule(Block(**block) for block in about["blocks"])
        self.decoders = about["decoders"]
        if decoder not in (None, *self.decoders):
            raise UserError(f"decoder {decoder}: {folder} has {', '.join(self.decoders)}")
        self.decoder = decoder or about["best"]
        self._least = about["least_samples"]
        self._most, self._usual, self._paths = about["most_loops"], about["loops"], about["paths"]
        self._decode = self._build(self.decoders[self.decoder])
        self._session = open_session(self.folder / MODEL, threads)

    def depth(
        self, loops: int | Mapping[str, int] | None = None, depth: int | None = None, samples: int = 0
    ) -> Depth:
        """The depth of a run.

        Arguments
        ---------
        loops : int or mapping, optional
            Loop count of the blocks that recur, or one by the name of each block. By default, what the
            model was trained for, which may depend on the duration.
        depth : int, optional
            Logical depth, in place of a loop count: by the median path that ``analyze paths`` found
            before the export, else by the first path.
        samples : int
            Length of the utterance.

        Returns
        -------
        Depth

        Raises
        ------
        UserError
            If both are given, or the model has no such depth.
        """
        if None not in (loops, depth):
            raise UserError(f"loops {loops} and depth {depth}: give one of them")
        try:
            if (loops, depth) == (None, None):
                counts = [counts for least, counts in self._usual if least <= samples][-1]
                return Depth.of(self.schedule, counts)
            if depth is None:
                found = Depth.of(self.schedule, loops)
            elif (counts := self._paths.get(str(depth))) is not None:
                found = Depth.of(self.schedule, counts)
            else:
                found = Depth(self.schedule.with_depth(depth))
        except ValueError as error:
            raise UserError(str(error)) from None
        for name, count in found.schedule.loops.items():
            if count > (most := self._most.get(name, count)):
                raise UserError(f"block '{name}' was made for {most} loops at most, not {count}")
        return found

    def log_probs(self, signal: np.ndarray, depth: Depth | None = None) -> np.ndarray:
        """CTC log-posteriors of an utterance.

        Arguments
        ---------
        signal : numpy.ndarray
            [time], float32 at ``sample_rate``.
        depth : Depth, optional
            By default :meth:`depth` without arguments.

        Returns
        -------
        numpy.ndarray
            [T, V].
        """
        counts = (depth or self.depth(samples=len(signal))).schedule.loops
        short = max(0, self._least - len(signal))
        feeds = {"wav": np.pad(np.asarray(signal, dtype=np.float32), (0, short))[None]}
        if counts:
            feeds["loops"] = np.array([*counts.values()], dtype=np.int64)
        return self._session.run(None, feeds)[0][0]

    def decoder_at(self, loops: int | None = None, depth: int | None = None) -> tuple[str, Callable]:
        """Name and function of the decoder, the same at every depth."""
        return self.decoder, self._decode

    def posteriors(
        self, signals: list[np.ndarray], loops: Any, depth: int | None, name: str
    ) -> tuple[list[np.ndarray], list[list[int]]]:
        """See :meth:`Transcriber.posteriors`. Utterances are run one after another."""
        found = [self.log_probs(each, self.depth(loops, depth, len(each))) for each in signals]
        return found, [self._decode(log_probs) for log_probs in found]

    def _build(self, decoder):
        """From log-posteriors [T, V] to tokens."""
        if decoder["kind"] == "greedy":
            return lambda log_probs: greedy(log_probs, self.tokenizer.blank)
        path = self.folder / LEXICON
        if path.is_file():
            spellings = json.loads(read_text(path))
            self.tokenizer.encode = spellings.__getitem__
        options = Options(**{key: decoder[key] for key in ("width", "weight", "bonus", "threshold")})
        return LexiconSearch(self.tokenizer, check_file(self.folder / decoder["ngram"]), options)


def greedy(log_probs: np.ndarray, blank: int = 0) -> list[int]:
    """The most likely token of each frame [T, V], without repeats and blanks.

    Example
    -------
    >>> greedy(np.eye(3)[[1, 1, 0, 1, 2]])
    [1, 1, 2]
    """
    best = log_probs.argmax(-1)
    kept = best != blank
    kept[1:] &= best[1:] != best[:-1]
    return best[kept].tolist()


def _read(folder):
    path = folder / ABOUT
    try:
        about = json.loads(read_text(path, f"{folder} holds no exported model: there is no {ABOUT}"))
        if about["format"] > FORMAT:
            raise UserError(f"{path} was written by a later version of this package: update it")
    except (KeyError, TypeError, json.JSONDecodeError):
        raise UserError(f"{path} is damaged: export the model again") from None
    return about


def open_session(path: Path, threads: int | None = None) -> Any:
    """An ``onnxruntime.InferenceSession`` on the CPU; UserError if there can be none."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError("exported models run on onnxruntime: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads is not None:
        options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(check_file(path), options, ["CPUExecutionProvider"])
    except UserError:
        raise
    except Exception as error:  # whatever onnxruntime raises for a damaged file
        raise UserError(f"{path} cannot be loaded: {one_line(error, 200)}") from None
