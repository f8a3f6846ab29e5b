import pytest

from speechbrain_recursive.data.pieces import Pieces, normal


@pytest.mark.parametrize(
    ("seq2seq", "marks"), [(True, ["<blank>", "<bos>", "<eos>", "<unk>"]), (False, ["<blank>", "<unk>"])]
)
def test_marks_come_first(seq2seq, marks):
    some = Pieces(["A", "B"], seq2seq)
    assert some.pieces == [*marks, "A", "B"]
    assert len(some) == len(marks) + 2
    named = {"<blank>": some.blank, "<bos>": some.bos, "<eos>": some.eos, "<unk>": some.unk}
    assert {mark: i for mark, i in named.items() if i is not None} == {m: i for i, m in enumerate(marks)}


def test_units_are_words():
    assert Pieces([], seq2seq=True).units(" ONE  TWO\n") == ["ONE", "TWO"]


def test_normal_text_is_composed_and_has_single_spaces():
    assert normal(" E\u0301  T\tE ") == "\u00c9 T E"
    assert normal("\u5c71\u3000\u6c34") == "\u5c71 \u6c34"
