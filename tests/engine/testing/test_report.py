"""report.html: whole in itself, well-formed, shows what was measured; drawn by a browser if there is one."""

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from engine.testing.protocol import PROTOCOL
from engine.testing.report import write_report
from engine.testing.results import write_results
from engine.testing.scoring import Attacked, HiddenGroup

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "img", "br"}


class Checker(HTMLParser):
    """Every element is closed in order; all attributes are kept."""

    def __init__(self, page: str):
        super().__init__()
        self.open, self.attributes = [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def results(tmp_path):
    """Results of two groups of three secrets, one group's pictures kept, one attack."""
    rng = np.random.default_rng(0)

    def noisy(picture, deviation):
        return np.clip(picture + rng.normal(0, deviation, picture.shape), 0, 255).astype(np.uint8)

    groups = []
    for index in range(2):
        cover = astronaut()[:64, 100:196]
        secrets = [astronaut()[64 * k : 64 * k + 64, :96] for k in (1, 2, 3)]
        revealed = [noisy(s, 9) for s in secrets]
        attacked = [Attacked("jpeg quality=90", noisy(cover, 5), None if index else revealed)]
        groups.append(HiddenGroup(index, cover, noisy(cover, 4), secrets, revealed, 0.1, 0.2, attacked))
    summary = {
        "method": "<b>odd & method</b>",
        "dataset": "crops",
        "through": "PNG",
        "packages": {"torch": "2"},
    }
    write_results(tmp_path, groups, summary, save_images=1)
    return tmp_path


def test_a_page_that_needs_nothing_else(results):
    page = (results / "report.html").read_text()
    checked = Checker(page)
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<script|<link", page)
    sources = [value for _, name, value in checked.attributes if name in ("src", "href")]
    assert len(sources) == 6 and all(source.startswith("data:image/jpeg;base64,") for source in sources)
    for source in sources:
        picture = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        picture.load()
        assert max(picture.size) <= 384
    metrics = json.loads((results / "metrics.json").read_text())
    for shown in (
        "&lt;b&gt;odd &amp; method&lt;/b&gt;",
        f"{metrics['cover_stego']['psnr_rgb']:.2f}",
        f"{metrics['attacks'][0]['secret_revealed']['psnr_rgb']:.2f}",
        f"{metrics['cdt_efficiency']:.3f}",
        "jpeg quality=90",
        "prefers-color-scheme: dark",
        'name="viewport"',
        "Group 0000",
    ):
        assert shown in page
    assert "Steganalysis" not in page and "Group 0001" not in page
    bars = [float(v) for tag, name, v in checked.attributes if tag == "rect" and name == "height"]
    assert len(bars) == 48 and max(bars) == 105 and min(bars) == 0


def test_security_is_shown_once_it_is_there(results):
    said = {"detector": "stegexpose", "auc": 0.731, "parts": {"spa": {"auc": 0.66}}, "roc": [[0, 1]] * 9}
    (results / "security.json").write_text(json.dumps(said))
    (results / "rich").mkdir()
    (results / "rich" / "security.json").write_text(json.dumps({"features": "spam", "auc": 0.9}))
    Image.fromarray(astronaut()[:50, :50]).save(results / "roc_fused.png")
    page = write_report(results).read_text()
    Checker(page)
    assert "Steganalysis: stegexpose" in page and "Steganalysis: spam" in page and page.count("<img") == 7
    assert "parts.spa.auc" in page and ">0.731<" in page and ">0.900<" in page
    (results / "security.json").write_text("{")
    with pytest.raises(ValueError, match="security.json: not JSON"):
        write_report(results)


def test_no_results_no_report(tmp_path):
    with pytest.raises(ValueError, match="no results here"):
        write_report(tmp_path)


def test_results_of_another_protocol(results):
    file = results / "metrics.json"
    metrics = json.loads(file.read_text())
    for found, words in ((PROTOCOL + 1, f"protocol {PROTOCOL + 1}"), (None, "protocol 1")):
        file.write_text(json.dumps({k: v for k, v in (metrics | {"protocol": found}).items() if v}))
        with pytest.raises(ValueError, match=f"results of {words}, but this program .* run the test again"):
            write_report(results)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [360, 1200])
def test_in_a_browser(results, width, tmp_path):
    picture = tmp_path / "page.png"
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path}/c",
    ]
    options += [f"--window-size={width},1500", f"--screenshot={picture}"]
    page = (results / "report.html").as_uri()
    subprocess.run([BROWSER, *options, page], check=True, timeout=120, capture_output=True)
    shown = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    # Headless Chromium draws no page narrower than 500 pixels; it cuts.
    assert shown.shape[1] >= width and shown.std() > 10
    # The cover stands there in its colours: photographs are no greys.
    assert (np.ptp(shown, axis=2) > 60).mean() > 0.005
