"""scripts/plot_lattice.py: the bound lies above the digits, and the plot has all curves."""

import importlib.util
import math
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "plot_lattice.py"
spec = importlib.util.spec_from_file_location("plot_lattice", SCRIPT)
plot_lattice = importlib.util.module_from_spec(spec)
spec.loader.exec_module(plot_lattice)


def result(modulus, revealed):
    error = (modulus**2 + 2) / 12
    stego = {"psnr_rgb": 10 * math.log10(255**2 / error), "mse": error}
    return {
        "modulus": modulus,
        "num_secrets": 4,
        "cover_stego": stego,
        "secret_revealed": {"psnr_rgb": revealed},
    }


CODED = [result(m, 20 + 6 * math.log2(m)) for m in plot_lattice.CODED]  # 2 dB for each bit a pixel


def test_the_bound_is_what_the_digits_would_reveal_at_the_most_bits():
    stego, reached = plot_lattice.bound(CODED)
    assert len(stego) == len(plot_lattice.MODULI)
    at_12 = next(k for k, m in enumerate(plot_lattice.MODULI) if m == 12)
    most = plot_lattice.capacity_bound(146 / 12)
    assert most > 3 * math.log2(12)
    assert reached[at_12] == pytest.approx(20 + 2 * most, abs=0.05)


def test_the_plot_has_every_curve():
    network = [result(m, 30 + m / 4) for m in plot_lattice.MODULI]
    one = plot_lattice.drawn({"smilenet_l_4": network})
    both = plot_lattice.drawn({"smilenet_l_4": network, "codec_lsb, N = 4": CODED})
    assert one.dtype == "uint8" and one.shape == both.shape and (one != both).any()


def test_a_network_that_is_not_there(tmp_path):
    words = [
        "--test",
        str(tmp_path),
        "--experiments",
        str(tmp_path),
        "--out-runs",
        str(tmp_path),
        "smilenet_l_4",
    ]
    with pytest.raises(ValueError, match="smilenet_l_4: no such network in"):
        plot_lattice.main(plot_lattice.PARSER.parse_args(words))
