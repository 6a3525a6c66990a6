"""The Python door: torch.hub.load(CHECKOUT, ENTRY, source="local").

    net = torch.hub.load(".", "load", "quickstart", source="local")
    stego = net.hide(cover, secrets)      # uint8 (B,3,H,W) and (B,n,3,H,W) -> uint8 (B,3,H,W)
    secrets = net.reveal(stego)           # uint8 (B,N,3,H,W)

and for files, what hide.py and reveal.py do:

    torch.hub.load(".", "hide", "quickstart", "c.jpg", ["a.png", "b.png"], "stego.png", source="local")
    torch.hub.load(".", "reveal", "quickstart", "stego.png", "revealed", source="local")

"codec_lsb" and "lsb" need no weights: their name stands for them.
"""

from errors import UserError

dependencies = [
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "PIL",
    "cv2",
    "skimage",
    "safetensors",
    "pydantic",
    "yaml",
    "cryptography",
    "reedsolo",
    "filelock",
    "tqdm",
]


def load(weights: str, device: str = "auto"):
    """The network of a weights file, a run of experiments/ or a name in experiments/pretrained/."""
    from engine.build import choose_device
    from engine.checkpoint import load_model

    return load_model(weights, choose_device(device))[0]


def smilenet(**arguments):
    """A SMILENet with fresh weights; arguments as in models.smilenet.SMILENet (rows=5, cols=5, ...)."""
    from models import build_model

    return build_model("smilenet", **arguments)


def smilenet_25(weights: str | None = None, device: str = "auto"):
    """SMILENet for 25 secrets: fresh ones, or those that `weights` names."""
    if weights is None:
        return smilenet(rows=5, cols=5)
    model = load(weights, device)
    if model.num_secrets != 25:
        raise UserError(f"weights '{weights}' hide {model.num_secrets} secrets, expected 25")
    return model


def hide(
    weights: str | None,
    cover: str,
    secrets: list,
    out: str,
    fit: str = "stretch",
    force: bool = False,
    passphrase: str | None = None,
    marked: bool = True,
    modulus: int | None = None,
    shaping: int | None = None,
    payload: float | None = None,
    exact: bool = False,
):
    """Hide picture files, as hide.py does: -> engine.own.hiding.HiddenFile (path, PSNR, places).

    weights None: codec_lsb. modulus, shaping, payload and exact are hide.py's options.
    """
    from container.keys import Key
    from engine.build import choose_device
    from engine.checkpoint import keep_used, load_model
    from engine.own.hiding import hide_files, set_sender

    model, about = load_model(weights or "codec_lsb", choose_device("auto"))
    set_sender(model, modulus, shaping, payload)
    done = hide_files(model, cover, secrets, out, fit, force, Key(passphrase), marked, exact=exact)
    keep_used(about["path"], model)
    return done


def reveal(
    weights: str | None,
    stego: str,
    out: str,
    force: bool = False,
    keep_empty: bool = False,
    passphrase: str | None = None,
    damaged_ok: bool = False,
):
    """Reveal to a folder, as reveal.py does: -> engine.own.revealing.RevealedFiles.

    weights None: those that the stego names, where it was hidden with a key.
    """
    from container.keys import Key
    from engine.checkpoint import weights_that_hid
    from engine.own.revealing import hider_of, reveal_files

    key = Key(passphrase)
    weights = weights or weights_that_hid(*hider_of(stego, key))
    return reveal_files(load(weights), stego, out, force, keep_empty, key, damaged_ok)
