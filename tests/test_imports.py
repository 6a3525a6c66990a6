"""Imports go downwards only: the ground, then models, then engine, then the commands."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.common import ROOT

GROUND = {"options", "data", "metrics", "channel", "container"}  # these never import each other
MAY_IMPORT = {
    **{name: {name} for name in GROUND},
    "models": {"models", "channel", "container"},
    "engine": {"engine", "models", *GROUND},
}
PACKAGES = set(MAY_IMPORT)
COMMANDS = {path.stem for path in ROOT.glob("*.py")} - {"errors"} | {"scripts", "tests"}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it, by their full names."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return names


def tops(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_arrows(path):
    package = path.relative_to(ROOT).parts[0]
    wrong = tops(path) & ((PACKAGES | COMMANDS) - MAY_IMPORT[package])
    assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


@pytest.mark.parametrize("path", sorted((ROOT / "container").glob("*.py")), ids=lambda p: p.name)
def test_the_container_is_bytes_and_numpy(path):
    assert not tops(path) & {"torch", "torchvision"}


def test_rooms_of_the_engine():
    """Testing and own pictures never need a training; what training needs of testing is its validation."""
    for path in (ROOT / "engine").rglob("*.py"):
        room = path.relative_to(ROOT / "engine").parts[0]
        if room in ("testing", "own"):
            others = {"testing", "own", "training"} - {room}
            wrong = [name for name in imported(path) if name.startswith(tuple(f"engine.{o}" for o in others))]
            assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_walk_sees_imports():
    assert {"models", "data", "options"} <= tops(ROOT / "engine" / "build.py")
    assert len(FILES) > 40


def test_nothing_is_packaged_under_a_common_name():
    text = (ROOT / "pyproject.toml").read_text()
    assert "packages = []" in text


def test_hiding_and_testing_do_not_load_the_compiler_of_torch():
    """It takes a second, and torchvision loads it."""
    program = "import sys, engine.own.hiding, engine.testing.tester; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "torch" in loaded and not loaded & {"torch._dynamo", "torchvision"}
