"""Reading the vocabulary of an n-gram from each file format."""

import gzip
import shutil
import subprocess

import pytest

from speechbrain_recursive.decoding.arpa import BINARY, read_arpa, read_unigrams
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


def damaged(damage, folder):
    path = estimate_ngram(["A B", "C"], folder / "lm.arpa", 2)
    path.write_bytes(damage(path.read_bytes()))
    return path


UNIGRAMS = [  # seen without reading more
    (lambda text: text.replace(b"\\end\\", b""), "cut short"),
    (lambda text: text[: text.index(b"\tB")] + b"\n\\end\\", "line 10: '-0.69897' is no 1-gram"),
    (lambda text: text.replace(b"ngram 1=6", b"ngram 1=7"), "line 13: there are 6 of 7 1-grams"),
    (lambda text: text.replace(b"ngram 2=", b"gram 2="), "only unigrams"),
    (lambda text: text.replace(b"ngram 2=", b"ngram 1=two"), "line 3: .*invalid literal"),
    (lambda text: text.replace(b"\n-0.69897\tB", b"\nx\tB"), "line 10: 'x' is not a number"),
    (lambda text: text.replace(b"\n-0.69897\tB", b"\n0.5\tB"), "line 10: 0.5 is no log-probability"),
    (lambda text: text.replace(b"\n-0.69897\tB", b"\nnan\tB"), "line 10: nan is no log-probability"),
    (lambda text: text.replace(b"\tB\t", b"\tB\t-1\t"), "line 10: .* is no 1-gram"),
    (
        lambda text: text.replace(b"\\2-grams:", b"\\3-grams:"),
        "3-grams: is not the start of the 2-grams",
    ),
    (lambda text: gzip.compress(text)[:60], "end-of-stream"),
    (lambda text: gzip.compress(text)[:20] + b"\xff" * 200, "decompressing"),
    (lambda text: b"\x1f\x8b is no gzip", "Unknown compression method"),
    (lambda text: b"", "neither"),
]
BIGRAMS = [
    (lambda text: text.replace(b"\tA B\n", b"\tA\n"), "line 16: .* is no 2-gram"),
    (lambda text: text.replace(b"ngram 2=5", b"ngram 2=6"), "line 20: there are 5 of 6 2-grams"),
    (lambda text: gzip.compress(text.replace(b"\\end\\", b"")), "cut short"),
]


@pytest.mark.parametrize(("damage", "said"), UNIGRAMS)
def test_damage_before_the_bigrams_is_found_without_reading_them(damage, said, tmp_path):
    path = damaged(damage, tmp_path)
    with pytest.raises(UserError, match=rf"lm\.arpa cannot be read as an n-gram: .*{said}[^\n]*$"):
        read_unigrams(path)


@pytest.mark.parametrize(("damage", "said"), UNIGRAMS + BIGRAMS)
def test_damage_is_refused_with_its_line(damage, said, tmp_path):
    path = damaged(damage, tmp_path)
    with pytest.raises(UserError, match=rf"lm\.arpa cannot be read as an n-gram: .*{said}[^\n]*$"):
        list(read_arpa(path))


@pytest.mark.parametrize("damage", [damage for damage, _ in UNIGRAMS + BIGRAMS])
def test_what_is_refused_kenlm_would_refuse(damage, tmp_path):
    kenlm = pytest.importorskip("kenlm", reason="kenlm is not installed")
    with pytest.raises(OSError):  # noqa: PT011
        kenlm.Model(str(damaged(damage, tmp_path)))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace(b"\tB\t", b"\t\xff\t"), "decode"),
        (lambda text: BINARY + b" format version 5\n\0", "binary without its words"),
    ],
)
def test_words_that_are_no_text_are_refused(damage, said, tmp_path):
    with pytest.raises(UserError, match=rf"lm\.arpa cannot be read as an n-gram: .*{said}"):
        read_unigrams(damaged(damage, tmp_path))


@pytest.mark.skipif(not shutil.which("build_binary"), reason="KenLM's build_binary is not on the PATH")
@pytest.mark.parametrize("kind", ["probing", "trie"])
def test_unigrams_of_a_real_binary(kind, tmp_path):
    path = estimate_ngram(["A B", "C"], tmp_path / "lm.arpa", 2)
    subprocess.run(["build_binary", kind, path, tmp_path / "lm.bin"], check=True, capture_output=True)
    assert sorted(read_unigrams(tmp_path / "lm.bin")) == ["A", "B", "C"]
