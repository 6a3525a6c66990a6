"""Figures for people: cover, stego, secrets and revealed side by side, with the residuals."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metrics.image import AMPLIFY, psnr, residual

PANEL = 384  # side of one panel, px
GAP = 10
TITLE = 24


def group_figure(
    cover: np.ndarray,
    stego: np.ndarray,
    secrets: Sequence[np.ndarray],
    revealed: Sequence[np.ndarray],
    cols: int = 0,
) -> np.ndarray:
    """Draw one group: cover, stego and residual above secrets, revealed and residual.

    cover, stego (H,W,3); secrets, revealed N of (H,W,3), all uint8 -> (h,w,3) uint8. The N pictures are
    in `cols` columns (0: the grid closest to a square). Without secrets there is only the first row.
    """
    shown = panels(cover, stego, secrets, revealed, cols)
    return np.concatenate([_row(shown[start : start + 3]) for start in range(0, len(shown), 3)])


def panels(
    cover: np.ndarray,
    stego: np.ndarray,
    secrets: Sequence[np.ndarray],
    revealed: Sequence[np.ndarray],
    cols: int = 0,
) -> list[tuple[str, Image.Image]]:
    """Return the parts of `group_figure` with their titles. Each part fits in PANEL x PANEL pixels."""
    parts = [
        ("cover", _panel([cover], 1)),
        (f"stego  {psnr(cover, stego):.2f} dB", _panel([stego], 1)),
        (f"|stego - cover| x {AMPLIFY}", _panel([residual(cover, stego)], 1)),
    ]
    if len(secrets):
        cols = cols or math.ceil(math.sqrt(len(secrets)))
        pairs = list(zip(secrets, revealed, strict=True))
        mean = np.mean([psnr(a, b) for a, b in pairs])
        parts += [
            (f"{len(secrets)} secrets", _panel(secrets, cols)),
            (f"revealed  {mean:.2f} dB", _panel(revealed, cols)),
            (f"|revealed - secret| x {AMPLIFY}", _panel([residual(a, b) for a, b in pairs], cols)),
        ]
    return parts


def _panel(pictures: Sequence[np.ndarray], cols: int) -> Image.Image:
    """Lay out N pictures (H,W,3) in rows of `cols`, resized to the first one's shape, in PANEL x PANEL px."""
    rows = math.ceil(len(pictures) / cols)
    height, width = pictures[0].shape[:2]
    scale = min(PANEL / (cols * width), PANEL / (rows * height))
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    panel = Image.new("RGB", (cell[0] * cols, cell[1] * rows), "white")
    for k, picture in enumerate(pictures):
        small = Image.fromarray(picture).resize(cell, Image.Resampling.LANCZOS)
        panel.paste(small, (k % cols * cell[0], k // cols * cell[1]))
    return panel


def _row(panels: list[tuple[str, Image.Image]]) -> np.ndarray:
    height = TITLE + max(panel.height for _, panel in panels) + GAP
    sheet = Image.new("RGB", (len(panels) * (PANEL + GAP) + GAP, height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for k, (title, panel) in enumerate(panels):
        left = GAP + k * (PANEL + GAP)
        draw.text((left, 3), title, fill="black", font=font)
        sheet.paste(panel, (left, TITLE))
    return np.asarray(sheet)


def histogram(values: dict[str, list[float]]) -> np.ndarray:
    """Draw the distribution of PSNR [dB] over a data set, one panel for each kind of pair: (h,w,3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    row = figure.subplots(1, len(values), squeeze=False)[0]
    for axes, (title, numbers) in zip(row, values.items(), strict=True):
        finite = [x for x in numbers if math.isfinite(x)]
        if finite:
            axes.hist(finite, bins=min(30, max(5, len(finite) // 2)), color="#4477aa")
            axes.axvline(np.mean(finite), color="black", linestyle="--", linewidth=1)
            title = f"{title}: mean {np.mean(finite):.2f} dB, worst {min(finite):.2f} dB"
        axes.set(title=title, xlabel="PSNR (dB, RGB)", ylabel="pictures")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
