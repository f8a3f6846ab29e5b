"""The exception that commands print as one line, without a traceback."""

import textwrap


class UserError(ValueError):
    """A mistake that the user can correct, such as a wrong path, key, file or value.

    The message is one line that names the cause and says what to do.
    """


def one_line(text: object, width: int = 600) -> str:
    """Join the lines of a message and shorten it.

    Arguments
    ---------
    text : object
        The message, or an exception.
    width : int
        Maximum number of characters.

    Returns
    -------
    str

    Example
    -------
    >>> one_line("Error in loading:\\n\\tMissing key: a", width=30)
    'Error in loading: [...]'
    """
    return textwrap.shorten(str(text), width)
