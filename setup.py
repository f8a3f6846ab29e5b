"""Package metadata; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
SOURCE = HERE.joinpath("speechbrain_recursive/__init__.py").read_text()
VERSION = re.search(r'^__version__ = "(.+)"$', SOURCE, re.MULTILINE)[1]
SERVE = ["fastapi>=0.115", "uvicorn>=0.30", "python-multipart>=0.0.18", "websockets>=15"]

setup(
    name="speechbrain-recursive",
    version=VERSION,
    description="Speech recognition models that loop a few encoder layers, on SpeechBrain",
    long_description=HERE.joinpath("README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["speechbrain_recursive*"]),
    package_data={"speechbrain_recursive.serving": ["page/*"]},
    install_requires=[
        "speechbrain>=1.1.2,<1.2",
        "torch>=2.7,<2.12",
        "torchaudio>=2.7,<2.11.1",  # 2.11.1 does not load beside torch 2.11
        "hyperpyyaml>=1.2.2",
        "sentencepiece>=0.2",
        "soundfile>=0.12",
        "espeakng-loader>=0.2.4",
        "filelock",
        "huggingface_hub>=0.34",
        "matplotlib>=3.7",
        "numpy",
        "ruamel.yaml",
        "safetensors>=0.4",
        "scipy",
        "tensorboard>=2.14",
        "tqdm",
    ],
    extras_require={
        "ngram": ["flashlight-text>=0.0.7", "kenlm>=0.3"],  # C++ for what otherwise runs in NumPy
        "ssl": ["transformers>=4.57"],
        "export": ["onnx>=1.16", "onnxruntime>=1.18"],
        "serve": SERVE,
        "dev": [
            *("pytest>=8", "pytest-xdist", "ruff>=0.6", "yamllint", "pygtrie"),
            *("transformers>=4.57", "onnx>=1.16", "onnxruntime>=1.18", "sherpa-onnx>=1.12.15"),
            *(*SERVE, "openai>=1.60", "httpx"),
        ],
    },
    entry_points={"console_scripts": ["speechbrain-recursive=speechbrain_recursive.__main__:main"]},
)
