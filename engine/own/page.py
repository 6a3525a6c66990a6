"""A web page that hides and reveals like hide.py and reveal.py, built with Gradio.

The server only listens on this machine and loads nothing from the network. It keeps its files in one
temporary folder, which it deletes when it stops.
"""

import html
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, NamedTuple

import numpy as np

from container.keys import Key
from data.images import read_picture, write_picture
from engine.log import EXPERIMENTS
from engine.own.hiding import set_sender, write_hidden
from engine.own.passphrase import weakness
from engine.own.plan import PROMISES, plan
from engine.own.revealing import contents, hider_of, revealed, write_secrets
from engine.own.secrets import Secrets, chosen
from engine.own.telling import hidden
from errors import UserError
from metrics.image import residual
from models import HidingModel, build_model

MOST_FILES = 255
LARGEST_FILE = "200mb"
VIEW: list[Any] = ["download", "fullscreen"]  # a picture's buttons; without "share", which would upload it
# The browser may load nothing from elsewhere, whatever a file's name or a library asks for.
POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; connect-src 'self' ws: data: blob:; "
    "frame-ancestors 'none'; form-action 'self'"
)
KINDEST, USUAL, BEST = "M = 4, kindest to the cover", "M = 12, a compromise", "M = 32, kindest to the secrets"
MODULI = {KINDEST: 4, "M = 8": 8, USUAL: 12, "M = 16": 16, BEST: 32}
SURVIVES = {f"survives JPEG {promise[0].partition(':')[2]} and better": promise for promise in PROMISES}


class Shown(NamedTuple):
    """A stego that was written: its file, the cover and the stego (H,W,3) uint8, and hide.py's report."""

    stego: Path
    cover: np.ndarray
    picture: np.ndarray
    scores: str


# --- what the page does, without Gradio -----------------------------------------------------------


def chosen_files(cover: str | None, secrets: list[str] | None, exact: bool) -> tuple[Path, Secrets]:
    """Return the files of the form. Raises UserError if a field is empty or there are too many secrets."""
    if not cover or not secrets:
        raise UserError("choose a cover and at least one secret")
    if len(secrets) > MOST_FILES:
        raise UserError(f"{len(secrets)} secrets; expected at most {MOST_FILES}")
    return Path(cover), chosen(secrets, exact)


def model_for(strength: str) -> HidingModel:
    """Return the method that a strength of the form stands for."""
    if strength in SURVIVES:
        return build_model("codec_dct", survive=SURVIVES[strength])
    model = build_model("codec_lsb")
    set_sender(model, modulus=MODULI[strength])
    return model


def planned(cover: str | None, secrets: list[str] | None, exact: bool) -> str:
    """Return the plan that `hide.py --plan` prints; empty while the form is not filled in."""
    if not cover or not secrets:
        return ""
    path, wanted = chosen_files(cover, secrets, exact)
    found = plan(path, wanted, EXPERIMENTS, ["codec_lsb", "codec_dct"])
    return "\n".join(found.lines()).replace(str(path), path.name)


def hidden_for(
    cover: str | None, secrets: list[str] | None, exact: bool, strength: str, passphrase: str, folder: Path
) -> Shown:
    """Hide what the form says and write the stego to `folder` as stego.png. Raises UserError as hide.py."""
    path, wanted = chosen_files(cover, secrets, exact)
    model, out = model_for(strength), folder / "stego.png"
    done = write_hidden(model, path, wanted, out, key=Key(passphrase or None))
    names = {str(file): file.name for file in (out, *wanted.all)}
    lines = list(hidden(model, done, "stretch"))
    for long, short in names.items():
        lines = [line.replace(long, short) for line in lines]
    if not passphrase:
        lines.append("no passphrase: anyone who has this program can reveal what is hidden")
    elif (warning := weakness(passphrase)) is not None:
        lines.append(f"passphrase: {warning}")
    return Shown(out, *done.pictures, "\n".join(lines))


class Found(NamedTuple):
    """What a stego held: all files that were written, the pictures among them, a zip of all, and a list."""

    files: list[Path]
    pictures: list[Path]
    archive: Path
    lines: str


def revealed_for(stego: str | None, passphrase: str, folder: Path) -> Found:
    """Reveal a stego of codec_lsb or codec_dct into `folder`, and pack all files into one zip there.

    Raises UserError for no stego, for a stego that the passphrase does not open, and for other methods.
    """
    if not stego:
        raise UserError("choose a stego")
    key, path = Key(passphrase or None), Path(stego)
    try:
        method, _ = hider_of(path, key)
        if method not in ("codec_lsb", "codec_dct"):
            raise UserError(f"{path}: hidden by {method}, but this page does not load weights; use reveal.py")
        found = revealed(build_model(method), path, key)
    except UserError as error:
        raise UserError(str(error).replace(str(path), path.name)) from error
    files = write_secrets(found.secrets, folder / "revealed", False, path)
    archive = folder / "revealed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for file in files:
            packed.write(file, file.name)
    pairs = zip(files, found.secrets.values(), strict=True)
    pictures = [file for file, secret in pairs if isinstance(secret, np.ndarray)]
    return Found(files, pictures, archive, "\n".join(contents(found)))


# --- Gradio ---------------------------------------------------------------------------------------


def build(folder: Path):
    """Build the page. It writes into new folders below `folder`."""
    import gradio as gr

    def told(do: Callable) -> Any:
        """Call `do`. A user's mistake becomes a message on the page, as text and not as HTML."""
        try:
            return do()
        except (UserError, OSError) as error:
            raise gr.Error(html.escape(str(error)), duration=None, print_exception=False) from error

    def show_plan(cover, secrets, exact, progress=gr.Progress()):  # noqa: B008 (Gradio wants it there)
        progress(0.1, "finding out what fits")
        return told(lambda: planned(cover, secrets, exact))

    def do_hide(cover, secrets, exact, strength, passphrase, gain, progress=gr.Progress(track_tqdm=True)):  # noqa: B008
        progress(0.05, "hiding")
        place = Path(mkdtemp(dir=folder))
        shown = told(lambda: hidden_for(cover, secrets, exact, strength, passphrase, place))
        pictures = str(place / "cover.png"), str(shown.stego)
        write_picture(pictures[0], shown.cover)
        difference = residual(shown.cover, shown.picture, gain)
        return (
            str(shown.stego),
            difference,
            shown.scores,
            gr.update(value=str(shown.stego), interactive=True),
            pictures,
        )

    def do_gain(pictures, gain):
        return None if pictures is None else residual(*(read_picture(one) for one in pictures), gain)

    def do_reveal(stego, passphrase, progress=gr.Progress()):  # noqa: B008
        progress(0.1, "revealing")
        found = told(lambda: revealed_for(stego, passphrase, Path(mkdtemp(dir=folder))))
        files = [str(file) for file in found.files]
        archive = gr.update(value=str(found.archive), interactive=True)
        return [str(file) for file in found.pictures], files, archive, found.lines

    with gr.Blocks(
        title="Hide pictures in a picture", analytics_enabled=False, delete_cache=(600, 3600)
    ) as page:
        gr.Markdown("# Hide pictures in a picture\nThe files that you choose here never leave this machine.")
        with gr.Tab("Hide"):
            with gr.Row():
                cover = gr.File(label="Cover: the picture to hide in", elem_id="cover")
                secrets = gr.File(
                    label="Secrets: pictures and files", file_count="multiple", elem_id="secrets"
                )
            exact = gr.Checkbox(
                label="Keep pictures byte for byte instead of coding them to fit", elem_id="exact"
            )
            fits = gr.Textbox(label="What fits, and how well", lines=8, elem_id="plan", elem_classes="plain")
            with gr.Row():
                strength = gr.Dropdown(
                    [*MODULI, *SURVIVES], value=USUAL, label="Strength", elem_id="strength"
                )
                passphrase = gr.Textbox(label="Passphrase", type="password", elem_id="passphrase")
            hide = gr.Button("Hide", variant="primary", elem_id="hide")
            scores = gr.Textbox(label="Done", lines=6, elem_id="scores", elem_classes="plain")
            with gr.Row():
                stego = gr.Image(label="Stego", format="png", type="filepath", buttons=VIEW, elem_id="stego")
                difference = gr.Image(label="What changed", format="png", buttons=VIEW, elem_id="residual")
            gain = gr.Slider(1, 50, 10, step=1, label="Amplify changes by", elem_id="gain")
            download = gr.DownloadButton("Download the stego (PNG)", interactive=False, elem_id="download")
            pictures = gr.State()
        with gr.Tab("Reveal", elem_id="reveal_tab"):
            with gr.Row():
                received = gr.File(label="Stego", elem_id="received")
                opening = gr.Textbox(label="Passphrase", type="password", elem_id="opening")
            reveal = gr.Button("Reveal", variant="primary", elem_id="reveal")
            listed = gr.Textbox(label="What was hidden", lines=4, elem_id="listed", elem_classes="plain")
            gallery = gr.Gallery(
                label="Pictures", format="png", interactive=False, buttons=VIEW, elem_id="gallery"
            )
            files = gr.File(label="One by one", file_count="multiple", interactive=False, elem_id="files")
            archive = gr.DownloadButton("Download all as a zip", interactive=False, elem_id="zip")
        # One job at a time over all open pages; later clicks wait.
        alone: dict[str, Any] = {
            "concurrency_limit": 1,
            "concurrency_id": "work",
            "api_visibility": "private",
        }
        form: list[Any] = [cover, secrets, exact]
        for part in form:
            part.change(show_plan, form, fits, trigger_mode="always_last", **alone)
        hide.click(
            do_hide,
            [*form, strength, passphrase, gain],
            [stego, difference, scores, download, pictures],
            **alone,
        )
        gain.release(do_gain, [pictures, gain], difference, **alone)
        reveal.click(do_reveal, [received, opening], [gallery, files, archive, listed], **alone)
    return page.queue(max_size=20)


@contextmanager
def served(port: int | None = None) -> Iterator[tuple[Any, str]]:
    """Serve the page on 127.0.0.1 until the block ends. Yields the page and its address.

    port: None takes a free one.
    """
    with TemporaryDirectory(prefix="hide-page-") as folder:
        os.environ |= {
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": str(Path(folder, "cache")),
            "HF_HUB_OFFLINE": "1",
        }
        import gradio as gr
        from starlette.middleware import Middleware

        page = build(Path(folder))
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=port,
            share=False,
            quiet=True,
            prevent_thread_lock=True,
            show_error=True,
            ssr_mode=False,
            max_file_size=LARGEST_FILE,
            footer_links=[],
            enable_monitoring=False,
            theme=gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
            css=".plain textarea { font-family: monospace; white-space: pre; overflow-x: auto }",
            app_kwargs={"middleware": [Middleware(SameOrigin)]},
            allowed_paths=[folder],
        )
        try:
            yield page, address.rstrip("/")
        finally:
            page.close(verbose=False)


class SameOrigin:
    """ASGI middleware that adds the header which stops the browser from loading anything from elsewhere."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        async def with_policy(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY.encode())]
            await send(message)

        await self.app(scope, receive, with_policy if scope["type"] == "http" else send)
