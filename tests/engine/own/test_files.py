"""Any file beside pictures: byte for byte, by its name, and nowhere else than in the folder."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

import hide as hide_py
import reveal as reveal_py
from container.keys import Key
from container.payload import File
from data.images import to_tensor
from engine.own.hiding import hide_files
from engine.own.revealing import reveal_files
from engine.own.secrets import chosen
from models import build_model

NOTES = "Grüße aus dem Süden\n".encode()


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with cover.png and mine/: a picture, a text, an archive of 4 MB of zeros, a hidden file."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:252, 150:342]).save("cover.png")
    (tmp_path / "mine" / "sub").mkdir(parents=True)
    Image.fromarray(chelsea()[50:130, 100:170]).save("mine/cat.jpg", quality=90)
    (tmp_path / "mine" / "notes.txt").write_bytes(NOTES)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        archive.writestr("zeros", bytes(2**22))
    (tmp_path / "mine" / "sub" / "bomb.zip").write_bytes(bomb.getvalue())
    (tmp_path / "mine" / ".hidden").write_text("stays")
    return tmp_path


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("method", ["codec_lsb", "codec_dct"])
def test_a_file_beside_a_picture(here, method):
    net = build_model(method)
    key = Key("open sesame")
    done = hide_files(net, "cover.png", ["mine/notes.txt", "mine/cat.jpg"], "s.png", key=key)
    assert [path.name for path in done.secrets.all] == ["cat.jpg", "notes.txt"]
    reveal_files(net, "s.png", "out", key=key)
    found = contents(here / "out")
    assert sorted(found) == ["cat.png", "notes.txt"] and found["notes.txt"] == NOTES
    assert np.asarray(Image.open("out/cat.png")).shape == (80, 70, 3)


def test_exact_takes_a_folder_whole(here):
    net = build_model("codec_lsb")
    done = hide_files(net, "cover.png", ["mine"], "s.png", exact=True)
    assert done.secrets.pictures == [] and len(done.secrets.files) == 3
    reveal_files(net, "s.png", "out")
    expected = {path.name: path.read_bytes() for path in done.secrets.files}
    assert contents(here / "out") == expected and "bomb.zip" in expected


def test_what_a_folder_gives(here):
    found = chosen(["mine"])
    assert [p.name for p in found.pictures] == ["cat.jpg"] and found.files == []
    assert [p.name for p in found.left_out] == ["notes.txt", "bomb.zip"]
    assert [p.name for p in chosen(["mine/notes.txt", "mine"]).files] == ["notes.txt"]
    os.symlink(here / "mine", here / "mine" / "sub" / "circle")
    assert len(chosen(["mine"], exact=True).files) == 3


@pytest.mark.parametrize(
    "words, takes_files, message",
    [
        (["nothing"], True, "nothing: no such file or folder"),
        (["mine/sub"], True, r"mine/sub: no pictures in it .*--exact hides the other files"),
        (["mine/notes.txt"], False, "mine/notes.txt: not a picture .*codec_lsb and codec_dct hide any file"),
    ],
)
def test_what_is_refused(here, words, takes_files, message):
    with pytest.raises(ValueError, match=message):
        chosen(words, takes_files=takes_files)


def test_exact_is_refused_by_a_method_for_pictures_only(here):
    with pytest.raises(ValueError, match="--exact: this method hides pictures only"):
        hide_files(build_model("lsb"), "cover.png", ["mine"], "s.png", exact=True)


def test_what_is_no_picture_is_refused_unless_exact(here):
    (here / "mine" / "broken.png").write_bytes(NOTES)
    net = build_model("codec_lsb")
    for secrets in (["mine/broken.png"], ["mine"]):  # one broken picture in a folder too
        with pytest.raises(ValueError, match="mine/broken.png: not a picture.*--exact hides it as it is"):
            hide_files(net, "cover.png", secrets, "s.png")
    whole = (here / "mine" / "cat.jpg").read_bytes()
    (here / "mine" / "broken.png").write_bytes(whole[: len(whole) // 2])  # its header is whole
    with pytest.raises(ValueError, match="mine/broken.png: damaged or cut short.*--exact"):
        hide_files(net, "cover.png", ["mine/broken.png"], "s.png")
    assert not (here / "s.png").exists()
    hide_files(net, "cover.png", ["mine/broken.png"], "s.png", exact=True)
    reveal_files(net, "s.png", "out")
    assert contents(here / "out") == {"broken.png": whole[: len(whole) // 2]}


@pytest.mark.parametrize("method", ["codec_lsb", "codec_dct"])
def test_files_that_do_not_fit(here, method):
    net = build_model(method)
    (here / "some").write_bytes(os.urandom(60_000))
    with pytest.raises(ValueError, match="cover.png: .*bytes fit, (but )?60"):
        hide_files(net, "cover.png", ["some"], "s.png")
    with open("sparse", "wb") as file:
        file.truncate(2**40)  # a terabyte, which nobody may read
    with pytest.raises(ValueError, match="the files have 1099511627776 bytes"):
        hide_files(net, "cover.png", ["sparse"], "s.png")


def test_pictures_share_what_files_leave(here):
    """The more room a file takes, the coarser the picture beside it."""
    (here / "some").write_bytes(os.urandom(46_000))
    net = build_model("codec_lsb")
    sizes = []
    for secrets in (["mine/cat.jpg"], ["mine/cat.jpg", "some"]):
        hide_files(net, "cover.png", secrets, "s.png", force=True)
        reveal_files(net, "s.png", "out", force=True)
        error = np.asarray(Image.open("out/cat.png")).astype(float) - np.asarray(Image.open("mine/cat.jpg"))
        sizes.append(np.square(error).mean())
    assert sizes[1] > sizes[0] + 1


def test_a_name_never_leads_out_of_the_folder(here):
    net = build_model("codec_lsb")
    names = [
        "../../evil.sh",
        "/etc/cron.d/x",
        "C:\\boot.ini",
        "..",
        ".ssh",
        "CON.txt",
        "a.TXT",
        "A.txt",
        "a\x1b[2J",
    ]
    files = [File(name, bytes([k])) for k, name in enumerate(names)]
    stego = net.seal(to_tensor(np.asarray(Image.open("cover.png"))), [], files=files)
    Image.fromarray(stego.permute(1, 2, 0).numpy()).save("s.png")
    done = reveal_files(net, "s.png", "deep/out")
    expected = ["evil.sh", "x", "boot.ini", "secret_04", "ssh", "secret_06.txt", "a.TXT", "A_2.txt", "a[2J"]
    assert [path.name for path in done.written] == expected
    assert {path.parent for path in done.written} == {done.written[0].parent} and len(
        os.listdir("deep/out")
    ) == 9
    assert not any(os.access(path, os.X_OK) for path in done.written)


def test_the_cover_is_not_its_own_secret(here):
    with pytest.raises(ValueError, match="cover.png: this secret is the cover itself"):
        hide_files(build_model("codec_lsb"), "cover.png", ["./cover.png"], "s.png")


def test_a_cover_of_200_megapixels(here):
    Image.new("1", (20_000, 10_000)).save("huge.png")
    for cover, secrets in (("huge.png", ["mine/cat.jpg"]), ("cover.png", ["huge.png"])):
        with pytest.raises(ValueError, match="huge.png: too large for Pillow: Image size .200000000 pixels"):
            hide_files(build_model("codec_lsb"), cover, secrets, "s.png")


def test_list_writes_nothing(here, capsys):
    words = ["--cover", "cover.png", "--secrets", "mine", "--out", "s.png"]
    hide_py.main(hide_py.PARSER.parse_args(words))
    assert "left out:  mine/notes.txt, not a picture (--exact hides it)" in capsys.readouterr().out
    hide_py.main(hide_py.PARSER.parse_args([*words, "--exact", "--force"]))
    assert "notes.txt (byte for byte)" in capsys.readouterr().out
    before = sorted(os.listdir())
    reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "s.png", "--list"]))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["cat.jpg", "notes.txt", "bomb.zip"]
    assert lines[1] == f"notes.txt  {len(NOTES)} bytes" and sorted(os.listdir()) == before
    with pytest.raises(ValueError, match="--out: name a folder to reveal into"):
        reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "s.png"]))


def test_list_of_a_picture_says_its_size(here, capsys):
    net = build_model("codec_lsb")
    hide_files(net, "cover.png", ["mine/cat.jpg", astronaut_file(here)], "s.png")
    reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "s.png", "--list"]))
    assert capsys.readouterr().out.splitlines() == ["cat.png        70x80 px", "astronaut.png  60x40 px"]


def astronaut_file(here):
    Image.fromarray(astronaut()[:40, :60]).save(here / "astronaut.png")
    return "astronaut.png"
