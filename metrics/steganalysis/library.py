"""The optional package that some detectors come from."""

from types import ModuleType

from errors import UserError


def sealwatch() -> ModuleType:
    """Return the sealwatch package (Benes and Lorch, University of Innsbruck), imported on first use.

    Raises UserError, with the command that installs it, if it is missing.
    """
    try:
        import sealwatch
    except ImportError as error:
        raise UserError(
            f"this detector needs sealwatch ({error}); install it with pip install -e '.[steganalysis]'"
        ) from error
    return sealwatch
