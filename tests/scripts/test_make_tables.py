"""scripts/make_tables.py: quoted digit by digit, ours in its column, and never one for the other."""

import json
from pathlib import Path

import pytest

from engine.testing.protocol import PROTOCOL
from engine.testing.published import read_published, read_results
from scripts.make_tables import page

TABLES = read_published()


@pytest.fixture
def results(tmp_path):
    """Write a results folder: results("hinet", "imagenet", 1, psnr=40.25, **more) -> its path."""

    def write(method: str, dataset: str, secrets: int, psnr: float, **more):
        pair = {"psnr_rgb": psnr, "ssim_rgb": 0.98765, "ms_ssim": 0.9, "scc": 0.5, "mae": 1.5, "rmse": 2.0}
        pair |= {"mse": 65.025, "worst_psnr_rgb": psnr - 3, "psnr_y": psnr + 3, "ssim_y": 0.99123}
        metrics = {
            "protocol": PROTOCOL,
            "method": method,
            "dataset": dataset,
            "num_secrets": secrets,
            "groups": 7,
        }
        metrics |= {"cover_stego": pair, "secret_revealed": pair, "through": "PNG", "weights_step": 80}
        metrics |= {"command": ["test.py", "-opt", "x.yml"], "device": "cpu", "cdt_db": 33.5, **more}
        folder = tmp_path / "experiments" / f"{method}_{secrets}" / "results" / dataset
        folder.mkdir(parents=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
        return folder

    return write


def lines_of(folders) -> list[str]:
    return page(TABLES, read_results(Path("nowhere"), folders))


def section(lines: list[str], title: str, part: str) -> list[str]:
    start = lines.index(
        f"**{part}**", next(k for k, line in enumerate(lines) if line.startswith(f"### {title}"))
    )
    rest = lines[start + 2 :]
    return rest[: rest.index("")] if "" in rest else rest


def test_every_published_row_is_whole():
    """One number a column, each in the range that its name allows."""
    ids = [table["id"] for table in TABLES["tables"]]
    assert len(set(ids)) == len(ids) and {"invmihnet_1", "hinet_2", "srisnet_2", "srisnet_6_4"} <= set(ids)
    for table in TABLES["tables"]:
        assert table["source"] in TABLES["sources"] and table["about"] and int(table["num_secrets"]) >= 1
        for sets in table["parts"].values():
            for methods in sets.values():
                for method, numbers in methods.items():
                    assert len(numbers) == len(table["columns"]), (table["id"], method)
                    values = dict(zip(table["columns"], map(float, numbers), strict=True))
                    assert 0 <= values.get("ssim", 0) <= 1 and 2 <= values.get("psnr", 20) < 60


def test_quoted_as_printed():
    text = "\n".join(lines_of([]))
    for row in (
        "| InvMIHNet | imagenet | 36.86 | - | 0.948 | - |  |",
        "| HiNet | div2k | 52.86 | - | 0.9992 | - | 0.56 | - | 0.86 | - |  |",
        "| SRIS-Net | own | 0.00006 | - | 43.55 | - | 0.9990 | - | 0.9990 | - | 0.9979 | - |  |",
        "| StegGAN | own | 0.14370 | - | 18.38 | - | 0.4874 | - |  |",
        "| SRIS-Net | own | 24.38 | - | 40.60 | - | 36 | - |  |",
        "| SRIS-Net | own | 30.85 | - |  |",
        "| InvMIHNet | unnamed | 27.74 | - |  |",
    ):
        assert row in text, row
    assert "None yet" in text


def test_ours_stands_beside_the_same_method_and_data_only(results):
    folders = [
        results("hinet", "imagenet", 1, 40.25),
        results("hinet", "samples", 1, 33.0),
        results("hinet_like", "imagenet", 1, 31.0),
        results("invmihnet", "imagenet", 4, 30.5),
    ]
    lines = lines_of(folders)
    table = section(lines, "HiNet, table 2", "secret/revealed")
    assert "PSNR (dB), luma, ours" in table[0]  # HiNet's script prints luma: ours beside it is luma too
    paired = "| HiNet | imagenet | 46.78 | 43.25 | 0.9952 | 0.9912 | 1.94 | 1.50 | 2.74 | 2.00 | [1] |"
    assert paired in table and "| HiNet | div2k | 52.86 | - | 0.9992 | - | 0.56 | - | 0.86 | - |  |" in table
    assert "| HiNet | samples | - | 36.00 | - | 0.9912 | - | 1.50 | - | 2.00 | [2] |" in table
    assert "| hinet_like | imagenet | - | 34.00 | - | 0.9912 | - | 1.50 | - | 2.00 | [3] |" in table
    assert not any("[4]" in row for row in table)
    assert any("| 30.50 |" in row for row in section(lines, "InvMIHNet, table 1", "cover/stego"))  # RGB
    assert not any("[4]" in row for row in section(lines, "InvMIHNet, table 2", "cover/stego"))
    mse = section(lines, "SRIS-Net, table 2", "cover/stego")
    assert any(row.startswith("| HiNet | imagenet | - | 0.00100 | - | 40.25 |") for row in mse)
    run = "- [1] `python test.py -opt x.yml`; imagenet, 7 groups; weights of step 80; cpu; through: PNG"
    assert run in lines


def test_attacks_and_steganalysis(results):
    pair = {"psnr_rgb": 21.5, "ssim_rgb": 0.5, "mse": 650.25}
    attacks = [
        {"attack": f"gaussian sigma={sigma}", "revealed_share": share, "secret_revealed": scores}
        for sigma, share, scores in ((0.5, 1.0, pair), (1.0, 0.4, pair), (3.0, 0.0, None))
    ]
    chain = {"attack": "mean size=3 + jpeg quality=80", "revealed_share": 1.0, "secret_revealed": pair}
    attacks.append(chain)  # no row of the mean filter
    folder = results("hinet", "own", 1, 40.25, attacks=attacks)
    (folder / "xu").mkdir()
    (folder / "xu" / "security.json").write_text(json.dumps({"network": "xunet", "p_e": 0.31, "auc": 0.7}))
    lines = lines_of([folder])
    blurred = section(lines, "SRIS-Net, table 4", "after gaussian")
    measured = "| HiNet | own | - | 0.01000 | - | 21.50 | - | 0.5000 | [1] gaussian"
    assert f"{measured} sigma=0.5 |" in blurred and f"{measured} sigma=1.0, 40 % revealed |" in blurred
    assert "| HiNet | own | - | - | - | - | - | - | [1] gaussian sigma=3.0, 0 % revealed |" in blurred
    assert not any("[1]" in row for row in section(lines, "SRIS-Net, table 4", "after mean"))
    errors = section(lines, "SRIS-Net, table 3", "steganalysis")
    assert "| HiNet | own | - | - | - | - | - | 31.00 | [1] |" in errors
    assert any("0.700 (xunet)" in line for line in lines)


def test_command(results, command, tmp_path):
    folder = results("hinet", "imagenet", 1, 40.25)
    results("hinet", ".imagenet.part", 1, 41.25)  # of a test that is running
    words = ["--experiments", tmp_path / "experiments", "--out", tmp_path / "t.md"]
    done = command("scripts/make_tables.py", *words)
    assert done.returncode == 0 and "1 results beside" in done.stdout, done.stderr
    assert "| [1] | hinet | 1 | imagenet | 40.25 dB |" in (tmp_path / "t.md").read_text()
    (folder / "metrics.json").write_text(json.dumps({"protocol": PROTOCOL, "method": "x"}))
    done = command("scripts/make_tables.py", *words)
    assert done.returncode == 2 and "not written by test.py or scripts/evaluate.py" in done.stderr
