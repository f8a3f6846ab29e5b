import pytest

from speechbrain_recursive.data.stm import read_stm
from speechbrain_recursive.errors import UserError

TEXT = """;; CATEGORY "0" "" ""
sw_4390 A sw_4390_A 0.00 8.50 <O,sw,M,sw-M> IGNORE_TIME_SEGMENT_IN_SCORING
sw_4390 A sw_4390_A 8.50 9.75 <O,sw,M,sw-M> <B_ASIDE> ((%HESITATION) { YES / YEAH } TH- <E_ASIDE>

fsh_60262 2 inter_segment_gap 0.0 1.0 <o,f0,unknown>
fsh_60262 2 fsh_60262_2 1.0 12.25 SUMMER DRUMS
fsh_60262 1 fsh_60262_1 2.0 3.25
"""


def test_segments(tmp_path):
    path = tmp_path / "a.stm"
    path.write_text(TEXT)
    found = read_stm(path)
    assert [segment[1:] for segment in found] == [
        ("sw_4390", 0, "sw_4390_A", 8.5, 9.75, "(%HESITATION) { YES / YEAH } TH-"),
        ("fsh_60262", 1, "fsh_60262_2", 1.0, 12.25, "SUMMER DRUMS"),
        ("fsh_60262", 0, "fsh_60262_1", 2.0, 3.25, ""),
    ]
    assert [segment.where for segment in found] == [f"{path}, line {n}" for n in (3, 6, 7)]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("sw_4390 A sw_4390_A 1.0", "expected '<file> <channel> <speaker> <start> <stop> WORDS'"),
        ("sw_4390 A sw_4390_A 1.0 x WORDS", "no segment lasts from 1.0 to x s"),
        ("sw_4390 A sw_4390_A 2.0 1.0 WORDS", "no segment lasts from 2.0 to 1.0 s"),
        ("sw_4390 A sw_4390_A -1 1.0 WORDS", "no segment lasts from -1 to 1.0 s"),
        ("sw_4390 A sw_4390_A nan 1.0 WORDS", "no segment lasts from nan to 1.0 s"),
        (
            "sw_4390 A a 0.0 1.0 <O> { A / B",
            "a brace or a parenthesis without its other half: '{ A / B'",
        ),
        ("sw_4390 A a 0.0 1.0 (UH", "a brace or a parenthesis without its other half: '(UH'"),
        ("sw_4390 C sw_4390_C 0.0 1.0 WORDS", "'C' is no channel, only A, B, 1, 2 are"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line, why):
    path = tmp_path / "a.stm"
    path.write_text(f";; a\n{line}\n")
    with pytest.raises(UserError) as caught:
        read_stm(path)
    assert str(caught.value) == f"{path}, line 2: {why}"
