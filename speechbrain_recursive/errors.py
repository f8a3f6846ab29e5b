"""The one exception that a command prints as a single line, without a traceback."""


class UserError(ValueError):
    """Something the person at the keyboard can mend: a wrong path, key, file or value.

    The message is one line that names the thing and says what to do.
    """
