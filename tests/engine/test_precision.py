"""Which arithmetic is refused where, and what a lower one does to a stego."""

import pytest
import torch

from engine import precision
from engine.precision import choose, name_of, set_precision
from errors import UserError
from models import build_model
from tests.common import group, psnr, shaken
from tests.models.test_methods import SMALL

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "there, bf16, fp16",
    [
        ([], False, False),
        (["avx512_bf16"], True, False),
        (["amx_tile"], True, False),
        (["amx_tile", "amx_fp16"], True, True),
    ],
)
def test_a_cpu_says_by_its_instructions_what_it_has(monkeypatch, there, bf16, fp16):
    monkeypatch.setattr("engine.precision.machine_name", lambda: "AMD EPYC 9R14, 2 cores")
    for name in ("avx512_bf16", "amx_tile", "amx_fp16"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in there)
    assert [precision.has(CPU, name) for name in ("fp32", "bf16", "fp16")] == [True, bf16, fp16]
    assert choose("auto", CPU) == (torch.bfloat16 if bf16 else None)
    for name, has in (("bf16", bf16), ("fp16", fp16)):
        if has:
            assert name_of(choose(name, CPU)) == name
        else:
            with pytest.raises(UserError, match=f"{name}: this cpu device would only emulate it"):
                choose(name, CPU)


@pytest.mark.parametrize(
    "machine, there, chosen",
    [
        ("AMD EPYC 9R14, 2 cores", ["avx512_bf16"], "bf16"),
        ("Intel(R) Xeon(R) Processor, 2 cores", ["avx512_bf16"], "fp32"),  # bf16 takes twice as long
        ("Intel(R) Xeon(R) Processor, 2 cores", ["avx512_bf16", "amx_tile"], "bf16"),
        ("Intel(R) Xeon(R) Processor, 2 cores", [], "fp32"),
    ],
)
def test_auto_takes_bf16_only_where_it_is_faster(monkeypatch, machine, there, chosen):
    monkeypatch.setattr("engine.precision.machine_name", lambda: machine)
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in there)
    assert name_of(choose("auto", CPU)) == chosen


def test_a_method_without_a_network_has_no_precision():
    with pytest.raises(UserError, match="precision bf16: 'codec_lsb' has no network"):
        set_precision(build_model("codec_lsb"), "bf16")
    with pytest.raises(UserError, match="precision bf16: 'codec_lsb' has no network"):
        set_precision(build_model("codec_lsb"), "fp32", "bf16")
    set_precision(build_model("codec_lsb"), "fp32")


@pytest.mark.parametrize("name", ["bf16", "fp16"])
@pytest.mark.parametrize("method", ["invmihnet", "smilenet", "smilenet_l", "baluja"])
def test_what_is_hidden_in_a_lower_precision_is_nearly_the_same(monkeypatch, method, name):
    """Also where the two sides differ: hidden in half precision, revealed in float32."""
    monkeypatch.setattr("engine.precision.has", lambda device, precision: True)
    net = shaken(method, 0.01, **SMALL[method])
    cover, secrets = group(net)
    stego, types = net.hide(cover, secrets), set()
    revealed = net.reveal(stego)
    set_precision(net, name)
    for part in net.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.register_forward_hook(lambda part, given, result: types.add(result.dtype))
    other = net.hide(cover, secrets)
    again = net.reveal(other)
    assert types == {precision.HALF[name]} and {net.sender_type, net.receiver_type} == types
    set_precision(net, name, "fp32")
    types.clear()
    mixed = net.reveal(other)
    assert types == {torch.float32} and net.sender_type == precision.HALF[name]
    least = 30 if method == "baluja" else 40  # Baluja's picture itself leaves a convolution in half precision
    if method != "smilenet_l":  # no two stegos of a keyed method are alike
        assert least < psnr(other, stego)
    assert min(psnr(again, revealed), psnr(mixed, revealed)) > (20 if method == "smilenet_l" else least)
