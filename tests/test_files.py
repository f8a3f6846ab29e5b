import pytest

from speechbrain_recursive.errors import UserError
from speechbrain_recursive.files import read_text, write_whole


def test_what_is_no_text_file_is_called_what_it_is(tmp_path):
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for path, said in (
        (tmp_path / "gone", "does not exist"),
        (tmp_path, "is a folder, not a file"),
        (tmp_path / "latin", r"is not UTF-8 text \(byte 3\)"),
    ):
        with pytest.raises(UserError, match=f"^{path} {said}$"):
            read_text(path)
    with pytest.raises(UserError, match=r"^no tokenizer$"):
        read_text(tmp_path / "gone", "no tokenizer")
    with pytest.raises(UserError, match="is a folder"):
        read_text(tmp_path, "no tokenizer")
    (tmp_path / "text").write_text("caf\u00e9", encoding="utf-8")
    assert read_text(tmp_path / "text") == "caf\u00e9"


def test_writing_follows_no_link(tmp_path):
    (tmp_path / "outside").write_text("before")
    (tmp_path / ".a.md.partial").symlink_to("outside")  # as a hostile folder could hold it
    with pytest.raises(OSError, match="symbolic link"):
        write_whole(tmp_path / "a.md", "after")
    assert (tmp_path / "outside").read_text() == "before"
    (tmp_path / ".a.md.partial").unlink()
    (tmp_path / "a.md").symlink_to("outside")
    assert not write_whole(tmp_path / "a.md", "after").is_symlink()
    assert (tmp_path / "outside").read_text() == "before"
