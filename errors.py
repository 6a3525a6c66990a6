"""The errors that the user can fix. Any part of the project may raise them."""


class UserError(ValueError):
    """A mistake that the caller can fix: an option, a picture, a path, a passphrase.

    The message says what was wrong, where, and what would be right. A command prints it in one line and exits
    with 2. Every other exception is a fault of the program and keeps its traceback.
    """


class NotFinite(UserError):
    """A network's weights or pictures hold NaN or infinite values: its training went wrong."""
