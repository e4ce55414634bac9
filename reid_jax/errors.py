"""The one exception for what a user handed in."""


class InputError(ValueError):
    """Something handed in is wrong: the message tells what, where, which value and what to do, in one line.

    The command line prints the message without a traceback and exits with 2; library callers catch it as
    the `ValueError` that it is.
    """
