"""A corpus of a dozen utterances, made once, and copies of corpora for tests that damage them."""

import shutil

import pytest

from speechbrain_recursive.data.librispeech import LibriSpeech


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return LibriSpeech().synthesize(tmp_path_factory.mktemp("corpus"), n_train=8, n_dev=2, n_test=3)


@pytest.fixture
def own_corpus(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def own_aishell(aishell, tmp_path):
    shutil.copytree(aishell, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture
def own_common_voice(common_voice, tmp_path):
    shutil.copytree(common_voice, tmp_path / "own")
    return tmp_path / "own"
