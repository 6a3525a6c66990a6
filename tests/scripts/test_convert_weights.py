"""scripts/convert_weights.py, on files of the released form with random weights.

What the networks must give is computed here, apart from the project's layers, from the equations and
from the layout of the released state dicts.
"""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from engine.checkpoint import load_model
from scripts.convert_weights import PARSER, main

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_weights.py"
GROWTH = 5
SCALES = {4: (2, 2), 6: (3, 2), 8: (4, 2), 9: (3, 3), 16: (4, 4)}  # rows, cols


# --- networks of the released form, functional ------------------------------------------------------


def dense_weights(prefix, inputs, outputs, scale=0.05):
    shapes = [(GROWTH, inputs + GROWTH * k) for k in range(4)] + [(outputs, inputs + GROWTH * 4)]
    weights = {}
    for k, (out, width) in enumerate(shapes, 1):
        weights[f"{prefix}.conv{k}.weight"] = torch.randn(out, width, 3, 3) * scale
        weights[f"{prefix}.conv{k}.bias"] = torch.randn(out) * scale
    return weights


def dense(weights, prefix, x, slope):
    for k in range(1, 6):
        y = F.conv2d(x, weights[f"{prefix}.conv{k}.weight"], weights[f"{prefix}.conv{k}.bias"], padding=1)
        if k < 5:
            x = torch.cat((x, F.leaky_relu(y, slope)), dim=1)
    return y


def coupled(weights, names, x, split, slope, clamp, reverse):
    """InvMIHNet eq. 1 and 2; names: those of phi, rho and eta."""
    phi, rho, eta = names
    a, b = x[:, :split], x[:, split:]
    if not reverse:
        a = a + dense(weights, phi, b, slope)
    scale = clamp * (2 * torch.sigmoid(dense(weights, rho, a, slope)) - 1)
    shift = dense(weights, eta, a, slope)
    b = (b - shift) / scale.exp() if reverse else b * scale.exp() + shift
    if reverse:
        a = a - dense(weights, phi, b, slope)
    return torch.cat((a, b), dim=1)


def hiding_weights(blocks, prefix="module.model."):
    parts = [f"{prefix}inv{k}.{part}" for k in range(1, blocks + 1) for part in "ryf"]
    return {k: v for part in parts for k, v in dense_weights(part, 12, 12, 0.02).items()}


def hiding(weights, x, reverse, prefix="module.model."):
    count = len({name.split("inv")[1].split(".")[0] for name in weights})
    for k in range(count, 0, -1) if reverse else range(1, count + 1):
        names = [f"{prefix}inv{k}.{part}" for part in "fry"]
        x = coupled(weights, names, x, 12, 0.01, 2.0, reverse)
    return x


def band_matrices(secrets):
    """(kernel name, kernel shape, rows, cols, matrix from pixels to bands) of each decomposition."""
    m, n = SCALES[secrets]
    signs = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    haar = ("haar_weights", 2, 2, signs)
    if secrets in (6, 9):
        matrix = torch.eye(m * n) + torch.randn(m * n, m * n) * 0.02
        matrix[0] = 1 / (m * n) + torch.randn(m * n) * 0.005
        return [("conv_weights", m, n, matrix)]
    if secrets == 8:
        return [haar, ("haar_weights", 2, 1, torch.tensor([[0.5, 0.5], [-0.5, 0.5]]))]
    return [haar] * (1 if secrets == 4 else 2)


def rescaling_net(secrets, blocks):
    """(weights under the released names, forward, reverse) of an IIR with random weights."""
    weights, operations, channels = {}, [], 3
    for name, m, n, matrix in band_matrices(secrets):
        index = len(operations)
        kernel = (
            matrix if name == "conv_weights" else matrix.reshape(m * n, 1, m, n).repeat(channels, 1, 1, 1)
        )
        weights[f"operations.{index}.{name}"] = kernel
        bands = matrix / 4 if (m, n, name) == (2, 2, "haar_weights") else matrix
        operations.append((m, n, bands))
        channels *= m * n
        for _ in range(blocks):
            prefix = f"operations.{len(operations)}"
            weights |= dense_weights(f"{prefix}.F", channels - 3, 3)
            weights |= dense_weights(f"{prefix}.G", 3, channels - 3)
            weights |= dense_weights(f"{prefix}.H", 3, channels - 3)
            operations.append(prefix)

    def run(x, reverse):
        for operation in reversed(operations) if reverse else operations:
            if isinstance(operation, str):
                names = [f"{operation}.{part}" for part in "FHG"]
                x = coupled(weights, names, x, 3, 0.2, 1.0, reverse)
            elif reverse:  # band-major channels back to pixels
                m, n, matrix = operation
                bands = torch.stack(x.chunk(m * n, dim=1), dim=2)
                pixels = torch.einsum("pk,bckhw->bcphw", torch.linalg.inv(matrix), bands)
                x = shuffle(pixels, m, n)
            else:
                m, n, matrix = operation
                pixels = torch.stack([x[..., i::m, j::n] for i in range(m) for j in range(n)], dim=2)
                x = torch.einsum("kp,bcphw->bkchw", matrix, pixels).flatten(1, 2)
        return x

    return weights, run


def shuffle(pixels, m, n):
    b, c, _, h, w = pixels.shape
    x = torch.zeros(b, c, h * m, w * n)
    for k in range(m * n):
        x[..., k // n :: m, k % n :: n] = pixels[:, :, k]
    return x


# --- the script ---------------------------------------------------------------------------------------


def convert(*arguments, code=0):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def mistake(*arguments):
    line = convert(*arguments, code=2)
    assert line.startswith("convert_weights.py: ") and line.count("\n") == 1
    return line


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def close(x, y):
    return y.abs().max() < 100 and (x - y).abs().max() < 1e-5


@pytest.mark.parametrize("form", ["parallel", "plain", "safetensors"])
def test_hinet(tmp_path, form):
    weights = hiding_weights(16)
    if form == "safetensors":
        file = tmp_path / "model.safetensors"
        extra = {"io.input": torch.rand(2)}
        safetensors.torch.save_file({f"net.{k}": v for k, v in weights.items()} | extra, file)
    else:
        file = tmp_path / "model.pt"
        saved = weights if form == "parallel" else {k.removeprefix("module."): v for k, v in weights.items()}
        torch.save({"net": saved, "opt": {"state": {}, "param_groups": [{"lr": 1e-4}]}}, file)
    convert("--from", "hinet", file, "--out", tmp_path / "out")
    net, metadata = load_model(tmp_path / "out" / "hinet_1.safetensors")
    assert metadata["method"] == "hinet" and len(net.network.blocks) == 16 and net.z_std == 1.0
    x, y = torch.randn(2, 1, 24, 8, 8) * 0.3
    with torch.no_grad():
        a, b = x.chunk(2, dim=1)
        for block in net.network.blocks:
            a, b = block(a, b)
        there = hiding(weights, x, reverse=False)
        assert close(torch.cat((a, b), dim=1), there) and (there - x).abs().mean() > 0.1
        a, b = y.chunk(2, dim=1)
        for block in reversed(net.network.blocks):
            a, b = block.inverse(a, b)
        assert close(torch.cat((a, b), dim=1), hiding(weights, y, reverse=True))
    card = (tmp_path / "out" / "README.md").read_text()
    assert file.name in card and "ICCV 2021" in card and "SHA-256" in card


@pytest.mark.parametrize("secrets", sorted(SCALES))
def test_invmihnet(tmp_path, secrets):
    weights, run = rescaling_net(secrets, blocks=2)
    torch.save(weights, tmp_path / "IIR.pth")
    torch.save({"net": hiding_weights(3, prefix="model.")}, tmp_path / "IIH.pth")
    files = [tmp_path / "IIH.pth", tmp_path / "IIR.pth"]  # in either order
    convert("--from", "invmihnet", *files, "--out", tmp_path / "out", "--z-std", "0")
    net, _ = load_model(tmp_path / "out" / f"invmihnet_{secrets}.safetensors")
    assert net.num_secrets == secrets and len(net.iih.blocks) == 3 and net.z_std == 0
    rows, cols = SCALES[secrets]
    x = torch.rand(2, 3, 24, 24)
    bands = torch.randn(2, 3 * secrets, 24 // rows, 24 // cols) * 0.3
    with torch.no_grad():
        assert close(net.iir(x), run(x, reverse=False))
        assert close(net.iir.inverse(bands), run(bands, reverse=True))
    cover = torch.randint(0, 256, (1, 3, 24, 24), dtype=torch.uint8)
    assert net.reveal(cover).shape == (1, secrets, 3, 24, 24)


def test_one_part_of_invmihnet(tmp_path):
    weights, _ = rescaling_net(4, blocks=1)
    torch.save(weights, tmp_path / "IIR.pth")
    call = ("--from", "invmihnet", tmp_path / "IIR.pth", "--out", tmp_path / "out")
    assert "warning: IIH was not given" in convert(*call)
    assert "hides nothing" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
def test_weights_that_are_there_are_kept(tmp_path):
    torch.save({"net": hiding_weights(1)}, tmp_path / "model.pt")
    call = ("--from", "hinet", tmp_path / "model.pt", "--out", tmp_path / "out")
    convert(*call)
    assert "exists; --force replaces it" in mistake(*call)
    convert(*call, "--force")


class Code:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_wrong_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rescaling, _ = rescaling_net(4, blocks=1)
    blocks = hiding_weights(2)
    contents = {
        "iir.pth": rescaling,
        "hinet.pt": {"net": blocks},
        "other.pt": {"conv.weight": torch.zeros(3)},
        "none.pt": {"epoch": 3},
        "list.pt": [1, 2],
        "code.pt": Code(),
        "holes.pt": {k: v for k, v in blocks.items() if "inv1.r.conv3" not in k},
        "shapes.pt": blocks | {"module.model.inv1.r.conv5.weight": torch.zeros(3, 3, 3, 3)},
        "five.pth": {k: v for k, v in rescaling.items() if "haar" not in k}
        | {"operations.0.conv_weights": torch.eye(5)},
        "haar.pth": rescaling | {"operations.0.haar_weights": torch.ones(12, 1, 2, 2)},
    }
    for name, content in contents.items():
        torch.save(content, name)
    Path("cut.pt").write_bytes(Path("hinet.pt").read_bytes()[:2000])
    Path("cut.safetensors").write_bytes(b"123456789")
    for method, files, message in [
        ("hinet", ["gone.pt"], "no such file"),
        ("hinet", ["cut.pt"], "not a complete checkpoint"),
        ("hinet", ["cut.safetensors"], "not a complete safetensors file"),
        ("hinet", ["code.pt"], "holds more than data"),
        ("hinet", ["none.pt"], "holds no named tensors"),
        ("hinet", ["list.pt"], "holds no named tensors"),
        ("hinet", ["other.pt"], "not of HiNet or InvMIHNet, such as 'conv.weight'"),
        ("hinet", ["iir.pth"], "expected HiNet's blocks .model.inv.., found InvMIHNet's rescaling net"),
        ("hinet", ["holes.pt"], "do not fit hinet"),
        ("hinet", ["shapes.pt"], "do not fit hinet"),
        ("hinet", ["hinet.pt", "iir.pth"], "2 files, expected 1 for hinet"),
        ("invmihnet", ["hinet.pt", "hinet.pt"], "is already in the other file"),
        ("invmihnet", ["five.pth", "hinet.pt"], "expected those of an InvMIHNet"),
        ("invmihnet", ["haar.pth", "hinet.pt"], "not the Haar transform"),
    ]:
        with pytest.raises(ValueError, match=message):
            main(PARSER.parse_args(["--from", method, *files, "--out", "out"]))
    assert "no such file" in mistake("--from", "hinet", "gone.pt", "--out", "out")
    assert not Path("executed").exists() and not Path("out").exists()
