import pytest

from speechbrain_recursive.data.text import normal, units


def test_normal_text_is_composed_and_has_single_spaces():
    assert normal(" E\u0301  T\tE ") == "\u00c9 T E"
    assert normal("\u5c71\u3000\u6c34") == "\u5c71 \u6c34"


def test_units_of_each_metric():
    assert units(" ONE  TWO\n", "wer") == ["ONE", "TWO"]
    assert units(" 山 水火\n", "cer") == ["山", "水", "火"]
    assert units("CAFE\u0301", "wer") == ["CAF\u00c9"]
    assert units("E\u0301 T", "cer") == ["\u00c9", "T"]
    assert units("", "wer") == units(" ", "cer") == []
    with pytest.raises(KeyError):
        units("ONE", "per")
