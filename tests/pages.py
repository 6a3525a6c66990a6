"""The pages: their words by the rule of docs/index.md, and the commands that they give."""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

from tests.common import ROOT

PAGES = [ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING", "SECURITY")]
PAGES = [page for page in PAGES if page.exists()]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
GENERATED = {ROOT / "docs" / "options.md", ROOT / "docs" / "model_zoo.md"}
CODE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}python .*\n)+", re.MULTILINE)
INLINE = re.compile(r"`(python (?:scripts/\w+\.py(?: [^`]+)?|\w+\.py [^`]+))`")
STUB = """#!/bin/sh
exec {python} -I -S -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {name} "$@" >> {log}
"""


def words(text: str) -> int:
    """How many words a page has, without code, link targets and tables that scripts write."""
    for out in (
        CODE,
        re.compile(r"<!-- table:.*?<!-- end -->", re.DOTALL),
        re.compile(r"^ {4}\S.*$", re.MULTILINE),
    ):
        text = out.sub("", text)
    text = re.sub(r"<!--.*?-->", "", re.sub(r"\]\([^)]*\)", "]", text), flags=re.DOTALL)
    return sum(1 for word in text.split() if re.search(r"[^\W\d_]", word))


def commands(page: Path, tmp_path: Path, python: str) -> list[list[str]]:
    """The commands of a page as lists of words, as a shell would call them: loops and variables resolved.

    The page's blocks of shell run as they are, but `python` and `make` only note what they were called with.
    """
    text = page.read_text(encoding="utf-8")
    blocks = [block for kind, block in CODE.findall(text) if kind == "bash"]
    blocks += INDENTED.findall(CODE.sub("", text))
    log = tmp_path / "called"
    log.write_text("")
    for name in ("python", "make"):
        stub = tmp_path / name
        stub.write_text(STUB.format(python=python, name=name, log=shlex.quote(str(log))))
        stub.chmod(0o755)
    settings = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    for block in blocks:
        script = f"set -eu\nsource() {{ :; }}\n{block}"
        subprocess.run(["bash", "-c", script], check=True, cwd=tmp_path, env=settings, timeout=60)
    called = [json.loads(line) for line in log.read_text().splitlines()]
    return called + [shlex.split(one) for one in INLINE.findall(CODE.sub("", text))]
