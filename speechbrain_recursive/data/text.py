"""Functions on the text of transcripts."""

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
