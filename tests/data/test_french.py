import random
import unicodedata

import pytest

from speechbrain_recursive.data.french import cardinal, normalize, ordinal
from speechbrain_recursive.data.text import normal, units


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # case, accents and other letters
        ("Où ÉTAIT l'Élève ?", "où était l'élève"),
        ("ÀÂÇÈÉÊËÎÏÔÙÛÜŸ", "àâçèéêëîïôùûüÿ"),
        ("E\u0301te\u0301", "été"),
        ("Łódź, Muñoz, Ωμέγα, Москва, 東京", "łódź muñoz ωμέγα москва 東京"),
        ("ﬁn", "fin"),
        # ligatures
        ("Un cœur, des Œufs, curriculum vitæ", "un coeur des oeufs curriculum vitae"),
        # apostrophes
        ("l’eau l'eau l`eau l´eau lʼeau l＇eau l′eau", " ".join(["l'eau"] * 7)),
        ("aujourd’hui, jusqu’à presqu’île", "aujourd'hui jusqu'à presqu'île"),
        ("L' eau d'« été » qu'“il” a", "l'eau d'été qu'il a"),
        ("'Bonjour', dit-il ‘ici’", "bonjour dit il ici"),
        ("l''eau ''rock'n'roll''", "l eau rock'n'roll"),
        ("Les copains' et James' ami", "les copains et james ami"),
        # hyphens, punctuation and symbols
        ("Peut-être est-ce quatre-vingt-dix–huit — oui", "peut être est ce quatre vingt dix huit oui"),
        ('«Ah !» "oui"… (non) [si] ; <b> a/b_c * # @', "ah oui non si b a b c"),
        ("aujour\u00add\u200bhui Hélasǃ", "aujourdhui hélas"),
        ("Dupont & fils : 50 % de 10 €", "dupont et fils cinquante pour cent de dix euros"),
        # digits
        (
            "En 1998, 21 et 71",
            "en mille neuf cent quatre vingt dix huit vingt et un et soixante et onze",
        ),
        ("10 000, 10\u202f000 et 10.000", "dix mille dix mille et dix mille"),
        ("en 2010 300", "en deux mille dix trois cents"),
        ("3,5 3,05 0,7", "trois virgule cinq trois virgule zéro cinq zéro virgule sept"),
        (
            "1er 1re 1ère 1ers 2e 3ème 9es",
            "premier première première premiers deuxième troisième neuvièmes",
        ),
        ("le 10 000e", "le dix millième"),
        ("007 00", "zéro zéro sept zéro zéro"),
        ("1234567890", "un deux trois quatre cinq six sept huit neuf zéro"),
        ("A4 m²", "a quatre m deux"),
        # nothing to say
        ("", ""),
        ("... ? ' « »", ""),
    ],
)
def test_normalization(text, expected):
    assert normalize(text) == expected
    assert normalize(expected) == expected


def test_normalizing_twice_changes_nothing_whatever_the_characters():
    for code in (*range(0x3400), *range(0xF900, 0x10000), *range(0x1D400, 0x1D800)):
        once = normalize(f"{chr(code)} l{chr(code)} e{chr(code)}\u0301")
        assert normalize(once) == normal(once) == once, hex(code)


def test_normalizing_twice_changes_nothing_in_whatever_order():
    rng = random.Random(0)
    pieces = [*"aeèlcœ'’´ -.,0123%€«»\"\u0301\u200b\u00adǃ", "qu'", "d' ", "1er", " 000", "20"]
    for _ in range(20000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 9)))
        once = normalize(text)
        assert normalize(once) == once, text
        assert not any(c.isdigit() or c.isupper() for c in once)
        assert all(word.strip("'") == word for word in once.split())


def test_transcripts_are_their_own_units():
    said = normalize("L’été, où l'on a vu « l'Œuvre »…")
    assert units(said, "wer") == said.split()
    assert unicodedata.is_normalized("NFC", said)


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (0, "zéro"),
        (1, "un"),
        (16, "seize"),
        (17, "dix-sept"),
        (21, "vingt et un"),
        (22, "vingt-deux"),
        (61, "soixante et un"),
        (70, "soixante-dix"),
        (71, "soixante et onze"),
        (77, "soixante-dix-sept"),
        (80, "quatre-vingts"),
        (81, "quatre-vingt-un"),
        (91, "quatre-vingt-onze"),
        (99, "quatre-vingt-dix-neuf"),
        (100, "cent"),
        (101, "cent un"),
        (200, "deux cents"),
        (201, "deux cent un"),
        (380, "trois cent quatre-vingts"),
        (1000, "mille"),
        (1001, "mille un"),
        (3000, "trois mille"),
        (80_000, "quatre-vingt mille"),
        (200_000, "deux cent mille"),
        (1_000_000, "un million"),
        (80_000_000, "quatre-vingts millions"),
        (300_000_300, "trois cents millions trois cents"),
    ],
)
def test_numbers(number, spelled):
    assert cardinal(number) == spelled


VALUES = {cardinal(n): n for n in range(17)} | {"vingt": 20, "trente": 30, "quarante": 40}
VALUES |= {"cinquante": 50, "soixante": 60, "cent": 100, "mille": 1000, "million": 1_000_000}


def value(spelled):
    """What a spelled number means, read word by word."""
    total = part = 0
    for word in spelled.replace("-", " ").split():
        word = word if word in VALUES else word.removesuffix("s")
        if word in ("mille", "million"):
            total, part = total + max(part, 1) * VALUES[word], 0
        elif word == "cent":
            part = max(part, 1) * 100
        elif word == "vingt" and part % 100 == 4:
            part += 76
        elif word != "et":
            part += VALUES[word]
    return total + part


def test_all_numbers_mean_themselves():
    rng = random.Random(0)
    for number in [*range(20_000), *(rng.randint(0, 999_999_999) for _ in range(2000))]:
        assert value(cardinal(number)) == number
    assert len({cardinal(number) for number in range(100_000)}) == 100_000


@pytest.mark.parametrize(
    ("number", "spelled"),
    [
        (1, "premier"),
        (2, "deuxième"),
        (4, "quatrième"),
        (5, "cinquième"),
        (9, "neuvième"),
        (21, "vingt et unième"),
        (80, "quatre-vingtième"),
        (200, "deux centième"),
        (1000, "millième"),
    ],
)
def test_ordinals(number, spelled):
    assert ordinal(number) == spelled
