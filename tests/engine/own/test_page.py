"""The page: what it does by itself, and by hand in headless Chromium."""

import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from engine.own.hiding import hide_files
from engine.own.page import KINDEST, MODULI, SURVIVES, USUAL, hidden_for, model_for, planned, revealed_for
from engine.own.revealing import reveal_files
from models import build_model
from tests.common import ROOT

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
WORDS = "umbrella lantern quiet river"


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:220, 150:350]).save("beach.png")
    Image.fromarray(chelsea()[50:130, 100:170]).save("cat.png")
    Image.fromarray(astronaut()[:80, 100:190]).save("a <b>man.png")
    (tmp_path / "notes.txt").write_text("by us")
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "stego").mkdir()
    return tmp_path


def test_hide_and_reveal(here):
    secrets = ["cat.png", "notes.txt"]
    shown = hidden_for("beach.png", secrets, False, KINDEST, WORDS, here / "stego")
    assert "modulo 4" in shown.scores and "passphrase" not in shown.scores and str(here) not in shown.scores
    net = build_model("codec_lsb", modulus=4)
    command = hide_files(net, "beach.png", secrets, "command.png")
    psnr = float(shown.scores.split("PSNR to the cover ")[1].split()[0])
    assert psnr == pytest.approx(command.psnr, abs=0.05)  # other nonces, the same scores
    found = revealed_for(str(shown.stego), WORDS, here)
    assert [path.name for path in found.files] == ["cat.png", "notes.txt"]
    assert [path.name for path in found.pictures] == ["cat.png"] and "notes.txt  5 bytes" in found.lines
    with zipfile.ZipFile(found.archive) as archive:
        assert archive.read("notes.txt") == b"by us" and len(archive.namelist()) == 2


def test_every_strength_of_the_form():
    assert [model_for(strength).modulus for strength in MODULI] == [4, 8, 12, 16, 32]
    assert [len(model_for(strength).survive) for strength in SURVIVES] == [1, 1]
    assert USUAL in MODULI


@pytest.mark.parametrize(
    "cover, secrets, message",
    [
        (None, None, "choose a cover and at least one secret"),
        ("beach.png", [], "choose a cover and at least one secret"),
        ("text.png", ["cat.png"], "text.png: not a picture"),
        ("beach.png", ["text.png"], "text.png: not a picture"),
        ("beach.png", ["beach.png"], "beach.png: this secret is the cover itself"),
        ("beach.png", ["cat.png"] * 256, "256 secrets; expected at most 255"),
    ],
)
def test_bad_forms(here, cover, secrets, message):
    with pytest.raises(ValueError, match=message):
        hidden_for(cover, secrets, False, USUAL, "", here / "stego")


def test_bad_stegos(here):
    hide_files(build_model("codec_lsb"), "beach.png", ["cat.png"], "s.png")
    Image.open("s.png").save("sent.jpg", quality=95)
    for stego, message in (
        (None, "choose a stego"),
        ("sent.jpg", "sent.jpg: nothing is hidden here, or the hidden data was lost"),
        ("text.png", "text.png: not a picture"),
        ("beach.png", "beach.png: nothing is hidden here"),
    ):
        with pytest.raises(ValueError, match=message):
            revealed_for(stego, "", here)
    with pytest.raises(ValueError, match="hidden without a key"):
        revealed_for("s.png", WORDS, here)


def test_the_plan_waits_for_the_form(here):
    assert planned(None, None, False) == planned("beach.png", [], False) == ""


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def page(here):
    """The address of a page that a process of its own serves."""
    pytest.importorskip("gradio", reason="needs the extra demo")
    words = [sys.executable, "-u", str(ROOT / "scripts" / "demo.py")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), address
        yield address
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def browser(here):
    """Chromium without a window, with a folder for downloads and a log of what it asks for."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    if not (shutil.which(CHROMIUM) and shutil.which(DRIVER)):
        pytest.skip("needs chromium and chromium-driver: apt-get install -y chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking"):
        options.add_argument(f"--{word}")
    options.add_argument("--disable-component-update")
    options.add_argument(f"--user-data-dir={here / 'profile'}")
    options.add_argument("--window-size=1200,2400")
    options.add_experimental_option("prefs", {"download.default_directory": str(here / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def upload(browser, part, *files):
    field = within(browser, part, "input[type=file]")
    field.send_keys("\n".join(str(Path(file).resolve()) for file in files))


def within(browser, part, selector):
    return until(lambda: browser.find_element("css selector", f"#{part} {selector}"))


def value(browser, part):
    return within(browser, part, "textarea").get_property("value")


def until(find, seconds=60):
    """What `find` gives, once it gives something."""
    from selenium.common.exceptions import WebDriverException

    end = time.monotonic() + seconds
    while True:
        try:
            if found := find():
                return found
        except WebDriverException:
            if time.monotonic() > end:
                raise
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.2)


def click(browser, part):
    until(lambda: browser.find_element("id", part).is_enabled())
    browser.execute_script("arguments[0].click()", browser.find_element("id", part))


def downloaded(here, name):
    return until(lambda: next((here / "downloads").glob(name), None), 30)


def hosts(browser):
    """Whom the browser asked."""
    asked = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    return {url.split("/")[2].split(":")[0] for url in urls if url.startswith(("http", "ws"))}


@pytest.mark.slow
def test_by_hand(here, page, browser):
    """Hide, download, reveal on a fresh page; what goes wrong is said; nobody else is asked."""
    browser.get(page)
    click(browser, "hide")
    assert "choose a cover" in until(lambda: browser.find_element("class name", "toast-wrap").text)

    browser.get(page)
    upload(browser, "cover", "beach.png")
    upload(browser, "secrets", "cat.png", "a <b>man.png", "notes.txt")
    assert "recommended: hide.py with --" in until(lambda: value(browser, "plan"))
    within(browser, "passphrase", "input").send_keys(WORDS)
    click(browser, "hide")
    scores = until(lambda: value(browser, "scores"))
    source = until(lambda: within(browser, "stego", "img").get_attribute("src"))
    click(browser, "download")
    stego = downloaded(here, "*.png")
    command = hide_files(
        build_model("codec_lsb"), "beach.png", ["cat.png", "a <b>man.png", "notes.txt"], "c.png"
    )
    assert float(scores.split("PSNR to the cover ")[1].split()[0]) == pytest.approx(command.psnr, abs=0.05)
    from container.keys import Key

    reveal_files(build_model("codec_lsb"), stego, "out", key=Key(WORDS))  # lossless all the way
    assert (here / "out" / "notes.txt").read_text() == "by us" and source.endswith(".png")

    browser.get(page)
    until(lambda: browser.find_element("css selector", "button[role=tab]:nth-of-type(2)")).click()
    upload(browser, "received", "beach.png")
    click(browser, "reveal")
    assert "nothing is hidden" in until(lambda: browser.find_element("class name", "toast-wrap").text)

    browser.get(page)
    until(lambda: browser.find_element("css selector", "button[role=tab]:nth-of-type(2)")).click()
    upload(browser, "received", stego)
    within(browser, "opening", "input").send_keys(WORDS)
    click(browser, "reveal")
    assert "notes.txt" in until(lambda: value(browser, "listed"))
    click(browser, "zip")
    with zipfile.ZipFile(io.BytesIO(downloaded(here, "*.zip").read_bytes())) as archive:
        names = archive.namelist()
        assert archive.read("notes.txt") == b"by us" and len(names) == 3
        cat = np.asarray(Image.open(io.BytesIO(archive.read("cat.png"))))
    assert (cat == np.asarray(Image.open("out/cat.png"))).all()
    assert hosts(browser) == {"127.0.0.1"}
