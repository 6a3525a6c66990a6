"""Make the tables and plots of the pages, from our results and the papers' printed figures.

Run from the checkout: `python scripts/make_tables.py --help`. The papers' figures are in
scripts/published.yml, ours in docs/results/ (written by scripts/collect.py) and in the metrics.json of
results folders. Exit code 0: done; 2: a file or a page that does not fit, which one line on stderr explains;
1: anything else.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from engine.command import Parser, run_command
from engine.log import EXPERIMENTS, ROOT
from engine.testing.collected import RESULTS
from engine.testing.pages import fill_pages
from engine.testing.published import Result, compared_parts, markdown, read_published, read_results, shown
from errors import UserError

PARSER = Parser(
    "make_tables.py",
    description="""\
Write the papers' tables with this project's figures beside them, as Markdown: first all results of this
project, then each published table (scripts/published.yml, quoted digit by digit) with our measurements for
the same number of secrets. Our figure is in the row of a published one only if method and data set are the
same; otherwise it has its own row. Luma is compared only with luma.

With --pages: fill the tables of README.md and docs/ from docs/results/, each between two marks:
  <!-- table: comparison SET NAME... -->                  means with intervals, spread over seeds
  <!-- table: brief SET NAME... -->                       the same, only PSNR
  <!-- table: differences SET NAME:OTHER... -->           PSNR of NAME minus that of OTHER, in pairs
  <!-- table: target SET NAME... -->                      minutes to 36 / 28 dB
  <!-- table: survival SET NAME... -->                    share that survives each attack, a column per run
  <!-- table: benchmark SET NAME -->                      the output of benchmark.py network --json
  <!-- table: published SET TABLE NAME... -->             a table of scripts/published.yml
  <!-- table: detection SET NAME... -->                   AUC of each detector on the stegos called NAME
  <!-- table: extraction SET NAME... -->                  what can be read without the key
  <!-- end -->
and draw the plots: <!-- plot: FILE SET NAME... -->. NAME is the name of a file in docs/results/SET without
_seed_K, and may contain * and ?. SET may be several sets, separated by commas.""",
    epilog="""examples:
  python scripts/make_tables.py --out tables.md
  python scripts/make_tables.py --experiments experiments scores/hinet
  python scripts/make_tables.py --pages
  python scripts/make_tables.py --pages --check""",
)
PARSER.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="more results folders")
PARSER.add_argument(
    "--experiments",
    type=Path,
    default=EXPERIMENTS,
    metavar="DIR",
    help="folder to search for */results/*/metrics.json (default: %(default)s)",
)
PARSER.add_argument("--out", type=Path, metavar="FILE", help="write to this file, not to the terminal")


PARSER.add_argument("--pages", action="store_true", help="fill the tables and draw the plots of the pages")
PARSER.add_argument("--check", action="store_true", help="with --pages: only check that pages match the data")


def main(arguments: argparse.Namespace) -> None:
    if arguments.check and not arguments.pages:
        raise UserError("--check goes with --pages")
    if arguments.pages:
        fill_pages(ROOT, RESULTS, arguments.check)
        return
    published, results = read_published(), read_results(arguments.experiments, arguments.folders)
    text = "\n".join(page(published, results)) + "\n"
    if arguments.out:
        write_beside(arguments.out, text.encode())
        print(f"{len(results)} results beside {len(published['tables'])} published tables: {arguments.out}")
    else:
        print(text, end="")


def page(published: dict, results: list[Result]) -> list[str]:
    """Return the lines of the Markdown page."""
    lines = ["# Results, ours and published", ""]
    lines += ["## Measured by this project", ""]
    if results:
        lines += overview(results)
    else:
        lines.append("None yet. `python test.py -opt options/test/quickstart.yml` makes the first.")
    lines += ["", "## Beside what was published", ""]
    lines.append(
        "Columns called *paper* are quoted. Columns called *ours* were measured here, over RGB, or over luma "
        "if the heading says so; [n] is the run above. An 8-bit file cannot reach a figure that was revealed "
        "from floats."
    )
    for table in published["tables"]:
        lines += [
            "",
            f"### {table['title']}",
            "",
            f"{published['sources'][table['source']]}. {table['about']}",
        ]
        matching = [r for r in results if r.metrics["num_secrets"] == int(table["num_secrets"])]
        if table.get("ours") == "none":  # a study of another network's parts
            matching = []
        lines += ["", *compared_parts(table, matching, published["names"])]
    return lines


def overview(results: list[Result]) -> list[str]:
    """Return all of our results: one row per run, then a description of each run."""
    names = "run method secrets data stego revealed worst CDT payload bound efficiency AUC".split()
    rows = []
    for result in results:
        m = result.metrics
        revealed = m["secret_revealed"] or {}
        auc = [f"{one['auc']:.3f} ({name})" for name, one in result.security.items() if "auc" in one]
        rows.append(
            [
                result.mark,
                m["method"],
                str(m["num_secrets"]),
                m["dataset"],
                f"{shown(m['cover_stego']['psnr_rgb'])} dB",
                f"{shown(revealed.get('psnr_rgb'))} dB",
                f"{shown(revealed.get('worst_psnr_rgb'))} dB",
                f"{shown(m.get('cdt_db'))} dB",
                shown(m.get("payload_bpp")),
                shown(m.get("capacity", {}).get("bound_bpp")),
                shown(m.get("cdt_efficiency"), 3),
                ", ".join(auc) or "-",
            ]
        )
    lines = markdown(names, rows) + [""]
    for result in results:
        m = result.metrics
        command = m.get("command")
        about = [
            f"`python {' '.join(command)}`" if command else "command not recorded",
            f"{m['dataset']}, {m.get('groups', '?')} groups",
            f"weights of step {m['weights_step']}" if m.get("weights_step", -1) >= 0 else "",
            m.get("device", ""),
            f"through: {m.get('through', '?')}",
        ]
        lines.append(f"- {result.mark} {'; '.join(filter(None, about))}")
    return lines


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
