import gzip
import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from speechbrain_recursive.data.aishell import Aishell1
from speechbrain_recursive.data.corpus import Corpus
from speechbrain_recursive.data.download import fetch
from speechbrain_recursive.data.librispeech import NGRAMS, LibriSpeech
from speechbrain_recursive.errors import UserError

CONTENT = bytes(range(256)) * 3000


@pytest.fixture
def server():
    """A web server on the loopback: ``server.files`` by path, ``server.asked`` Range headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            content = self.server.files.get(self.path)
            asked = self.headers.get("Range")
            self.server.asked.append(asked)
            if content is None:
                return self.send_error(404)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            if not self.server.ranges:
                start = 0
            if start >= len(content):
                return self.send_error(416)
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : self.server.stop_at])

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.ranges, server.stop_at = {}, [], True, None
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def md5(content):
    return hashlib.md5(content).hexdigest()


def archive(split, path="LibriSpeech/{split}/1/2/1-2.trans.txt"):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as members:
        info = tarfile.TarInfo(path.format(split=split))
        info.size = 3
        members.addfile(info, io.BytesIO(b"1 A"))
    return data.getvalue()


@pytest.fixture
def librispeech_at(server):
    """``librispeech_at(splits, md5)``: LibriSpeech with all of its archives on the server."""

    def make(splits=("dev-clean",), md5=LibriSpeech.md5):
        corpus = LibriSpeech(splits, splits, splits)
        corpus.url = corpus.ngram_url = server.url
        corpus.md5 = md5
        return corpus

    return make


@pytest.mark.parametrize("ranges", [True, False])
def test_goes_on_where_it_stopped(server, tmp_path, ranges):
    server.files["/big"], server.stop_at, server.ranges = CONTENT, 300_000, ranges
    with pytest.raises(UserError, match="run again to go on"):
        fetch(f"{server.url}/big", tmp_path / "big", md5(CONTENT))
    assert (tmp_path / "big.part").stat().st_size == 300_000
    assert not (tmp_path / "big").exists()
    server.stop_at = None
    fetch(f"{server.url}/big", tmp_path / "big", md5(CONTENT))
    assert (tmp_path / "big").read_bytes() == CONTENT
    assert server.asked == [None, "bytes=300000-"]
    assert not (tmp_path / "big.part").exists()


def test_a_part_that_is_complete_needs_only_its_check(server, tmp_path):
    server.files["/big"] = CONTENT
    (tmp_path / "big.part").write_bytes(CONTENT)
    fetch(f"{server.url}/big", tmp_path / "big", md5(CONTENT))
    assert (tmp_path / "big").read_bytes() == CONTENT


def test_wrong_sum_is_refused_and_removed(server, tmp_path):
    server.files["/big"] = CONTENT
    with pytest.raises(UserError, match="MD5"):
        fetch(f"{server.url}/big", tmp_path / "big", md5(b"other"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_checked_and_not_fetched(server, tmp_path):
    (tmp_path / "big").write_bytes(CONTENT)
    fetch(f"{server.url}/big", tmp_path / "big", md5(CONTENT))
    assert server.asked == []
    (tmp_path / "big").write_bytes(b"damaged")
    with pytest.raises(UserError, match="MD5"):
        fetch(f"{server.url}/big", tmp_path / "big", md5(CONTENT))


def test_missing_page_and_missing_server(server, tmp_path):
    with pytest.raises(UserError, match="404"):
        fetch(f"{server.url}/none", tmp_path / "none", md5(b""))
    with pytest.raises(UserError, match="stopped"):
        fetch("http://127.0.0.1:9/none", tmp_path / "none", md5(b""))


def test_splits_are_unpacked_once(server, librispeech_at, tmp_path):
    archives = {split: archive(split) for split in ("dev-clean", "test-clean")}
    server.files = {f"/{split}.tar.gz": data for split, data in archives.items()}
    sums = {split: md5(data) for split, data in archives.items()}
    for _ in range(2):
        librispeech_at(list(archives), sums).download(tmp_path)
    for split in archives:
        assert (tmp_path / "LibriSpeech" / split / "1" / "2" / "1-2.trans.txt").read_text() == "1 A"
    assert len(server.asked) == 2
    assert not list(tmp_path.glob("*.unpacking"))


def test_aishell_is_one_archive(server, tmp_path):
    data = archive("", "data_aishell/transcript/text")
    server.files = {"/data_aishell.tgz": data}
    corpus = Aishell1()
    corpus.url, corpus.md5 = server.url, md5(data)
    for _ in range(2):
        corpus.download(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data_aishell", "data_aishell.tgz"]
    assert (tmp_path / "data_aishell/transcript/text").read_text() == "1 A"
    assert len(server.asked) == 1


def test_a_split_in_the_librispeech_folder_itself_is_not_fetched_again(server, librispeech_at, tmp_path):
    (tmp_path / "dev-clean").mkdir()
    librispeech_at().download(tmp_path)
    assert server.asked == []


def test_an_ngram_is_fetched_to_the_path_that_names_it(server, librispeech_at, tmp_path):
    data = gzip.compress(b"\\data\\")
    for name in NGRAMS:
        server.files[f"/{name}"] = data
        path = tmp_path / "models" / name
        for _ in range(2):
            librispeech_at().download_ngram(path)
        assert path.read_bytes() == data
    assert len(server.asked) == len(NGRAMS)
    assert sorted(file.name for file in path.parent.iterdir()) == sorted(NGRAMS)
    assert LibriSpeech.ngram_url == "https://www.openslr.org/resources/11"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data[:-20], "end-of-stream"),
        (lambda data: data[:-8] + bytes([data[-8] ^ 1]) + data[-7:], "CRC check failed"),
        (lambda data: data[:20] + b"\xff" * 20 + data[40:], "damaged"),
        (lambda data: b"<html>Not here</html>", "Not a gzipped file"),
        (lambda data: gzip.compress(b""), "is empty"),
    ],
)
def test_a_damaged_ngram_is_named_and_removed(server, librispeech_at, tmp_path, damage, said):
    server.files["/4-gram.arpa.gz"] = damage(gzip.compress(CONTENT))
    with pytest.raises(UserError, match=rf"4-gram\.arpa\.gz.*{said}.* removed"):
        librispeech_at().download_ngram(tmp_path / "4-gram.arpa.gz")
    assert list(tmp_path.iterdir()) == []


def test_an_ngram_that_openslr_does_not_have(server, librispeech_at, tmp_path):
    with pytest.raises(UserError, match=r"lm\.arpa cannot be downloaded: .* 4-gram\.arpa\.gz, 3-gram"):
        librispeech_at().download_ngram(tmp_path / "lm.arpa")
    assert server.asked == []


def test_a_folder_that_cannot_be_made(librispeech_at, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="stopped"):
        librispeech_at().download_ngram(tmp_path / "file" / "4-gram.arpa.gz")


def test_an_archive_of_something_else(server, librispeech_at, tmp_path):
    data = archive("dev-other")
    server.files["/dev-clean.tar.gz"] = data
    with pytest.raises(UserError, match="does not hold LibriSpeech/dev-clean"):
        librispeech_at(md5={"dev-clean": md5(data)}).download(tmp_path)
    assert not (tmp_path / "LibriSpeech" / "dev-clean").exists()


def test_unknown_split(server, librispeech_at, tmp_path):
    with pytest.raises(UserError, match="no split 'train-clean-99'"):
        librispeech_at(["dev-clean", "train-clean-99"]).download(tmp_path)
    assert server.asked == []


def test_a_corpus_that_offers_nothing():
    with pytest.raises(UserError, match="Aishell1 has none to download"):
        Aishell1().download_ngram("4-gram.arpa.gz")
    with pytest.raises(UserError, match="Corpus cannot be downloaded"):
        Corpus(["a"], ["b"], ["c"]).download("folder")
