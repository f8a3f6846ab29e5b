"""A comparison agrees with the rates and tests that it is made of."""

from speechbrain_recursive.analysis.comparison import compare, comparison_table
from speechbrain_recursive.analysis.pairs import Pair
from speechbrain_recursive.analysis.wer import error_rate

WORDS = list("ABCDEF")
RIGHT = [(f"u{i}", WORDS, WORDS) for i in range(12)]
WRONG = [(f"u{i}", WORDS, ["X", *WORDS[1:]] if i % 4 else WORDS) for i in range(12)]
MIXED = [(f"u{i}", WORDS, [*WORDS[:5], "X"] if i == 3 else WORDS) for i in range(12)]


def row_of(first, second):
    return compare(Pair("test", "greedy", ("1", "4"), "wer", first, second))


def test_parts_and_the_verdict():
    row = row_of(WRONG, MIXED)
    assert row["labels"] == ["1", "4"]
    assert row["first"]["wer"] == error_rate(WRONG).wer
    assert row["difference"]["points"] == error_rate(MIXED).wer - error_rate(WRONG).wer
    assert row["difference"]["high"] < 0
    assert row["mapsswe"]["segments"] == 10
    assert row["mapsswe"]["z"] > 0
    table = comparison_table([row, row_of(MIXED, WRONG), row_of(MIXED, MIXED)])
    verdicts = [line.split("|")[-2].strip() for line in table.splitlines()[2:]]
    assert verdicts == ["B better", "A better", "no difference"]
    assert "12.50 [8.33, 16.67]" in table
