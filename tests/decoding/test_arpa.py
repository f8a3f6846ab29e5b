"""Reading the vocabulary of an n-gram from each file format."""

import gzip
import shutil
import subprocess

import pytest
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary

from speechbrain_recursive.decoding.arpa import BINARY, read_unigrams
from speechbrain_recursive.decoding.ngram import estimate_ngram
from speechbrain_recursive.errors import UserError


def test_unigrams_of_all_formats(tmp_path):
    path = estimate_ngram(["A B", "C"], tmp_path / "lm.arpa", 2)
    assert sorted(read_unigrams(path)) == ["A", "B", "C"]
    zipped = tmp_path / "zipped.lm"  # KenLM also goes by the content, not by the name
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


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace(b"\\end\\", b""), "cut short"),
        (lambda text: text[: text.index(b"\tB")], "unpack"),
        (lambda text: text.replace(b"ngram 1=6", b"ngram 1=7"), "holds 6 of 7 unigrams"),
        (lambda text: text.replace(b"ngram 2=", b"gram 2="), "bigrams"),
        (lambda text: text.replace(b"ngram 2=", b"ngram 1=two"), "invalid literal"),
        (lambda text: text.replace(b"\tB\t", b"\t\xff\t"), "decode"),
        (lambda text: gzip.compress(text)[:60], "end-of-stream"),
        (lambda text: gzip.compress(text)[:20] + b"\xff" * 200, "decompressing"),
        (lambda text: b"\x1f\x8b is no gzip", "Unknown compression method"),
        (lambda text: BINARY + b" format version 5\n\0", "binary without its words"),
        (lambda text: b"", "neither"),
    ],
)
def test_what_kenlm_would_refuse_is_refused_with_its_name(damage, said, tmp_path):
    path = estimate_ngram(["A B", "C"], tmp_path / "lm.arpa", 2)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=rf"lm\.arpa cannot be read as an n-gram: .*{said}"):
        read_unigrams(path)
    with pytest.raises(RuntimeError):
        KenLM(str(path), Dictionary(["A"]))


@pytest.mark.skipif(not shutil.which("build_binary"), reason="KenLM's build_binary is not on the PATH")
@pytest.mark.parametrize("kind", ["probing", "trie"])
def test_unigrams_of_a_real_binary(kind, tmp_path):
    path = estimate_ngram(["A B", "C"], tmp_path / "lm.arpa", 2)
    subprocess.run(["build_binary", kind, path, tmp_path / "lm.bin"], check=True, capture_output=True)
    assert sorted(read_unigrams(tmp_path / "lm.bin")) == ["A", "B", "C"]
