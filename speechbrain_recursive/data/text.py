"""Functions on the text of transcripts."""

import re
import unicodedata


def normal(text: str) -> str:
    """Put one space between words and compose characters (NFC); nothing else changes.

    Arguments
    ---------
    text : str
        Words and white space.

    Returns
    -------
    str

    Example
    -------
    >>> normal(" ONE\\t TWO ")
    'ONE TWO'
    """
    return unicodedata.normalize("NFC", " ".join(text.split()))


def units(text: str, metric: str) -> list[str]:
    """Split a text into the units that an error rate counts, composed as tokenizers compose them.

    Arguments
    ---------
    text : str
        A transcript or a hypothesis.
    metric : str
        ``"wer"``: words; ``"cer"``: characters without spaces.

    Returns
    -------
    list of str

    Example
    -------
    >>> units("A CAB", "wer"), units("A CAB", "cer")
    (['A', 'CAB'], ['A', 'C', 'A', 'B'])
    >>> units("CAFE\u0301", "cer") == units("CAF\u00c9", "cer")
    True
    """
    words = normal(text).split()
    return {"wer": words, "cer": [*"".join(words)]}[metric]


def plain(text: str, case: str) -> str:
    """Leave letters, digits and apostrophes within words, all in one case.

    Arguments
    ---------
    text : str
        A sentence in any language.
    case : str
        ``"upper"`` or ``"lower"``.

    Returns
    -------
    str
        Words, with one space between them. Digits stay as they are.

    Example
    -------
    >>> plain("“Don’t!” said Zoë, aged twenty-one.", "upper")
    "DON'T SAID ZOË AGED TWENTY ONE"
    """
    text = normal({"upper": str.upper, "lower": str.lower}[case](re.sub("[’ʼ]", "'", text)))
    kept = "".join(c if c == "'" or unicodedata.category(c)[0] in "LMN" else " " for c in text)
    return " ".join(word for word in (word.strip("'") for word in kept.split()) if word)
