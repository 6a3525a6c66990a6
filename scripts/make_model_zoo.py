#!/usr/bin/env python
"""Write docs/model_zoo.md from the cards of the shipped networks (experiments/pretrained/*/README.md)."""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from engine.checkpoint import shipped
from engine.command import Parser, run_command
from engine.log import EXPERIMENTS, ROOT
from errors import UserError

PAGE = ROOT / "docs" / "model_zoo.md"
PARSER = Parser(
    prog="make_model_zoo.py",
    description="Write docs/model_zoo.md: a table of the shipped networks, from their cards.",
)
INTRODUCTION = """\
# The shipped networks

`hide.py --weights NAME` hides with one of them. `--set train.start_from=NAME` starts a training from it. They
come with the checkout, in [experiments/pretrained](../experiments/pretrained). Their cards have more: the
training, the machine, what detectors find. Each set of pictures has a row. `scripts/make_model_zoo.py` writes
this page from the cards.
"""
HEAD = """\
| name | network | pictures | stego dB | revealed dB | file | weights may be used for |
|---|---|---|---:|---:|---:|---|"""


def main(arguments: argparse.Namespace) -> None:
    write_beside(PAGE, zoo(EXPERIMENTS).encode())
    print(PAGE.relative_to(ROOT))


def zoo(experiments: Path) -> str:
    """Return the page, made from the cards of all shipped networks."""
    rows = [row for name, weights in shipped(experiments).items() for row in card_rows(name, weights)]
    return "\n".join([INTRODUCTION, HEAD, *rows]) + "\n"


def card_rows(name: str, weights: Path) -> Iterator[str]:
    """Yield the rows of one network. Raises UserError for a card without scores."""
    card = weights.parent / "README.md"
    text = card.read_text()
    about = dict(re.findall(r"^\| ([\w -]+) \| (.*) \|$", text, re.MULTILINE))
    scores: dict[str, list[str]] = {}
    for pictures, psnr in re.findall(
        r"^\| (.+?) \| (?:cover/stego|secret/revealed) \| ([\d.]+) \|", text, re.MULTILINE
    ):
        scores.setdefault(pictures, []).append(psnr)
    if not scores or any(len(pair) != 2 for pair in scores.values()):
        raise UserError(f"{card}: expected rows cover/stego and secret/revealed in its table of scores")
    network = about["network"].replace("../../../docs/", "")
    licence = re.sub(r"^the weights are for ", "", about["licence"].partition(";")[0])
    link = f"[{name}](../experiments/pretrained/{name}/README.md)"
    for k, (pictures, (stego, revealed)) in enumerate(scores.items()):
        own = [link, network, f"{weights.stat().st_size / 1e6:.1f} MB", licence] if k == 0 else [""] * 4
        yield f"| {own[0]} | {own[1]} | {pictures} | {stego} | {revealed} | {own[2]} | {own[3]} |"


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
