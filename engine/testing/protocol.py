"""The version of metrics.json, and how to read it."""

import json
from pathlib import Path

from errors import UserError

# Raise it when a figure is measured in another way under the same name, or a field gets another meaning.
# 1 (no field `protocol`): no intervals, and stegos refused after an attack scored as mid-grey.
PROTOCOL = 2


def read_metrics(folder: Path) -> dict:
    """Read the metrics.json of a results folder.

    Raises UserError if it is missing or broken, or has another protocol.
    """
    file = folder / "metrics.json"
    metrics = read_json(file)
    check_protocol(metrics, file)
    needed = {"method", "dataset", "num_secrets", "groups", "cover_stego", "secret_revealed"}
    if missing := sorted(needed - metrics.keys()):
        raise UserError(
            f"{file}: not written by test.py or scripts/evaluate.py ({', '.join(missing)} missing)"
        )
    return metrics


def check_protocol(content: dict, file: Path) -> None:
    """Raise UserError for results that were measured by another protocol."""
    found = content.get("protocol", 1)
    if found != PROTOCOL:
        raise UserError(
            f"{file}: results of protocol {found}, but this program reads and writes protocol {PROTOCOL} "
            "(docs/evaluation.md); run the test again"
        )


def read_json(file: Path) -> dict:
    """Read a JSON object from a results folder. Raises UserError if the file holds none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file.parent}: no results here ({file.name} is missing)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object")
    return content
