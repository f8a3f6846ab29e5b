"""Speech recognition models that use the same few encoder layers again and again, on SpeechBrain."""

__version__ = "0.1.0"
