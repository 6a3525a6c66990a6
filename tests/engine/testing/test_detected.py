"""What detectors found becomes data, tables and a line after hiding, and nothing that was not measured."""

import json

import numpy as np
import pytest

from engine.detection import expected, label, likely_auc
from engine.testing.detected import keep_detection
from engine.testing.pages import filled
from models import build_model


def found(auc=0.9, psnr=38.0, **changes) -> dict:
    of = {"method": "codec_lsb", "fingerprint": "", "modulus": 12, "shaping": 64, "psnr": psnr}
    return {
        "auc": auc,
        "auc_interval": [auc - 0.05, auc + 0.05],
        "p_e": 0.125,
        "detector": "rich",
        "features": "spam",
        "channel": "all",
        "train_pairs": 65,
        "test_pairs": 66,
        "cover": "/home/somebody/covers",
        "stegos": of,
    } | changes


@pytest.fixture
def keep(tmp_path):
    """Keep what a detector found: keep(name, detector, found) -> files."""

    def one(name, detector, what, file="security.json", replace=False):
        folder = tmp_path / "tried" / name / detector
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(json.dumps(what))
        return keep_detection(folder, "crops", tmp_path / "results", replace)

    return one


def test_a_table_of_what_was_found(keep, tmp_path):
    (tmp_path / "tried/lsb/green").mkdir(parents=True)
    np.savez(tmp_path / "tried/lsb/green/detector.npz", about="x")
    files = keep("lsb", "green", found(0.75, features="srm", channel="green"))
    assert [file.name for file in files] == ["srm_green.json", "srm_green.npz"]
    assert "somebody" not in files[0].read_text() and label(json.loads(files[0].read_text())) == "srm green"
    keep("lsb", "a", found())
    keep("plain", "a", found(0.6, network="xunet", features=None, detector="cnn"))
    page = "<!-- table: detection crops lsb plain none -->\n<!-- end -->"
    lines = filled(page, tmp_path / "results").splitlines()
    assert "| stegos | PSNR | spam | srm green | xunet |" in lines
    row = next(line for line in lines if line.startswith("| `lsb` | 38.00 dB |"))
    assert "0.900 (0.85 to 0.95), P_E 0.125; 65+66 | 0.750 (0.70 to 0.80)" in row and row.endswith("| - |")
    assert "Not measured yet: `none`." in lines
    with pytest.raises(ValueError, match="already holds other results; --replace"):
        keep("lsb", "a", found(0.5))
    assert keep("lsb", "a", found(0.5), replace=True)
    with pytest.raises(ValueError, match="expected exactly one of security.json and extraction.json"):
        keep_detection(tmp_path, "crops", tmp_path / "results")


def test_a_table_of_what_was_read(keep, tmp_path):
    read = {"psnr": 20.0, "gain": 7.5, "gain_interval": [7.0, 8.0], "opened": 60}
    what = {"detector": "extract", "flat": {"psnr": 12.5}, "weights": read, "unet": read, "steps": 9}
    keep("h", "extract", what | {"test_pairs": 60, "train_pairs": 50}, "extraction.json")
    lines = filled("<!-- table: extraction crops h -->\n<!-- end -->", tmp_path / "results").splitlines()
    assert lines[4] == (
        "| `h` | no | 12.50 | 20.00 (+7.50, +7.00 to +8.00) | 60 of 60 | 20.00 (+7.50, +7.00 to +8.00) | "
        "50, 9 steps |"
    )


def test_what_is_expected_comes_from_stegos_like_this_one(keep, tmp_path):
    results = tmp_path / "results"
    model = build_model("codec_lsb")
    assert expected(model, 38.0, results) is None
    keep("full", "spam", found(0.9, 38.3))
    keep("full", "crm", found(0.97, 38.3, features="crm"))
    (results / "detection.json").write_text(json.dumps({"points": [found(0.7, 44.0)]}))
    line = expected(model, 38.0, results)
    assert line is not None
    assert "AUC of 0.97" in line and "crm finds" in line and "38.3 dB" in line and "65 training pairs" in line
    near = expected(model, 44.5, results)
    assert near is not None and "AUC of 0.70" in near
    assert expected(model, 41.0, results) is None  # between the two: nobody measured there
    model.shaping = 0
    assert expected(model, 38.0, results) is None
    assert expected(build_model("lsb"), 38.0, results) is None


def test_what_is_likely_lies_between_the_measured_stegos(keep, tmp_path):
    results = tmp_path / "results"
    keep("a", "spam", found(0.7, 50.0))
    keep("b", "spam", found(0.9, 40.0))
    keep("b", "crm", found(0.95, 40.0, features="crm"))
    keep("c", "spam", found(0.8, 35.0))  # more noise is not harder to find
    keep("d", "stegexpose", found(0.99, 60.0, train_pairs=0))  # this one learned nothing
    psnrs = (float("inf"), 65.0, 50.0, 45.0, 40.0, 36.0, 30.0)
    likely = [likely_auc(psnr, results) for psnr in psnrs]
    assert likely == pytest.approx([0.5, 0.5, 0.7, 0.825, 0.95, 0.95, 0.95])
