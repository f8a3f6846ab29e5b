"""What an encoder's layers compute on audio, for models of this package and Hugging Face's Whisper."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch

from speechbrain_recursive.data.dataset import read_audio
from speechbrain_recursive.data.manifest import read_manifest
from speechbrain_recursive.errors import UserError, one_line
from speechbrain_recursive.inference.results import asked, depth_for, open_results
from speechbrain_recursive.nn.attention import WeightsByHead
from speechbrain_recursive.nn.device import check_device
from speechbrain_recursive.nn.request import Request


@dataclass(frozen=True)
class Layers:
    """An encoder and the outputs of its layers, or their attention weights.

    Arguments
    ---------
    labels : list of str
        The layer of each logical step and, if it is looped, a slash and the loop, both counted from 0:
        ``3/1`` is layer 3 in the second loop.
    sample_rate : int
        Sample rate of its input in Hz.
    frame_seconds : float
        Seconds between its frames. Frame k is centered at k times as many.
    audio : pathlib.Path or None
        A manifest of audio that belongs to the model, if there is one.
    outputs : callable
        From samples [S] to the outputs [N, T, d] of the N steps, or to their attention weights
        [N, heads, T, T].
    """

    labels: list[str]
    sample_rate: int
    frame_seconds: float
    audio: Path | None
    outputs: Callable[[torch.Tensor], torch.Tensor]

    @property
    def passes(self) -> list[int]:
        """Steps, counted from 0, that begin another pass of a recurrent block."""
        loops = [int(label.partition("/")[2] or 0) for label in self.labels]
        return [step for step in range(1, len(loops)) if loops[step] > loops[step - 1]]


def open_layers(
    model: str | Path,
    loops: int | None = None,
    device: str = "cpu",
    attention: bool = False,
    depth: int | None = None,
    trust: bool = False,
) -> Layers:
    """Open an encoder.

    Arguments
    ---------
    model : str or pathlib.Path
        A results folder, or the name or folder of a Hugging Face Whisper model.
    loops : int, optional
        Loop count; the one trained for by default. Whisper has none.
    device : str
        Where the encoder runs.
    attention : bool
        Whether ``outputs`` are the attention weights by head, which only a results folder has.
    depth : int, optional
        Logical depth, in place of a loop count; see
        :func:`~speechbrain_recursive.inference.results.depth_for`.
    trust : bool
        See :func:`~speechbrain_recursive.inference.results.open_results`.

    Returns
    -------
    Layers

    Raises
    ------
    UserError
        If ``model`` is neither or cannot be loaded, there is no such device, its encoder pools frames
        between layers, or they have no attention weights.
    """
    check_device(device)
    if (Path(model) / "hyperparams.yaml").is_file():
        return _ours(Path(model), loops, depth, device, attention, trust)
    if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        raise UserError(f"{model} is no results folder (hyperparams.yaml) and no Whisper (config.json)")
    if (loops, depth) != (None, None):
        raise UserError(f"{asked(loops, depth)}: {model} is no results folder, so it has no loops")
    if attention:
        raise UserError(f"{model} is no results folder; attention is read from results folders alone")
    return _whisper(str(model), device)


def find_audio(path: str | Path, limit: int | None = None) -> list[str]:
    """List audio files.

    Arguments
    ---------
    path : str or pathlib.Path
        A manifest (CSV), a folder, which is searched recursively, or one file.
    limit : int, optional
        Maximum number of files, spread evenly over all that are found.

    Returns
    -------
    list of str
        Sorted, or in the manifest's order.

    Raises
    ------
    UserError
        If there is no audio, or ``limit`` is below 1.
    """
    path = Path(path)
    if path.suffix == ".csv":
        found = [row["wav"] for row in read_manifest(path).values() if not row["unreadable"]]
    elif path.is_dir():
        endings = {f".{name.lower()}" for name in (*soundfile.available_formats(), "sph", "opus")}
        found = sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in endings)
    else:
        found = [str(path)] if path.is_file() else []
    if not found:
        raise UserError(f"no audio at {path}: give a manifest, a folder of audio or an audio file")
    if limit is None or limit >= len(found):
        return found
    if limit < 1:
        raise UserError(f"at least one utterance is needed, got {limit}")
    return [found[i * len(found) // limit] for i in range(limit)]


def _ours(folder, loops, depth, device, attention, trust):
    model, _, hparams = open_results(folder, device, trust)
    if attention:
        try:
            model.encoder.add_hook("*", WeightsByHead(), first=True)
        except TypeError as error:
            raise UserError(f"{folder} has no attention weights to read: {error}") from error
    if model.encoder.stride > 1:
        raise UserError(f"{folder}: its encoder pools frames, so that its layers cannot be compared")
    run = depth_for(model, loops, depth, folder)
    looped = {block.name for block in run.schedule.blocks if block.loops > 1}
    steps = range(len(run))
    request = Request(attention=steps) if attention else Request(taps=steps)

    @torch.no_grad()
    def outputs(signal):
        whole = torch.ones(1, device=device)
        found = model(signal[None].to(device), whole, depth=run, request=request)
        return torch.cat([found.attention[n] if attention else found.taps[n].x for n in steps])

    labels = [f"{s.layer}/{s.loop}" if s.block in looped else str(s.layer) for s in run.schedule]
    audio = folder / "manifests" / f"{hparams['corpus'].dev_splits[0]}.csv"
    return Layers(labels, model.sample_rate, model.frame_seconds, audio, outputs)


def _whisper(name, device):
    try:
        from transformers import AutoConfig, WhisperFeatureExtractor, WhisperModel
    except ImportError as error:
        raise UserError(f"{name}: Whisper needs transformers: pip install transformers") from error
    try:
        kind = AutoConfig.from_pretrained(name, trust_remote_code=False).model_type
        if kind != "whisper":
            raise ValueError(f"it is a {kind} model")
        features = WhisperFeatureExtractor.from_pretrained(name)
        encoder = WhisperModel.from_pretrained(name).encoder.to(device).eval()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} is neither a results folder nor a Whisper: {one_line(error)}"
        ) from error
    encoder.layer_norm = torch.nn.Identity()  # the last hidden state is then the last layer's output
    rate = features.sampling_rate
    hop = features.hop_length * encoder.conv1.stride[0] * encoder.conv2.stride[0]

    @torch.no_grad()
    def outputs(signal):
        window = signal[: features.n_samples]  # Whisper's window; the rest is cut off
        mel = features(window.numpy(), sampling_rate=rate, return_tensors="pt")
        frames = -(-len(window) // hop)  # the rest of the window is padding
        states = encoder(mel.input_features.to(device), output_hidden_states=True).hidden_states
        return torch.cat(states[1:])[:, :frames]

    labels = [str(index) for index in range(len(encoder.layers))]
    return Layers(labels, rate, hop / rate, None, outputs)


def layer_outputs(layers: Layers, files: Iterable[str | Path]) -> Iterator[torch.Tensor]:
    """What all layers compute for each file, one file after the other.

    Arguments
    ---------
    layers : Layers
        From :func:`open_layers`.
    files : iterable of (str or pathlib.Path)
        Audio files; empty ones are skipped.

    Yields
    ------
    torch.Tensor
        [N, T, d], or [N, heads, T, T].

    Raises
    ------
    UserError
        If a file cannot be read.
    """
    for file in files:
        signal = read_audio(file, layers.sample_rate)
        if len(signal):
            yield layers.outputs(signal)
