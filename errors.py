"""The error that a person can mend; any part of the project may raise it."""


class UserError(ValueError):
    """Something that the caller can put right: an option, a picture, a path, a passphrase.

    Its text says what was wrong, where, and what would be right. A command prints that text in one line and
    exits with 2. Every other exception is a fault of the program and keeps its traceback.
    """


class NotFinite(UserError):
    """A network whose weights, or whose pictures, hold NaN or infinite values: its training went wrong."""
