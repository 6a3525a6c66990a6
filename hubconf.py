"""The entry points for Python: torch.hub.load(CHECKOUT, ENTRY, source="local").

    net = torch.hub.load(".", "load", "quickstart", source="local")
    stego = net.hide(cover, secrets)      # uint8 (B,3,H,W) and (B,n,3,H,W) -> uint8 (B,3,H,W)
    secrets = net.reveal(stego)           # uint8 (B,N,3,H,W)

These do for files what hide.py and reveal.py do:

    torch.hub.load(".", "hide", "quickstart", "c.jpg", ["a.png", "b.png"], "stego.png", source="local")
    torch.hub.load(".", "reveal", "quickstart", "stego.png", "revealed", source="local")

"codec_lsb", "codec_dct" and "lsb" have no weights: use the name itself.
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
    """Load a network: from a weights file, a run in experiments/ or a name in experiments/pretrained/.

    device: auto, cpu, cuda, cuda:N or mps. Returns a HidingModel in evaluation mode on that device. Raises
    UserError if there are no such weights or no such device.
    """
    from engine.build import choose_device
    from engine.checkpoint import load_model

    return load_model(weights, choose_device(device))[0]


def smilenet(**arguments):
    """Build a SMILENet with fresh weights. Arguments: see models.smilenet.SMILENet (rows=5, cols=5, ...)."""
    from models import build_model

    return build_model("smilenet", **arguments)


def smilenet_25(weights: str | None = None, device: str = "auto"):
    """Return a SMILENet for 25 secrets, with fresh weights or those that `weights` names.

    Raises UserError if the weights are not for 25 secrets.
    """
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
    """Hide files as hide.py does. Returns an engine.own.hiding.HiddenFile (path, PSNR, what was hidden).

    weights: a name or a file; None takes codec_lsb. marked=False is hide.py's --unmarked; the other arguments
    are called like its options. Raises UserError as hide.py does.
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
    """Reveal into a folder as reveal.py does. Returns an engine.own.revealing.RevealedFiles.

    weights: a name or a file; None takes the weights that the stego names, which needs a method with a key.
    keep_empty is reveal.py's --all and damaged_ok its --damaged; the other arguments are called like its
    options. Raises UserError as reveal.py does.
    """
    from container.keys import Key
    from engine.checkpoint import weights_that_hid
    from engine.own.revealing import hider_of, reveal_files

    key = Key(passphrase)
    weights = weights or weights_that_hid(*hider_of(stego, key))
    return reveal_files(load(weights), stego, out, force, keep_empty, key, damaged_ok)
