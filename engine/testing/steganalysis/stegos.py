"""What detectors are tried on: folders of covers, stegos and secrets that a method or a known change made."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from container.keys import PUBLIC, Key
from data.files import sha256, write_beside
from data.images import read_picture, to_array, to_tensor, write_picture
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

Sender = Callable[[Tensor, list[Tensor], int], Tensor]  # cover, secrets, place in the folder -> stego, uint8


def method_sender(model: HidingModel, key: Key = PUBLIC) -> Sender:
    """Hide by a method; a keyed one under `key`."""

    def hide(cover: Tensor, secrets: list[Tensor], k: int) -> Tensor:
        if isinstance(model, KeyedMethod):
            return model.seal(cover, secrets, key)
        return model.hide(cover[None], torch.stack(secrets)[None])[0]

    return hide


def control_sender(control: str, rate: float, seed: int = 0) -> Sender:
    """A change that detectors are known to find: a share `rate` of all samples carries a random bit.

    lsb_replacement: the last bit is replaced. lsb_matching: where it is not the bit that is wanted, 1 is
    added or taken away at random, inside 0 to 255.
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
    """What tells these stegos from others: the method, its weights, what its sender chose."""
    return {
        "method": model.method,
        "weights": weights,
        "fingerprint": fingerprint(model).hex() if model.trainable else "",
        **{name: getattr(model, name, None) for name in ("modulus", "shaping", "payload", "survive")},
        "passphrase": passphrase,
    }


def make_stegos(
    files: list[Path], num_secrets: int, out: Path, sender: Sender, about: dict, size: int | None = None
) -> dict:
    """Hide in each of the files, and write out/cover, out/stego, out/secret_1, ... and out/stegos.json.

    Cover k takes the `num_secrets` files after it, around the end of the list: each file is once a cover and
    once a secret of each place. All are PNG, the middle `size` px of each. What is there already stays, so
    that an interrupted command goes on. Returns what stegos.json holds: `about`, counts, a checksum of the
    pictures, mean PSNR of the stegos. Raises UserError for too few files, two of one name, and a
    folder that holds stegos that were made otherwise.
    """
    if len(files) <= num_secrets:
        raise UserError(
            f"{num_secrets} secrets a cover need more than {num_secrets} pictures, got {len(files)}"
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
        raise UserError("the pictures differ in size: say with --size how large their middle is to be")
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
    """Of the content of these files, in this order."""
    return hashlib.sha256("".join(sha256(path) for path in files).encode()).hexdigest()


def _check_folder(out: Path, about: dict) -> None:
    if not (out / ABOUT).exists():
        if (out / "stego").exists():
            raise UserError(
                f"{out}: holds stegos, but not {ABOUT}, which says how they were made; take another"
            )
        return
    there = json.loads((out / ABOUT).read_text())
    differing = [key for key, value in about.items() if there.get(key) != value]
    if differing:
        raise UserError(f"{out}: holds stegos that were made otherwise ({', '.join(differing)} differ)")


def _json(about: dict) -> bytes:
    return (json.dumps(about, indent=2) + "\n").encode()


def made_of(pairs: Pairs) -> dict | None:
    """What stegos.json beside the folder of the stegos says of them; None where there is none."""
    file = pairs[0][1].parent.parent / ABOUT if pairs else Path(ABOUT)
    return json.loads(file.read_text()) if pairs and file.exists() else None


def survives_jpeg(model: HidingModel) -> bool:
    """Whether the method hides for JPEG, or was trained for it."""
    trained = any(link.get("type") == "jpeg" for chain in model.trained_channel for link in chain)
    return isinstance(model, CodecDCT) or trained
