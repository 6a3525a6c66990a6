"""The optional package that some detectors come from."""

from types import ModuleType


def sealwatch() -> ModuleType:
    """The sealwatch package (Benes and Lorch, University of Innsbruck), imported on first use.

    Raises ValueError, with the command that installs it, where it is missing.
    """
    try:
        import sealwatch
    except ImportError as error:
        raise ValueError(
            f"this detector needs the package sealwatch ({error}): pip install -e '.[steganalysis]'"
        ) from error
    return sealwatch
