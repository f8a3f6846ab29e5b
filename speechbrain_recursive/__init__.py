"""Speech recognition models that use the same few encoder layers again and again, on SpeechBrain."""

import os
from importlib import import_module

# PyTorch's OpenMP threads spin while they wait, 300,000 rounds by default, and keep a second process off
# the cores. libgomp reads this once, when torch is imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

_PUBLIC = {
    "data.corpus": "Corpus",
    "decoding.decoder": "Decoder",
    "errors": "UserError",
    "inference.onnx": "RecursiveASROnnx",
    "inference.transcribe": "RecursiveASR",
    "nn.depth": "Depth",
    "nn.encoder": "RecursiveEncoder",
    "nn.hooks": "Hook",
    "nn.model": "ASRModel",
    "nn.request": "Outputs Request Run",
    "nn.schedule": "Block Schedule standard cycle sequence latent head_tail bicycle unfold unfold_paths",
    "nn.state": "State",
    "objectives.objective": "Objective",
    "training.run": "train",
    "training.teachers": "Teacher TrainedTeacher",
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_HOME)
__version__ = "0.2.0"


def __getattr__(name):
    """Import a public name when it is first used, so that schedules need no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
