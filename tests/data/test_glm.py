"""Rules of NIST's global mapping files: what they change, and that words are never changed in part."""

import os
import shutil
import subprocess

import pytest

from speechbrain_recursive.analysis.nist import DEBIAN
from speechbrain_recursive.data.glm import GLM
from speechbrain_recursive.errors import UserError

RULES = """;; rules of a test
* name "test.glm"
* format = 'NIST1'
* case_sensitive = 'F'
UH => (%HESITATION) / [ ] __ [ ] ;; a comment
um => [(%HESITATION)] / [ ] __ [ ]
OK => O. K. / [ ] __ [ ]
FALKNER => FAULKNER / [WILLIAM ] __
T. => TEE / __ [ SHIRT]
"ALL RIGHT" => "ALRIGHT"
FUNDRAIS => FUND RAIS
A B => C / [ ] __ [ ]
A => D / [ ] __ [ ]
;; INPUT_DEPENDENT_APPLICATION = "ctm"
HE'S => [{HE'S / HE IS / HE HAS}] / [ ] __ [ ]
;; INPUT_DEPENDENT_APPLICATION = "ref"
CAN'T => [CAN NOT] / [ ] __ [ ]
;; INPUT_DEPENDENT_APPLICATION = "stm|ctm"
LOONEY => LOONY
"""
TEXTS = {  # text: as a reference, as a hypothesis
    "summer drummer uh-huh": ("SUMMER DRUMMER UH HUH",) * 2,
    "uh um UH uh": ("(%HESITATION) (%HESITATION) (%HESITATION) (%HESITATION)",) * 2,
    "hum duh okay ok": ("HUM DUH OKAY O. K.",) * 2,
    "william falkner falkner": ("WILLIAM FAULKNER FALKNER", "WILLIAM FALKNER FALKNER"),
    "a t. shirt": ("D TEE SHIRT", "D T. SHIRT"),
    "all right fundraiser": ("ALRIGHT FUND RAISER", "ALL RIGHT FUND RAISER"),
    "a b a c b": ("C D C B", "D B D C B"),
    "he's can't looney": ("HE'S CAN NOT LOONY", "{HE'S / HE IS / HE HAS} CAN'T LOONY"),
    "twenty-one- -ing x-ray": ("TWENTY ONE- -ING X RAY",) * 2,
    "": ("", ""),
}
MARKED = {
    "{ ok / fine } (i am) (uh-huh) @": "{ O. K. / FINE } (I) (AM) (UH) (HUH) @",
    "(%hesitation) th-": "(%HESITATION) TH-",
}
HAVE = all(
    shutil.which(name, path=f"{os.environ['PATH']}:{DEBIAN}") for name in ("csrfilt.sh", "rfilter1")
)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "test.glm").write_text(RULES)
    return tmp_path / "test.glm"


@pytest.mark.parametrize("text", TEXTS)
def test_rules(path, text):
    glm = GLM(path)
    assert (glm(text, "reference"), glm(text, "hypothesis")) == TEXTS[text]


@pytest.mark.parametrize("text", MARKED)
def test_alternatives_and_words_that_may_be_missing(path, text):
    assert GLM(path)(text, "reference") == MARKED[text]


@pytest.mark.skipif(not HAVE, reason="NIST's csrfilt.sh is not installed")
def test_nists_own_programs_give_the_same(path):
    texts = [text for text in (*TEXTS, *MARKED) if text]
    lines = "".join(f"a A a {i}.0 {i}.5 <O> {text}\n" for i, text in enumerate(texts))
    environment = os.environ | {"PATH": f"{os.environ['PATH']}:{DEBIAN}"}
    command = ["csrfilt.sh", "-i", "stm", "-t", "ref", "-dh", path]
    done = subprocess.run(
        command, input=lines, env=environment, capture_output=True, text=True, check=True
    )
    theirs = [line.partition("<O> ")[2] for line in done.stdout.splitlines()]
    assert theirs == [GLM(path)(text, "reference").replace(") (", ") (") for text in texts]


def test_without_a_file_only_hyphens_change():
    assert GLM()("uh twenty-one OK", "hypothesis") == "UH TWENTY ONE OK"


def test_case_and_copying_are_as_the_header_says(tmp_path):
    path = tmp_path / "test.glm"
    path.write_text(";;\n* copy_no_hit = 'F'\nuh => UM\nB => C\n")
    assert GLM(path)("uh b", "reference") == "C"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("UH -> UM", "'UH -> UM' is no rule"),
        ("=> UM", "'=> UM' is no rule"),
        ("[] => UM", "is no rule"),
        ("HE'S => [{HE IS / HE HAS] / [ ] __ [ ]", "a brace or a parenthesis without its other half"),
        ("UH => (%HESITATION / [ ] __ [ ]", "a brace or a parenthesis without its other half"),
        ("* format = 'NIST2'", "format 'NIST2' cannot be read"),
        ("* format = NIST1", "a value in quotation marks"),
        (';; INPUT_DEPENDENT_APPLICATION = "("', "no regular expression"),
    ],
)
def test_what_does_not_parse_is_named(tmp_path, line, why):
    path = tmp_path / "test.glm"
    path.write_text(f";; rules\nUM => UH\n{line}\n")
    with pytest.raises(UserError, match=rf"^{path}, line 3: ") as caught:
        GLM(path)
    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_glm_is_named(tmp_path):
    path = tmp_path / "test.glm"
    for text in ("", "UH => UM\n"):
        path.write_text(text)
        with pytest.raises(UserError, match=rf"^{path}, line 1: rules begin with a comment"):
            GLM(path)
    with pytest.raises(UserError, match="does not exist"):
        GLM(tmp_path / "other.glm")


@pytest.mark.parametrize("text", ["( uh", "uh )", ") uh ("])
def test_parentheses_that_do_not_match(path, text):
    with pytest.raises(ValueError, match="parentheses"):
        GLM(path)(text, "reference")
