"""docs/model_zoo.md: held to the cards of the shipped networks."""

import pytest

from engine.checkpoint import shipped
from engine.log import EXPERIMENTS
from scripts.make_model_zoo import card_rows, zoo
from tests.common import ROOT


def test_the_page_is_current():
    page = (ROOT / "docs" / "model_zoo.md").read_text()
    assert page == zoo(EXPERIMENTS), "run scripts/make_model_zoo.py"
    for name in shipped(EXPERIMENTS):
        assert f"| [{name}](" in page


def test_what_a_card_says(tmp_path):
    (tmp_path / "net").mkdir()
    weights = tmp_path / "net" / "net.safetensors"
    weights.write_bytes(bytes(1_500_000))
    card = tmp_path / "net" / "README.md"
    card.write_text(
        "| network | A net ([x](../../../docs/x.md)), 4 secrets |\n"
        "| licence | the weights are for research; the code is free |\n"
        "| a, 4 groups | cover/stego | 38.15 | 42 |\n| a, 4 groups | secret/revealed | 35.99 | 38 |\n"
        "| b | cover/stego | 38.00 | 42 |\n| b | secret/revealed | 33.00 | 38 |\n"
    )
    assert list(card_rows("net", weights)) == [
        "| [net](../experiments/pretrained/net/README.md) | A net ([x](x.md)), 4 secrets | a, 4 groups "
        "| 38.15 | 35.99 | 1.5 MB | research |",
        "|  |  | b | 38.00 | 33.00 |  |  |",
    ]
    card.write_text("| network | A net |\n| licence | any |\n")
    with pytest.raises(ValueError, match="README.md: expected rows cover/stego"):
        list(card_rows("net", weights))
