"""Exit codes: 2 and one line for what a person can mend, 1 and a traceback for anything else."""

import subprocess
import sys

import pytest

from tests.common import ROOT


@pytest.mark.parametrize(
    "code, lines, last",
    [
        ("raise UserError('crop: expected 8')", 1, "name: crop: expected 8"),
        ("open('/no/such/file')", 1, "name: /no/such/file: No such file or directory"),
        ("int('x')", None, "ValueError: invalid literal for int() with base 10: 'x'"),
        ("assert [] == [1], 'ours'", None, "AssertionError: ours"),
        ("[][1]", None, "IndexError: list index out of range"),
    ],
)
def test_how_a_command_ends(code, lines, last):
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from engine.command import Parser, run_command
from errors import UserError
def main(arguments):
    {code}
sys.exit(run_command(Parser("name"), main))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr.splitlines()[-1] == last
    if lines:
        assert done.returncode == 2 and len(done.stderr.splitlines()) == lines
    else:
        assert done.returncode == 1 and "Traceback" in done.stderr
