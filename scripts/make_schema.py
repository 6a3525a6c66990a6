#!/usr/bin/env python
"""Write options/schema.json, docs/options.md, and the line in each option file that names the schema."""

import argparse
import json
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import Parser, run_command
from engine.log import ROOT

SCHEMA, PAGE = ROOT / "options" / "schema.json", ROOT / "docs" / "options.md"

PARSER = Parser(
    prog="scripts/make_schema.py",
    description="Write options/schema.json, with which editors complete and check option files, and "
    "docs/options.md, both from the typed classes. Add the line that names the schema to option files that "
    "lack it.",
)


def main(arguments: argparse.Namespace) -> None:
    from engine.option_schema import HINT, option_page, option_schema

    SCHEMA.write_text(json.dumps(option_schema(), indent=1) + "\n")
    PAGE.write_text(option_page())
    for file in sorted((ROOT / "options").glob("*/*.yml")):
        text = file.read_text()
        if not text.startswith(HINT):
            file.write_text(f"{HINT}../schema.json\n{text}")
    print(f"{SCHEMA.relative_to(ROOT)} and {PAGE.relative_to(ROOT)} are written")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
