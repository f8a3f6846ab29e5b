"""What SpeechBrain's own ``EncoderASR`` and ``EncoderDecoderASR`` load of a published folder.

``EncoderASR`` decodes greedily. ``EncoderDecoderASR`` runs a search that reads the encoder's states,
such as the joint search, where the model has one. Both run the depth that the model was trained for.

Their encoder returns :class:`~speechbrain_recursive.nn.request.Outputs`, with ``encoded`` [B, T, d],
``log_probs`` [B, T, V] and ``frames`` [B]. Beside states alone, SpeechBrain knows relative lengths, and
these times T round to a wrong number of frames in many rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import speechbrain as sb
import torch
from speechbrain.utils.fetching import FetchSource

from speechbrain_recursive.data.tokenizers import load_tokenizer
from speechbrain_recursive.decoding import greedy as ctc
from speechbrain_recursive.decoding.decoder import Decoder
from speechbrain_recursive.hub import fetch
from speechbrain_recursive.inference.decoders import build_decoder
from speechbrain_recursive.nn.model import ASRModel
from speechbrain_recursive.nn.request import Outputs
from speechbrain_recursive.weights import load_weights, weights_in


class Text:
    """Token ids to text, as SpeechBrain's interfaces call it."""

    def load(self, folder: Path) -> None:
        """Read the tokenizer of a folder (UserError if there is none)."""
        self.pieces = load_tokenizer(folder / "tokenizer.json")

    def decode_ids(self, ids: Sequence[int]) -> str:
        """The text of one utterance."""
        return self.pieces.decode(ids)


class Encoder(torch.nn.Module):
    """The model at the depth that it was trained for.

    Arguments
    ---------
    model : ASRModel
        The model.
    task : ASR
        With the policy of depths, and chunks for a model that was trained for streaming.
    """

    def __init__(self, model: ASRModel, task: Any):
        super().__init__()
        self.model, self.task = model, task

    def forward(self, wavs: torch.Tensor, wav_lens: torch.Tensor) -> Outputs:
        """Run on waveforms [B, S] and relative lengths [B]."""
        samples = torch.round(wav_lens.double() * wavs.shape[1])
        seconds = (samples / self.model.sample_rate).tolist()
        depth = self.task.policy.at_inference(self.model.schedule, seconds)
        chunks = self.task.dynamic_chunks and self.task.dynamic_chunks(sb.Stage.TEST)
        return self.model(wavs, wav_lens, depth=depth, dynchunktrain_config=chunks)


class Search(torch.nn.Module):
    """One of the run's decoders, built when it is first used, on the model's device.

    Arguments
    ---------
    decoder : Decoder
        As the run declared it.
    model : ASRModel
        The model.
    text : Text
        The tokenizer.
    """

    def __init__(self, decoder: Decoder, model: ASRModel, text: Text):
        super().__init__()
        self.decoder, self.model, self.text = decoder, model, text
        self.folder = self._decode = None

    def forward(self, outputs: Outputs, wav_lens: torch.Tensor) -> tuple:
        """Token ids of each utterance, first of the four values that ``EncoderDecoderASR`` expects."""
        if self._decode is None:
            settings = {"output_folder": "."}
            about = self.model, self.text.pieces, settings, self.folder
            self._decode = build_decoder(self.decoder, *about)
        return self._decode(outputs), None, None, None


class Opener:
    """Loads a folder in the place of SpeechBrain's ``Pretrainer``: strictly, from safetensors.

    Arguments
    ---------
    model : ASRModel
        Takes the weights.
    text : Text
        Takes the tokenizer.
    search : Search, optional
        Is told the folder.
    """

    def __init__(self, model: ASRModel, text: Text, search: Search | None = None):
        self.model, self.text, self.search = model, text, search
        self.savedir = self.folder = None

    def set_collect_in(self, path: str | Path | None) -> None:
        """Take the ``savedir`` of ``from_hparams``."""
        self.savedir = path

    def collect_files(self, default_source: Any, local_strategy: Any = None, fetch_config: Any = None):
        """Fetch the folder; see :func:`~speechbrain_recursive.hub.fetch`."""
        source = default_source.path if isinstance(default_source, FetchSource) else default_source
        savedir = self.savedir and Path(self.savedir) / "model"
        self.folder = fetch(source, fetch_config and fetch_config.revision, savedir)

    def load_collected(self) -> None:
        """Load weights and tokenizer (UserError if they do not fit the model)."""
        load_weights(weights_in(self.folder), self.model.load_state_dict)
        self.text.load(self.folder)
        if self.search is not None:
            self.search.folder = self.folder


def greedy(outputs: Outputs, wav_lens: torch.Tensor, blank: int) -> list[list[int]]:
    """The decoding function of ``EncoderASR``: token ids of each utterance."""
    return ctc.greedy(outputs.log_probs, outputs.frames, blank)
