"""Imports go one way: options, data, models, metrics are leaves; engine imports them; commands import all."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEAVES = {"options", "data", "models", "metrics"}
PACKAGES = LEAVES | {"engine"}
COMMANDS = {path.stem for path in ROOT.glob("*.py")} | {"scripts", "tests"}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_arrows(path):
    package = path.relative_to(ROOT).parts[0]
    allowed = PACKAGES if package == "engine" else {package}
    wrong = imported(path) & ((PACKAGES | COMMANDS) - allowed)
    assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_the_walk_sees_imports():
    assert {"models", "data", "options"} <= imported(ROOT / "engine" / "build.py")
    assert len(FILES) > 20


def test_nothing_is_packaged_under_a_common_name():
    text = (ROOT / "pyproject.toml").read_text()
    assert "packages = []" in text
