"""Make folders of covers, stegos and secrets to try detectors on, with a method or with a known change."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from channel.promise import described
from container.keys import PUBLIC, Key
from data.files import sha256, write_beside
from data.images import read_picture, to_array, to_tensor, write_picture
from data.pairs import lossy_pictures
from data.transforms import fit_picture
from engine.checkpoint import fingerprint
from engine.testing.steganalysis.pairs import Pairs
from errors import UserError
from metrics.image import psnr
from metrics.intervals import mean_interval
from models import HidingModel, KeyedMethod
from models.codec_dct import CodecDCT

ABOUT = "stegos.json"
CONTROLS = ("lsb_replacement", "lsb_matching")

Sender = Callable[[Tensor, list[Tensor], int], Tensor]  # cover, secrets, number of the cover -> stego, uint8


def method_sender(model: HidingModel, key: Key = PUBLIC) -> Sender:
    """Return a sender that hides with a method. A keyed method uses `key`."""

    def hide(cover: Tensor, secrets: list[Tensor], k: int) -> Tensor:
        if isinstance(model, KeyedMethod):
            return model.seal(cover, secrets, key)
        return model.hide(cover[None], torch.stack(secrets)[None])[0]

    return hide


def control_sender(control: str, rate: float, seed: int = 0) -> Sender:
    """Return a sender that makes a change known to be found: a share `rate` of samples gets a random bit.

    lsb_replacement: replaces the last bit. lsb_matching: if the last bit is wrong, adds or subtracts 1 at
    random, and stays in 0 to 255.
    """

    def change(cover: Tensor, secrets: list[Tensor], k: int) -> Tensor:
        rng = np.random.default_rng((seed, k))
        x = cover.numpy().astype(np.int16)
        wrong = (rng.random(x.shape) < rate) & (rng.integers(2, size=x.shape) != x % 2)
        steps = np.where(x % 2, -1, 1) if control == "lsb_replacement" else rng.choice((-1, 1), x.shape)
        steps = np.where(x == 0, 1, np.where(x == 255, -1, steps))
        return torch.from_numpy(np.where(wrong, x + steps, x).astype(np.uint8))

    assert control in CONTROLS
    return change


def method_about(model: HidingModel, weights: str, passphrase: bool) -> dict:
    """Describe how stegos are made: the method, its weights, and what the sender chose."""
    promises = getattr(model, "survive", None)
    return {
        "method": model.method,
        "weights": weights,
        "fingerprint": fingerprint(model).hex() if model.trainable else "",
        **{name: getattr(model, name, None) for name in ("modulus", "shaping", "payload")},
        "survive": promises and [described(attack) for attack in promises],
        "passphrase": passphrase,
    }


def make_stegos(
    files: list[Path], num_secrets: int, out: Path, sender: Sender, about: dict, size: int | None = None
) -> dict:
    """Hide in each of the files, and write out/cover, out/stego, out/secret_1, ... and out/stegos.json.

    The secrets of cover k are the next `num_secrets` files; the list wraps around at its end. So each file is
    a cover once, and a secret once for each place. All pictures become PNG, the middle `size` px of each.
    Existing stegos stay, so that an interrupted command can continue. Returns the content of stegos.json:
    `about`, counts, a checksum of the pictures, mean PSNR of the stegos. Raises UserError for too few
    files, two files of the same name, and a folder with stegos that were made differently.
    """
    if len(files) <= num_secrets:
        raise UserError(
            f"{num_secrets} secrets per cover need more than {num_secrets} pictures, got {len(files)}"
        )
    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        double = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two pictures are called {double}; stegos are named after their covers")
    about = {**about, "secrets": num_secrets, "size": size, "pictures": len(files)}
    about["pictures_sha256"] = checksum(files)
    about = json.loads(json.dumps(about))
    _check_folder(out, about)
    write_beside(out / ABOUT, _json(about))
    pictures = [fit_picture(to_tensor(read_picture(path)), size, path=path) for path in files]
    if len({one.shape for one in pictures}) > 1 and num_secrets:
        raise UserError("the pictures differ in size: set --size to use only the middle of each")
    folders = [out / "cover", out / "stego", *(out / f"secret_{n + 1}" for n in range(num_secrets))]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    quality = []
    for k, name in enumerate(tqdm(names, "hiding", unit="cover", disable=None)):
        together = [pictures[(k + n) % len(pictures)] for n in range(num_secrets + 1)]
        stego_file = folders[1] / f"{name}.png"
        if not stego_file.exists():
            stego = sender(together[0], together[1:], k)
            write_picture(folders[0] / f"{name}.png", to_array(together[0]))
            for folder, secret in zip(folders[2:], together[1:], strict=True):
                write_picture(folder / f"{name}.png", to_array(secret))
            write_picture(stego_file, to_array(stego))
        quality.append(psnr(to_array(together[0]), read_picture(stego_file)))
    finite = [value for value in quality if np.isfinite(value)]
    about["psnr"] = float(np.mean(finite)) if finite else None
    about["psnr_interval"] = mean_interval(quality, list(range(len(quality))))
    write_beside(out / ABOUT, _json(about))
    return about


def checksum(files: list[Path]) -> str:
    """Return a checksum of the contents of these files, in this order."""
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def _check_folder(out: Path, about: dict) -> None:
    if not (out / ABOUT).exists():
        if (out / "stego").exists():
            raise UserError(
                f"{out}: holds stegos, but not {ABOUT}, which says how they were made; use another folder"
            )
        return
    there = _read_about(out / ABOUT)
    differing = [key for key, value in about.items() if there.get(key) != value]
    if differing:
        raise UserError(f"{out}: holds stegos that were made differently ({', '.join(differing)} differ)")


def _json(about: dict) -> bytes:
    return (json.dumps(about, indent=2) + "\n").encode()


def made_of(pairs: Pairs) -> dict | None:
    """Read the stegos.json beside the folder of the stegos; None if there is none.

    Also None if a stego is a JPEG file: stegos.json describes the PNG files from which it was made.
    """
    file = pairs[0][1].parent.parent / ABOUT if pairs else Path(ABOUT)
    if not pairs or not file.exists() or lossy_pictures(stego for _, stego in pairs):
        return None
    return _read_about(file)


def _read_about(file: Path) -> dict:
    try:
        about = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file}: damaged ({error}); delete it and make the stegos again") from error
    if not isinstance(about, dict):
        raise UserError(f"{file}: not written by make_stegos.py; delete it and make the stegos again")
    return about


def survives_jpeg(model: HidingModel) -> bool:
    """Return whether the method is made or trained to survive JPEG."""
    trained = any(link.get("type") == "jpeg" for chain in model.trained_channel for link in chain)
    return isinstance(model, CodecDCT) or trained
