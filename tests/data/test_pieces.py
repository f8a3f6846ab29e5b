import pytest

from speechbrain_recursive.data.pieces import Pieces


@pytest.mark.parametrize(
    ("seq2seq", "marks"),
    [
        (True, ["<blank>", "<bos>", "<eos>", "<unk>"]),
        (6, ["<blank>", "<bos>", "<eos>", "<unk>"]),
        (False, ["<blank>", "<unk>"]),
        (0, ["<blank>", "<unk>"]),
    ],
)
def test_marks_come_first(seq2seq, marks):
    some = Pieces(["A", "B"], seq2seq)
    assert some.pieces == [*marks, "A", "B"]
    assert some.seq2seq is bool(seq2seq)
    assert len(some) == len(marks) + 2
    named = {"<blank>": some.blank, "<bos>": some.bos, "<eos>": some.eos, "<unk>": some.unk}
    assert {mark: i for mark, i in named.items() if i is not None} == {m: i for i, m in enumerate(marks)}
