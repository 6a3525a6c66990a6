"""scripts/plot_score_map.py: what the critic sees on covers and stegos, and what its map does."""

import numpy as np
import pytest
import torch

from data.images import read_picture, to_tensor
from engine.checkpoint import save_weights
from errors import UserError
from scripts.plot_score_map import PARSER, main, one_group, plot
from tests.common import shaken

SMALL = {"width": 4, "fold": 2, "depth": 1, "critic_width": 4}


def run(*words) -> None:
    main(PARSER.parse_args([str(word) for word in words]))


def test_figures_and_picture(tmp_path, pictures, capsys):
    save_weights(tmp_path / "w.safetensors", shaken("srisnet", **SMALL))
    words = ["--weights", tmp_path / "w.safetensors", "--out", tmp_path / "map.jpg", "--size", "64"]
    run(*words, "--pictures", pictures, "--groups", "2", "--shown", "1")
    shown = capsys.readouterr().out
    assert shown.startswith("2 groups")
    rows = {line.split(" | ")[0][2:]: line.split(" | ")[1:] for line in shown.splitlines()[4:]}
    assert len(rows) == 7
    for mean, lowest, highest in rows.values():
        assert float(lowest) <= float(mean) <= float(highest.removesuffix(" |"))
    drawing = read_picture(tmp_path / "map.jpg")
    assert drawing.shape[1] > 3 * drawing.shape[0] and drawing.std() > 10


def test_the_mean_for_the_map_changes_nothing_where_the_map_is_flat(pictures):
    """And it changes the stego where the map is not flat."""
    net = shaken("srisnet", **SMALL).eval()
    cover = to_tensor(read_picture(sorted(pictures.iterdir())[0]))[:, :48, :48]
    secret = to_tensor(read_picture(sorted(pictures.iterdir())[1]))[None, :, :48, :48]
    figures, shown = one_group(net, cover, secret)
    assert figures["stego (dB)"] != figures["stego, mean for map (dB)"]
    assert np.isclose(shown["its score map"].mean(), figures["score of the cover"])
    with torch.no_grad():
        net.critic.score.bias.fill_(100)  # every score is 1
    figures, shown = one_group(net, cover, secret)
    assert np.ptp(shown["its score map"]) == 0
    assert figures["stego (dB)"] == figures["stego, mean for map (dB)"]
    assert figures["revealed (dB)"] == figures["revealed, mean for map (dB)"]


def test_one_scale_for_all_maps():
    grey, low, high = np.full((16, 16, 3), 99, np.uint8), np.full((16, 16), 0.4), np.full((16, 16), 0.6)
    two = plot([{"cover": grey, "map": low}, {"cover": grey, "map": high}])
    for colour in ((68, 1, 84), (253, 231, 37)):  # the ends of viridis
        assert (np.abs(two.astype(int) - colour).max(-1) <= 1).sum() > 1000


@pytest.mark.parametrize("settings", [{"critic": "none"}, {"critic": "map"}])
def test_weights_without_a_map_for_the_sender(settings, tmp_path, pictures):
    save_weights(tmp_path / "w.safetensors", shaken("srisnet", **SMALL | settings))
    with pytest.raises(UserError, match="has no score map that the sender uses"):
        run("--weights", tmp_path / "w.safetensors", "--pictures", pictures)


def test_another_method():
    with pytest.raises(UserError, match="expected a SRIS-Net trained with"):
        run("--weights", "lsb")
