"""docs/tour.ipynb runs from its first cell to its last, and its figures are what it shows."""

import re

import pytest

from tests.common import ROOT

nbformat = pytest.importorskip("nbformat", reason="needs nbclient")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient")


def text(notebook) -> str:
    outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
    return "".join(one.text for one in outputs if one.output_type == "stream")


@pytest.mark.slow
def test_it_runs_and_says_what_is_kept():
    kept = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    now = nbformat.read(ROOT / "docs" / "tour.ipynb", as_version=4)
    nbclient.NotebookClient(now, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    figures = [re.findall(r"(\d+\.\d+) dB", text(one)) for one in (kept, now)]
    assert len(figures[0]) == len(figures[1]) > 2
    assert [float(a) for a in figures[0]] == pytest.approx([float(b) for b in figures[1]], abs=0.3)
    assert "smilenet_l_4: " in text(now) and "note.txt" in text(now)
