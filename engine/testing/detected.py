"""The findings of detectors: keep them as data, and make tables from them."""

import json
from pathlib import Path

from data.files import write_beside
from engine.detection import label
from engine.testing.collected import without_paths
from engine.testing.published import markdown
from engine.testing.steganalysis.kept import NAMES
from errors import UserError

LARGEST = 4_000_000  # bytes; a larger detector file is not kept
ORDER = ("stegexpose", "spam", "srm", "crm", "ica", "xunet", "srnet", "ucnet")
WRITTEN = ("security.json", "extraction.json")


def keep_detection(folder: Path, set_name: str, results: Path, replace: bool = False) -> list[Path]:
    """Keep the results in .../NAME/DETECTOR as results/detection/SET/NAME/<label>.json, with the detector.

    Returns the files. A detector's file above 4 MB is left out: the seed and the pairs reproduce it. Raises
    UserError if there are no results, or if other results are kept under that name (unless `replace`).
    """
    there = [folder / name for name in WRITTEN if (folder / name).is_file()]
    if len(there) != 1:
        raise UserError(
            f"{folder}: expected exactly one of {' and '.join(WRITTEN)}, written by scripts/steganalysis.py"
        )
    found = without_paths(json.loads(there[0].read_text()))
    name = "extract" if found["detector"] == "extract" else label(found).replace(" ", "_")
    stem = results / "detection" / set_name / folder.resolve().parent.name / name
    file = stem.with_name(f"{name}.json")
    text = json.dumps(found, indent=1) + "\n"
    if file.exists() and file.read_text() != text and not replace:
        raise UserError(f"{file}: already holds other results; --replace overwrites them")
    written = []
    for detector in NAMES:
        kept, new = stem.with_name(name + Path(detector).suffix), folder / detector
        kept.unlink(missing_ok=True)
        if new.exists() and new.stat().st_size <= LARGEST:
            write_beside(kept, new.read_bytes())
            written.append(kept)
    write_beside(file, text.encode())
    return [file, *written]


def detection(set_name: str, names: list[str], results: Path) -> list[str]:
    """Make a table of AUC, its interval and P_E: a row for each name, a column for each detector."""
    found = {name: _read(set_name, name, results, "auc") for name in names}
    rows = {name: of for name, of in found.items() if of}
    columns = sorted({c for of in rows.values() for c in of}, key=lambda c: (_place(c), c))
    lines = []
    if rows:
        cells = [[f"`{name}`", _stego(of), *(_cell(of.get(c)) for c in columns)] for name, of in rows.items()]
        lines = markdown(["stegos", "PSNR", *columns], cells)
    return noted(lines, [name for name, of in found.items() if not of])


def detectors_of(name: str, results: Path) -> dict[str, dict]:
    """Return {detector: findings} for the stegos of a run called `name`, in any set of pictures.

    SRM of all channels and of one are the same detector. Of several findings, the last by name counts.
    """
    sets = sorted(folder.name for folder in (results / "detection").glob("*/"))
    found = (item for one in sets for item in _read(one, name, results, "auc").items())
    return {column.split()[0]: findings for column, findings in found}


def extraction(set_name: str, names: list[str], results: Path) -> list[str]:
    """Make a table of what can be read without the key: PSNR in dB, and the gain over a flat mean colour."""
    rows, missing = [], []
    for name in names:
        of = _read(set_name, name, results, "flat").get("extract")
        if of is None:
            missing.append(name)
            continue
        keyed = "yes" if (of.get("stegos") or {}).get("passphrase") else "no"
        opened = f"{of['weights']['opened']} of {of['test_pairs']}"
        read = [_read_by(of[by]) for by in ("weights", "unet")]
        learned = f"{of['train_pairs']}, {of['steps']} steps"
        rows.append([f"`{name}`", keyed, f"{of['flat']['psnr']:.2f}", read[0], opened, read[1], learned])
    header = ["stegos", "passphrase", "flat colour", "weights, no key", "opened", "U-Net", "its pairs"]
    return noted(markdown(header, rows) if rows else [], missing)


def _read(set_name: str, name: str, results: Path, key: str) -> dict[str, dict]:
    """Return {label: findings} for the stegos called `name`. Results without `key` are left out."""
    files = sorted((results / "detection" / set_name / name).glob("*.json"))
    every = [json.loads(file.read_text()) for file in files]
    return {"extract" if key == "flat" else label(found): found for found in every if key in found}


def _place(column: str) -> int:
    name = column.split()[0]
    return ORDER.index(name) if name in ORDER else len(ORDER)


def _stego(of: dict[str, dict]) -> str:
    values = [found["stegos"]["psnr"] for found in of.values() if (found.get("stegos") or {}).get("psnr")]
    return f"{values[0]:.2f} dB" if values else "-"


def _cell(found: dict | None) -> str:
    if found is None:
        return "-"
    low, high = found["auc_interval"]
    pairs = f"{found['train_pairs']}+{found['test_pairs']}"
    return f"{found['auc']:.3f} ({low:.2f} to {high:.2f}), P_E {found['p_e']:.3f}; {pairs}"


def _read_by(reader: dict) -> str:
    if reader["psnr"] is None:
        return "without error"
    interval = reader["gain_interval"]
    ends = f", {interval[0]:+.2f} to {interval[1]:+.2f}" if interval else ""
    return f"{reader['psnr']:.2f} ({reader['gain']:+.2f}{ends})"


def noted(lines: list[str], missing: list[str]) -> list[str]:
    """Add to a table's lines a sentence that names what has no figure yet."""
    note = [f"Not measured yet: {', '.join(f'`{name}`' for name in missing)}."] if missing else []
    return [*lines, *([""] if lines and note else []), *note]
