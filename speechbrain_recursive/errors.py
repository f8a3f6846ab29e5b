"""The one exception that a command prints as a single line, without a traceback."""

import textwrap


class UserError(ValueError):
    """Something the person at the keyboard can mend: a wrong path, key, file or value.

    The message is one line that names the thing and says what to do.
    """


def one_line(text, width=600):
    """A message, perhaps PyTorch's of many lines, as one line that is cut at a width.

    Arguments
    ---------
    text : object
        What has a text, such as an exception.
    width : int
        Characters at most.

    Returns
    -------
    str

    Example
    -------
    >>> one_line("Error in loading:\\n\\tMissing key: a", width=30)
    'Error in loading: [...]'
    """
    return textwrap.shorten(str(text), width)
