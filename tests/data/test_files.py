"""One writer at a time, whatever becomes of it and of the processes that it started."""

import os
import signal
import subprocess
import sys

import pytest

from data.files import locked
from errors import UserError
from tests.common import ROOT

LOCK = f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from data.files import locked
with locked(Path(sys.argv[1]), "taken"):
"""
# Forks, as a data loader does, and both processes stay. The child says its number: it has let go of the lock.
HOLD = f"{LOCK}    if not os.fork():\n        print(os.getpid(), flush=True)\n    time.sleep(60)\n"


def test_another_process_is_refused_until_the_holder_ends(tmp_path):
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())
    try:
        with pytest.raises(UserError, match="run: taken by another"), locked(run, "taken by another"):
            pass
        process.kill()
        process.wait()
        os.kill(child, 0)  # the child outlives it, and does not hold the lock
        with locked(run, "taken by another"):
            pass
    finally:
        process.kill()
        os.kill(child, signal.SIGKILL)
        process.communicate()


def test_the_holder_may_take_it_again_and_leaves_nothing(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with locked(run, "taken"):
        with locked(run, "taken"):
            pass
        words = [sys.executable, "-c", f"{LOCK}    print('never')", run]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert done.stderr.endswith(f"{run}: taken\n") and not done.stdout
        run.rename(tmp_path / "archived")  # the lock is of the name, not of what stands there
    assert list(tmp_path.iterdir()) == [tmp_path / "archived"]
