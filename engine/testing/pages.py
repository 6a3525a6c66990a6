"""Fill the tables and plots of pages from docs/results/, so that nobody types them by hand."""

import hashlib
import json
import re
from fnmatch import fnmatch
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from data.files import replaced_at_once, write_beside
from engine.benchmark import kept_table
from engine.testing.collected import read_set
from engine.testing.detected import detection, detectors_of, extraction, noted
from engine.testing.published import Result, compared_parts, read_published
from engine.testing.tables import Row, brief, comparison, differences, plot, points, rows_of, survival, target
from errors import UserError

MARKED = re.compile(r"(<!-- table: ([^>]*?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
OF_DETECTORS = {"detection": detection, "extraction": extraction}  # kinds of table from detectors' findings
# Kinds of table whose function takes only rows.
OF_ROWS = {"brief": brief, "comparison": comparison, "target": target, "survival": survival}
PLOTTED = re.compile(r"<!-- plot: ([^>]*?) -->")
DRAWN_FROM = "results"  # the PNG text field that names the data in the plot


def fill_pages(root: Path, results: Path, check: bool = False) -> None:
    """Fill the tables and draw the plots of README.md, docs/ and the cards of shipped networks.

    check: change nothing, and raise UserError for the first table or plot that is out of date.
    """
    cards = sorted((root / "experiments" / "pretrained").glob("*/README.md"))
    for file in (root / "README.md", *sorted((root / "docs").rglob("*.md")), *cards):
        text = file.read_text(encoding="utf-8")
        new = filled(text, results)
        if new != text:
            if check:
                raise UserError(
                    f"{file}: its tables do not match {results}; run python scripts/make_tables.py --pages"
                )
            write_beside(file, new.encode())
            print(file)
        for picture, rows in plots(text, results):
            if rows and drawn_from(file.parent / picture) != digest(rows):
                if check:
                    raise UserError(
                        f"{file.parent / picture}: does not match {results}; run python "
                        "scripts/make_tables.py --pages"
                    )
                draw(file.parent / picture, rows)
                print(file.parent / picture)


def filled(text: str, results: Path) -> str:
    """Return the text of a page with each marked table made anew."""

    def made(found: re.Match) -> str:
        return found[1] + "\n".join(["", *marked_table(found[2].split(), results), "", ""]) + found[4]

    return MARKED.sub(made, text)


def marked_table(words: list[str], results: Path) -> list[str]:
    """Return the lines of one table. words: its kind, its set, and the names of its rows."""
    if len(words) < 3:
        raise UserError(f"<!-- table: {' '.join(words)} -->: expected a kind, a set and names")
    kind, set_name, *names = words
    if kind in OF_DETECTORS:
        return OF_DETECTORS[kind](set_name, names, results)
    if kind == "benchmark":
        return [line for name in names for line in kept_table(results / set_name / f"{name}.json")]
    there = [run for name in set_name.split(",") for run in read_set(name, results)]
    runs = {row[0].base: row for row in rows_of(there)}
    if kind == "differences":
        pairs = [tuple(name.split(":")) for name in names]
        both = [(runs[a], runs[b]) for a, b in pairs if a in runs and b in runs]
        missing = [f"{a} minus {b}" for a, b in pairs if a not in runs or b not in runs]
        lines = differences(both) if both else []
    else:
        table = names.pop(0) if kind == "published" else ""
        rows, missing = chosen(runs, names)
        if kind == "published":
            lines = published_table(table, rows, results)
        elif kind in OF_ROWS:
            lines = OF_ROWS[kind](rows) if rows else []
        else:
            raise UserError(f"<!-- table: {' '.join(words)} -->: unknown kind of table '{kind}'")
    return noted(lines, missing)


def chosen(runs: dict[str, Row], names: list[str]) -> tuple[list[Row], list[str]]:
    """Return the rows that match one of the names, in the table's order, and the names without a row.

    A name may be a pattern with wildcards.
    """
    rows = [row for base, row in runs.items() if any(fnmatch(base, name) for name in names)]
    return rows, [name for name in names if not any(fnmatch(base, name) for base in runs)]


def published_table(table_id: str, rows: list[Row], results: Path) -> list[str]:
    """Make one table of scripts/published.yml with seed 0 of each of our rows, without a heading.

    Detectors' errors are those of the stegos that are kept under the row's name.
    """
    published = read_published()
    tables = [table for table in published["tables"] if table["id"] == table_id]
    if not tables:
        raise UserError(f"scripts/published.yml has no table '{table_id}'")
    ours = [
        Result(row[0].base, row[0].content | {"dataset": row[0].set}, detectors_of(row[0].base, results))
        for row in rows
    ]
    return compared_parts(tables[0], ours, published["names"])


def plots(text: str, results: Path) -> list[tuple[str, list[Row]]]:
    """Return the plots that a page asks for: (file relative to the page, rows)."""
    found = []
    for match in PLOTTED.finditer(text):
        picture, set_name, *names = match[1].split()
        runs = {row[0].base: row for row in rows_of(read_set(set_name, results))}
        found.append((picture, chosen(runs, names)[0]))
    return found


def draw(file: Path, rows: list[Row]) -> None:
    """Draw the plot of these rows to a PNG file that carries their checksum."""
    about = PngInfo()
    about.add_text(DRAWN_FROM, digest(rows))
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(file) as part:
        Image.fromarray(plot(rows)).save(part, "PNG", pnginfo=about, optimize=True)


def digest(rows: list[Row]) -> str:
    """Return a checksum of the points in a plot."""
    return hashlib.sha256(json.dumps(points(rows)).encode()).hexdigest()


def drawn_from(file: Path) -> str | None:
    """Return the checksum in a plot's file; None if there is no file, or no checksum in it."""
    if not file.exists():
        return None
    with Image.open(file) as picture:
        return picture.info.get(DRAWN_FROM)
