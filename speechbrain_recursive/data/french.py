"""French transcripts: one spelling for what is said alike, with all accents."""

import re
import unicodedata

_TO_16 = "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize"
SMALL = [*_TO_16.split(), "dix-sept", "dix-huit", "dix-neuf"]
TENS = {2: "vingt", 3: "trente", 4: "quarante", 5: "cinquante", 6: "soixante", 8: "quatre-vingt"}
_APOSTROPHES = dict.fromkeys("’‘‛`´′ʹʼʻ", "'")
_WORDS = {"œ": "oe", "æ": "ae", "&": " et ", "%": " pour cent ", "€": " euros "}
_REPLACED = str.maketrans(_APOSTROPHES | _WORDS)
_NO_LETTERS = re.compile("[\u01c0-\u01c3\u02b0-\u02ff]")  # clicks, typed in place of !, and modifiers
_NUMBER = re.compile(
    r"([1-9][0-9]{0,2}(?:[ .][0-9]{3})+(?![0-9])|[0-9]+)"  # 10 000 or 10000
    r"(?:,([0-9]+)|(er|re|ère|i?[eè]me|e)(s?)\b)?"
)
_ELIDED = re.compile(r"(?<!\w)([cdjlmnst]|\w*qu|aujourd)' +(?=\w)")


def normalize(text: str) -> str:
    """Write a French text as it is heard.

    - Letters are composed (NFKC) and in lower case: capitals often go without their accents in print.
    - All letters and accents stay, those of other languages and scripts as well. Only the ligatures œ
      and æ become oe and ae, because people type both.
    - Every kind of apostrophe becomes ``'``. It stays within words (l'eau, aujourd'hui) and joins an
      elided word to the next, where a space or a quotation mark is between them (l' eau, d'« eau »). At
      other edges of words it goes.
    - Hyphens become spaces: they are not heard, and spelling varies (grand-père, quatre-vingt-dix).
    - Numbers in digits become words: up to 999,999,999, also in groups of three digits (10 000), with a
      decimal comma (3,5) or as ordinals (1er, 2e, 3ème). Leading zeros are read one by one, and so are
      longer numbers.
    - ``&``, ``%`` and ``€`` become et, pour cent and euros. Other punctuation and symbols, « » among
      them, become spaces.

    Abbreviations, Roman numerals and times of day stay as they are written. What has no letters and
    digits becomes an empty text. Normalizing twice changes nothing.

    Arguments
    ---------
    text : str
        A sentence.

    Returns
    -------
    str
        Words, with one space between them.

    Example
    -------
    >>> normalize("« L’Œuvre », c'est-à-dire 21 pages, a coûté 3,5 € !")
    "l'oeuvre c'est à dire vingt et un pages a coûté trois virgule cinq euros"
    """
    text = "".join(c for c in text.translate(_REPLACED) if unicodedata.category(c) != "Cf")
    text = unicodedata.normalize("NFKC", text).lower().translate(_REPLACED)
    text = _NUMBER.sub(lambda match: f" {_number(*match.groups())} ", _NO_LETTERS.sub(" ", text))
    text = "".join(c if c == "'" or unicodedata.category(c)[0] in "LM" else " " for c in text)
    text = _ELIDED.sub(r"\1'", text.replace("''", " "))
    words = (word.strip("'") for word in unicodedata.normalize("NFC", text).split())
    return " ".join(word for word in words if any(map(str.isalpha, word)))


def cardinal(number: int) -> str:
    """Spell a number in French, with the hyphens of the traditional spelling.

    Arguments
    ---------
    number : int
        0 to 999,999,999.

    Returns
    -------
    str

    Example
    -------
    >>> cardinal(71), cardinal(80), cardinal(2180)
    ('soixante et onze', 'quatre-vingts', 'deux mille cent quatre-vingts')
    """
    for size, name in ((1_000_000, "million"), (1000, "mille"), (100, "cent")):
        count, rest = divmod(number, size)
        if count:
            plural = count > 1 and (name == "million" or (name == "cent" and not rest))
            many = "" if count == 1 and name != "million" else cardinal(count)
            many = many if name == "million" else _without_plural(many)
            return " ".join(filter(None, (many, name + "s" * plural, cardinal(rest) if rest else "")))
    if number < len(SMALL):
        return SMALL[number]
    tens, units = divmod(number, 10)
    if tens in (7, 9):
        tens, units = tens - 1, units + 10
    if not units:
        return TENS[tens] + "s" * (tens == 8)
    return f"{TENS[tens]}{' et ' if units in (1, 11) and tens < 8 else '-'}{SMALL[units]}"


def ordinal(number: int) -> str:
    """Spell an ordinal in French, such as premier or vingt et unième; arguments as of :func:`cardinal`.

    Example
    -------
    >>> [ordinal(number) for number in (1, 4, 9, 80)]
    ['premier', 'quatrième', 'neuvième', 'quatre-vingtième']
    """
    stem = _without_plural(cardinal(number)).removesuffix("e")
    ends = {"cinq": "cinqu", "neuf": "neuv"}
    return "premier" if number == 1 else f"{stem[:-4]}{ends.get(stem[-4:], stem[-4:])}ième"


def _without_plural(words):
    """Without the s of vingts, cents and millions, which only ends a number."""
    return re.sub("(vingt|cent|million)s$", r"\1", words)


def _number(digits, decimals, ending, plural):
    """Words for a number, its decimals and the ending of an ordinal, if it has them."""
    digits = re.sub("[ .]", "", digits)
    if ending and len(digits) < 10:
        word = "première" if ending in ("re", "ère") and digits == "1" else ordinal(int(digits))
        return word + plural
    words = _digits(digits)
    return f"{words} virgule {_digits(decimals)}" if decimals else words


def _digits(digits):
    """Words for a run of digits."""
    if len(digits) > 9:
        return " ".join(SMALL[int(digit)] for digit in digits)
    number = digits.lstrip("0")
    zeros = [SMALL[0]] * (len(digits) - len(number))
    return " ".join([*zeros, cardinal(int(number))] if number else zeros)
