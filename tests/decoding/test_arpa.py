"""The vocabulary of an n-gram, from each of its file formats."""

import gzip
import shutil
import subprocess

import pytest

from speechbrain_recursive.decoding.arpa import BINARY, read_unigrams
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError


def test_unigrams_of_all_formats(tmp_path):
    path = estimate_ngram(["A B", "C"], tmp_path / "lm.arpa", 2)
    assert sorted(read_unigrams(path)) == ["A", "B", "C"]
    zipped = tmp_path / "zipped.arpa.gz"
    zipped.write_bytes(gzip.compress(b"\n" + path.read_bytes()))
    assert read_unigrams(zipped) == read_unigrams(path)
    binary = tmp_path / "lm.bin"
    binary.write_bytes(
        BINARY + b" format version 5\n\0" + bytes(range(256)) + b"<unk>\0<s>\0</s>\0B\0A\0"
    )
    assert read_unigrams(binary) == ["B", "A"]
    plain = tmp_path / "plain.txt"
    plain.write_text("A B\n")
    with pytest.raises(UserError, match="neither"):
        read_unigrams(plain)


@pytest.mark.skipif(not shutil.which("build_binary"), reason="KenLM's build_binary is not on the PATH")
@pytest.mark.parametrize("kind", ["probing", "trie"])
def test_unigrams_of_a_real_binary(kind, tmp_path):
    path = estimate_ngram(["A B", "C"], tmp_path / "lm.arpa", 2)
    subprocess.run(["build_binary", kind, path, tmp_path / "lm.bin"], check=True, capture_output=True)
    assert sorted(read_unigrams(tmp_path / "lm.bin")) == ["A", "B", "C"]
