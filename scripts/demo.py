#!/usr/bin/env python
"""Serve a page that hides and reveals pictures in the browser, only on this machine (see --help)."""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import Parser, run_command
from errors import UserError

PARSER = Parser(
    "demo.py",
    description="Serve a page on 127.0.0.1 that hides and reveals with codec_lsb and codec_dct, like hide.py "
    "and reveal.py. It needs the extra `demo` (make demo installs it). Ctrl-C stops it and deletes all "
    "uploads.",
)
PARSER.add_argument("--port", type=int, help="port to listen on (default: the first free one from 7860)")


def main(arguments: argparse.Namespace) -> None:
    try:
        import gradio  # noqa: F401
    except ImportError:
        raise UserError("the page needs Gradio: pip install -e '.[demo]'") from None
    from engine.own.page import served

    try:
        with served(arguments.port) as (page, address):
            print(address, flush=True)
            page.block_thread()
    except OSError as error:
        at = "" if arguments.port is None else f" on port {arguments.port}"
        raise UserError(f"the page cannot be served{at}: {error}") from error


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
