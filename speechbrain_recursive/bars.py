"""Progress bars, where somebody can see them."""

from tqdm import tqdm


class Bar(tqdm):
    """tqdm's bar, shown on a terminal only: elsewhere the lines of the log show progress.

    ``Bar.shown = False`` turns all bars off, as ``--noprogressbar`` does.

    Arguments
    ---------
    *args
        As tqdm takes them.
    disable : bool
        Whether to leave this bar out.
    **kwargs
        As tqdm takes them.

    Example
    -------
    >>> [each * each for each in Bar([1, 2, 3], disable=True)]
    [1, 4, 9]
    """

    shown = True

    def __init__(self, *args, disable=False, **kwargs):
        # None lets tqdm look whether it writes to a terminal
        off = True if disable or not Bar.shown else None
        super().__init__(*args, disable=off, dynamic_ncols=True, **kwargs)
