"""What several rooms of the tests need: a tiny corpus, and recipes that run on it in this process."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from speechbrain_recursive.data.aishell import Aishell1
from speechbrain_recursive.data.librispeech import LibriSpeech

RECIPES = Path(__file__).parents[1] / "recipes"
torch.set_num_threads(1)  # the tests run side by side, and threads change the order of sums


def flags(options):
    """A dict as words of a command line."""
    words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    return [*words, "--device", "cpu", "--noprogressbar"]


@pytest.fixture(scope="session")
def librispeech(tmp_path_factory):
    """Two dozen synthetic utterances to train on, in LibriSpeech's layout."""
    folder = tmp_path_factory.mktemp("librispeech")
    return LibriSpeech().synthesize(folder, n_train=24, n_dev=2, n_test=2)


@pytest.fixture(scope="session")
def aishell(tmp_path_factory):
    """A dozen synthetic utterances in AISHELL-1's layout."""
    return Aishell1().synthesize(tmp_path_factory.mktemp("aishell"), n_train=8, n_dev=2, n_test=3)


@pytest.fixture(scope="session")
def run_recipe():
    """``run_recipe(argv, recipe="LibriSpeech")``: what the command line does, without its process."""

    def run(argv, recipe="LibriSpeech"):
        script = RECIPES / recipe / "train.py"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [str(script), *map(str, argv)])
            runpy.run_path(str(script), run_name="__main__")

    return run


@pytest.fixture(scope="session")
def small_mini(librispeech):
    """``small_mini(folder, **more)``: words that run the mini recipe at a small width for two steps."""

    def words(folder, **more):
        given = {
            "data_folder": librispeech,
            "output_folder": folder,
            "d_model": 16,
            "nhead": 2,
            "d_ffn": 32,
            "eval_loops": "[3]",
            "number_of_steps": 2,
            "tensorboard": False,
        }
        options = flags(given | more)[:-1]
        return [RECIPES / "LibriSpeech/hparams/mini.yaml", *options]

    return words


@pytest.fixture(scope="session")
def mini(small_mini, run_recipe):
    """``mini(folder, *more)``: runs it; returns the folder."""

    def run(folder, *more):
        more = dict(zip(more[::2], more[1::2], strict=True))
        run_recipe([*small_mini(folder, **more), "--noprogressbar"])
        return folder

    return run


@pytest.fixture(scope="session")
def trained(mini, tmp_path_factory):
    """A results folder of two steps. Its loop count is 3."""
    return mini(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="session")
def lm(librispeech, run_recipe, tmp_path_factory):
    """The results folder of a language model of two steps, with the tokens of ``trained``."""
    folder = tmp_path_factory.mktemp("lm")
    given = {
        "data_folder": librispeech,
        "output_folder": folder,
        "corpus": "{train_splits: [train-clean-100], test_splits: [test-clean]}",
        "tokenizer": '{characters: "\'ABCDEFGHIJKLMNOPQRSTUVWXYZ", size: null}',
        "model": "{num_encoder_layers: 2, d_model: 16, nhead: 2, d_ffn: 32}",
        "max_batch_tokens": 400,
        "number_of_steps": 2,
        "num_workers": 0,
        "tensorboard": False,
    }
    run_recipe([RECIPES / "LibriSpeech/hparams/transformer_lm.yaml", *flags(given)])
    return folder
