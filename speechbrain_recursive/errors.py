"""The exception that commands print as one line, without a traceback."""

import textwrap


class UserError(ValueError):
    """A mistake that the user can correct, such as a wrong path, key, file or value.

    The message is one line that names the cause and says what to do.
    """


def of_system(error: OSError) -> str:
    """What the operating system refused, and for which path.

    Arguments
    ---------
    error : OSError
        Such as the one of a folder that may not be written, or of a full disk.

    Returns
    -------
    str

    Example
    -------
    >>> of_system(PermissionError(13, "Permission denied", "/results"))
    '/results: Permission denied'
    """
    what = error.strerror or one_line(error) or type(error).__name__
    return what if error.filename is None else f"{error.filename}: {what}"


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
