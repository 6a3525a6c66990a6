"""The papers' tables with this project's figures beside them, as Markdown.

Run from the checkout: `python scripts/make_tables.py --help`. What the papers say stands in
scripts/published.yml, what was measured here in the metrics.json of results folders. Exit code 0: done;
2: a file that does not fit, which one line on stderr explains; 1: anything else.
"""

import argparse
import sys
from pathlib import Path

# The checkout is run in place and installs nothing: its root is where `engine` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from engine.testing.published import Result, read_published, read_results

KINDS = {"cover/stego": "cover_stego", "secret/revealed": "secret_revealed"}
HEADS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "scc": "SCC",
    "mae": "MAE",
    "rmse": "RMSE",
    "mse": "MSE",
    "srm": "SRM (%)",
    "csr": "CSR (%)",
    "xunet": "XuNet (%)",
}
OURS = {"psnr": "psnr_rgb", "ssim": "ssim_rgb"}  # where our field has another name
DIGITS = {"psnr": 2, "mse": 5, "mae": 2, "rmse": 2, "srm": 2, "csr": 2, "xunet": 2}  # 4 for all else

PARSER = Parser(
    "make_tables.py",
    description="""\
Write the papers' tables with this project's figures beside them, as Markdown: first all results of this
project, then table by table what was published (scripts/published.yml, quoted digit by digit) and what was
measured here with the same number of secrets. A figure of ours stands beside a published one only where
method and data set are the same; else it has a row of its own.""",
    epilog="""examples:
  python scripts/make_tables.py --out tables.md
  python scripts/make_tables.py --experiments experiments scores/hinet""",
)
PARSER.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="more results folders")
PARSER.add_argument(
    "--experiments",
    type=Path,
    default=EXPERIMENTS,
    metavar="DIR",
    help="where results are looked for, as */results/*/metrics.json (default: %(default)s)",
)
PARSER.add_argument("--out", type=Path, metavar="FILE", help="write there instead of to the terminal")


def main(arguments: argparse.Namespace) -> None:
    published, results = read_published(), read_results(arguments.experiments, arguments.folders)
    text = "\n".join(page(published, results)) + "\n"
    if arguments.out:
        write_beside(arguments.out, text.encode())
        print(f"{len(results)} results beside {len(published['tables'])} published tables: {arguments.out}")
    else:
        print(text, end="")


def page(published: dict, results: list[Result]) -> list[str]:
    """The lines of the Markdown page."""
    lines = ["# Results, ours and published", ""]
    lines += ["## Measured by this project", ""]
    if results:
        lines += overview(results)
    else:
        lines.append("None yet: `python test.py -opt options/test/quickstart.yml` makes the first.")
    lines += ["", "## Beside what was published", ""]
    lines.append(
        "Columns called *paper* are quoted; columns called *ours* were measured here, over RGB, and [n] is "
        "the run above. A figure that was revealed from floats cannot be had from an 8-bit file."
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
        for part, sets in table["parts"].items():
            lines += ["", f"**{part}**", ""]
            lines += compared(table["columns"], part, sets, matching, published["names"])
    return lines


def overview(results: list[Result]) -> list[str]:
    """All of ours: one row a run, then what each run was."""
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


def compared(columns: list[str], part: str, sets: dict, results: list[Result], names: dict) -> list[str]:
    """One part of a published table: method and data set down, each figure as paper and ours across."""
    ours: dict[tuple[str, str], list[tuple[str, dict]]] = {}
    for result in results:
        method = names.get(result.metrics["method"], result.metrics["method"])
        for detail, values in figures(result, part):
            key = (method, result.metrics["dataset"])
            ours.setdefault(key, []).append((f"{result.mark} {detail}".strip(), values))
    rows = []
    for dataset, methods in sets.items():
        for method, numbers in methods.items():
            paired = ours.pop((method, dataset), [("", {})])
            for mark, values in paired:
                rows.append([method, dataset, *beside(columns, numbers, values), mark])
    for (method, dataset), measured in ours.items():
        rows += [[method, dataset, *beside(columns, [], values), mark] for mark, values in measured]
    heads = [f"{HEADS[column]} {whose}" for column in columns for whose in ("paper", "ours")]
    return markdown(["method", "data", *heads, "run"], rows)


def beside(columns: list[str], numbers: list[str], values: dict) -> list[str]:
    cells = []
    for k, column in enumerate(columns):
        cells += [numbers[k] if numbers else "-", shown(values.get(column), DIGITS.get(column, 4))]
    return cells


def figures(result: Result, part: str) -> list[tuple[str, dict]]:
    """What a run says about one part of a table: (detail, {column: value}), one or more, or none."""
    if part in KINDS:
        summary = result.metrics[KINDS[part]]
        return [("", scores(summary))] if summary else []
    if part == "steganalysis":
        errors = {name: 100 * one["p_e"] for name, one in result.security.items() if "p_e" in one}
        return [("", errors)] if errors.keys() & HEADS.keys() else []
    kind = part.removeprefix("after ")
    return [
        (attack["attack"], scores(attack["secret_revealed"]))
        for attack in result.metrics.get("attacks", ())
        if attack["attack"].split()[0] == kind and " + " not in attack["attack"]  # of a chain
    ]


def scores(summary: dict) -> dict:
    values = {column: summary.get(OURS.get(column, column)) for column in HEADS}
    if isinstance(summary.get("mse"), float):
        values["mse"] = summary["mse"] / 255**2  # ours is in grey levels squared
    return values


def shown(value: float | str | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def markdown(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
