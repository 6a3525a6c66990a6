"""Pages and data agree: no table of docs/results.md is typed by hand."""

import json
import re

import pytest
from PIL import Image

from engine.testing.collected import RESULTS, read_set, write_runs
from engine.testing.pages import MARKED, digest, drawn_from, fill_pages, filled, plots
from engine.testing.tables import rows_of
from tests.common import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tables_and_plots_are_those_of_the_data(page):
    text = page.read_text()
    assert filled(text, RESULTS) == text, "run python scripts/make_tables.py --pages"
    for picture, rows in plots(text, RESULTS):
        assert not rows or drawn_from(page.parent / picture) == digest(rows)


def test_no_table_of_results_is_typed_by_hand():
    text = (ROOT / "docs/results.md").read_text()
    typed = MARKED.sub("", text)
    assert len(MARKED.findall(text)) >= 5
    assert not [line for line in typed.splitlines() if line.startswith("|")]


def test_kept_results_name_no_machines_folders():
    for file in RESULTS.rglob("*.json"):
        assert not re.search(r'"[^"]*(/home/|/work|/root|/tmp)', file.read_text()), file


@pytest.fixture
def project(tmp_path, make_run):
    """A project with a page and the data of three runs."""
    runs = [
        make_run("isn_4_nano", 30.0, 25.0),
        make_run("isn_4_nano_seed_1", 31.0, 25.5),
        make_run("thumbnails_4_12", 37.0, 26.0, modulus=12),
        make_run("hinet_1_nano", 38.0, 33.0, secrets=1),
    ]
    results = tmp_path / "docs" / "results"
    write_runs(runs, results)
    (tmp_path / "docs/page.md").write_text(
        """# Page
<!-- table: comparison crops isn_* thumbnails_4_12 weng_1 -->
<!-- end -->
between
<!-- table: differences crops isn_4_nano:thumbnails_4_12 isn_4_nano:weng_1 -->
| old |
<!-- end -->
<!-- table: published crops hinet_2 hinet_1_nano -->
<!-- end -->
<!-- plot: images/points.png crops isn_4_nano thumbnails_* -->
after
"""
    )
    (tmp_path / "README.md").write_text("no tables\n")
    return tmp_path


def test_a_page_is_filled_from_the_data(project):
    fill_pages(project, project / "docs/results")
    text = (project / "docs/page.md").read_text()
    assert "\n| isn_4_nano | 4 | 1.23 M | 5 | 50 | 30.50 |" in text and "| 2 | 1.00 / 0.50 |" in text
    assert "| thumbnails M = 12 | 4 | - | - | - | 37.00 |" in text and "old" not in text
    assert "Not measured yet: `weng_1`." in text and "Not measured yet: `isn_4_nano minus weng_1`." in text
    assert "\n| isn_4_nano | thumbnails M = 12 | 4 | -6.50 |" in text
    assert "| HiNet | crops | - | 41.00 |" in text and "| hinet_1_nano |" in text  # luma beside luma
    assert text.startswith("# Page\n") and text.endswith("\nafter\n") and "\nbetween\n" in text
    assert Image.open(project / "docs/images/points.png").size[0] > 500
    before = (project / "docs/images/points.png").stat().st_mtime_ns
    fill_pages(project, project / "docs/results")
    fill_pages(project, project / "docs/results", check=True)
    assert (project / "docs/page.md").read_text() == text
    assert (project / "docs/images/points.png").stat().st_mtime_ns == before


def test_detectors_stand_beside_the_papers(project):
    """The error in per cent of each kept detector, in the row of the run that has the stegos' name."""
    results = project / "docs/results"
    kept = results / "detection/photographs/hinet_1_nano"
    kept.mkdir(parents=True)
    for name, p_e, what in (("srm_green", 0.1, {"features": "srm", "channel": "green"}), ("xunet", 0.25, {})):
        found = {"auc": 0.9, "p_e": p_e, "network": "xunet", "detector": "cnn"} | what
        (kept / f"{name}.json").write_text(json.dumps(found))
    text = filled(
        "<!-- table: published crops srisnet_3 hinet_1_nano isn_4_nano -->\n<!-- end -->\n", results
    )
    assert "| SRIS-Net | own | 24.38 | - | 40.60 | - | 36 | - |" in text
    assert "| HiNet | crops | - | 10.00 | - | - | - | 25.00 | hinet_1_nano |" in text and "ISN" not in text


def test_the_card_of_a_shipped_network_is_filled_too(project):
    card = project / "experiments/pretrained/one/README.md"
    card.parent.mkdir(parents=True)
    card.write_text("<!-- table: detection photographs one -->\n<!-- end -->\n")
    fill_pages(project, project / "docs/results")
    assert "Not measured yet: `one`." in card.read_text()
    kept = project / "docs/results/detection/photographs/one"
    kept.mkdir(parents=True)
    found = {"auc": 0.9, "auc_interval": [0.85, 0.95], "p_e": 0.1, "network": "xunet", "detector": "cnn"}
    (kept / "xunet.json").write_text(json.dumps(found | {"train_pairs": 7, "test_pairs": 8}))
    with pytest.raises(ValueError, match="one/README.md: its tables do not match"):
        fill_pages(project, project / "docs/results", check=True)
    fill_pages(project, project / "docs/results")
    assert "| `one` | - | 0.900 (0.85 to 0.95), P_E 0.100; 7+8 |" in card.read_text()


def test_page_and_data_that_differ(project):
    results, page = project / "docs/results", project / "docs/page.md"
    with pytest.raises(ValueError, match=r"page\.md: its tables do not match"):
        fill_pages(project, results, check=True)
    fill_pages(project, results)
    page.write_text(page.read_text().replace("30.50", "30.60"))
    with pytest.raises(ValueError, match=r"page\.md: its tables do not match"):
        fill_pages(project, results, check=True)
    fill_pages(project, results)
    file = results / "crops" / "thumbnails_4_12.json"
    content = json.loads(file.read_text())
    content["cover_stego"]["psnr_rgb"] += 1
    file.write_text(json.dumps(content))
    page.write_text(filled(page.read_text(), results))
    with pytest.raises(ValueError, match=r"points\.png: does not match"):
        fill_pages(project, results, check=True)
    assert digest(rows_of(read_set("crops", results))) != drawn_from(project / "docs/images/points.png")


def test_a_mark_that_means_nothing(project):
    for words, message in (
        ("table: nonsense crops isn_*", "unknown kind of table 'nonsense'"),
        ("table: published crops hinet_99 isn_*", "no table 'hinet_99'"),
        ("table: comparison", "expected a kind, a set and names"),
    ):
        with pytest.raises(ValueError, match=message):
            filled(f"<!-- {words} -->\n<!-- end -->\n", project / "docs/results")
