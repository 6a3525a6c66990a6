"""metrics.json as this program writes it: its version, and the one way to read it."""

import json
from pathlib import Path

from errors import UserError

# Raised where a figure of the same name is measured in another way, or a field gets another meaning.
# 1 (no field `protocol`): no intervals; after an attack, refused stegos scored as mid-grey.
PROTOCOL = 2


def read_metrics(folder: Path) -> dict:
    """The metrics.json of a results folder. Raises UserError for none, a broken one, or another protocol."""
    file = folder / "metrics.json"
    metrics = read_json(file)
    check_protocol(metrics, file)
    needed = {"method", "dataset", "num_secrets", "groups", "cover_stego", "secret_revealed"}
    if missing := sorted(needed - metrics.keys()):
        raise UserError(
            f"{file}: not what test.py or scripts/evaluate.py writes ({', '.join(missing)} missing)"
        )
    return metrics


def check_protocol(content: dict, file: Path) -> None:
    """Raises UserError for results that were measured by another protocol."""
    found = content.get("protocol", 1)
    if found != PROTOCOL:
        raise UserError(
            f"{file}: results of protocol {found}, this program reads and writes protocol {PROTOCOL} "
            "(docs/evaluation.md); run the test again"
        )


def read_json(file: Path) -> dict:
    """A JSON object from a results folder. Raises UserError where there is none."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{file.parent}: no results here ({file.name} is missing)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected a JSON object")
    return content
