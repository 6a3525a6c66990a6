"""The child process in which benchmark.py times another project's network. Do not run it by hand.

It imports the other checkout's classes by name, and nothing of this project, because package names may
clash. It reads operations from stdin, one per line, and answers each with its seconds.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


class Bands:
    """The authors' wavelet and their network over bands: the common part of HiNet and InvMIHNet's IIH."""

    CHANNELS = 12

    def __init__(self, network: nn.Module, wavelets):
        self.network, self.dwt, self.iwt = network, wavelets.DWT(), wavelets.IWT()

    def hide(self, cover: Tensor, picture: Tensor) -> Tensor:
        """(B,3,H,W) twice -> the stego's bands (B,12,H/2,W/2)."""
        bands = torch.cat((self.dwt(cover), self.dwt(picture)), dim=1)
        return self.network(bands)[:, : self.CHANNELS]

    def reveal(self, bands: Tensor) -> Tensor:
        """Reveal the picture (B,3,H,W), with Gaussian noise for the dropped part, as the authors do."""
        given = torch.cat((bands, torch.randn_like(bands)), dim=1)
        return self.iwt(self.network(given, rev=True)[:, self.CHANNELS :])


class HiNet:
    """HiNet's released network, and a training step with its paper's loss: one Adam, no clipping."""

    def __init__(self, checkout: Path, device: torch.device, secrets: int):
        assert secrets == 1
        sys.path.insert(0, str(checkout))
        network = importlib.import_module("hinet").Hinet().to(device)
        self.bands = Bands(network, importlib.import_module("modules.Unet_common"))
        self.networks = [network]
        self.optimizer = torch.optim.Adam(network.parameters(), lr=1e-9, betas=(0.5, 0.999), eps=1e-6)

    def hide(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return self.bands.iwt(self.bands.hide(cover, secrets[:, 0]))

    def reveal(self, stego: Tensor) -> Tensor:
        return self.bands.reveal(self.bands.dwt(stego))

    def step(self, cover: Tensor, secrets: Tensor) -> None:
        self.optimizer.zero_grad()
        bands = self.bands.hide(cover, secrets[:, 0])
        revealed = self.bands.reveal(bands)
        loss = 5 * (revealed - secrets[:, 0]).square().sum() + (self.bands.iwt(bands) - cover).square().sum()
        loss = loss + (bands[:, :3] - self.bands.dwt(cover)[:, :3]).square().sum()
        loss.backward()
        self.optimizer.step()


class InvMIHNet:
    """InvMIHNet's released networks IIR and IIH. As in their code, each part of the cover hides one tile.

    A training step has the terms of its paper's loss in one backward pass, clips both networks' gradients and
    makes one Adam step over all parameters. (The released code runs two backward passes, which takes longer.)
    """

    def __init__(self, checkout: Path, device: torch.device, secrets: int):
        sys.path.insert(0, str(checkout / "codes"))
        file = checkout / f"codes/options/train/train_InvMIHNet_{secrets}images.yml"
        about = yaml.safe_load(file.read_text())["network_G"]
        arch = importlib.import_module("models.modules.Inv_arch")
        subnet = importlib.import_module("models.modules.Subnet_constructor").subnet
        self.rows, self.cols = about["scale_H"], about["scale_W"]
        self.iir = arch.InvRescaleNet(
            about["in_nc"],
            about["out_nc"],
            subnet(about["which_model_G"]["subnet_type"], about["init"]),
            about["block_num"],
            len(about["block_num"]),
            use_ConvDownsampling=bool(about["which_model_G"].get("use_ConvDownsampling")),
            down_scale_W=self.cols,
            down_scale_H=self.rows,
        ).to(device)
        iih = importlib.import_module("models.model").Model().to(device)
        self.bands = Bands(iih, importlib.import_module("models.modules.Unet_common"))
        self.round = importlib.import_module("models.modules.Quantization").Quantization()
        self.networks = [self.iir, iih]
        self.parameters = [p for one in self.networks for p in one.parameters() if p.requires_grad]
        self.optimizer = torch.optim.Adam(self.parameters, lr=1e-9)

    def hide(self, cover: Tensor, secrets: Tensor) -> Tensor:
        small = self.iir(x=secrets.flatten(0, 1))[:, :3]
        return self.round(self.bands.iwt(self.bands.hide(self._tiles(cover), small)))

    def reveal(self, tiles: Tensor) -> Tensor:
        return self._enlarged(self.bands.reveal(self.bands.dwt(tiles)))

    def step(self, cover: Tensor, secrets: Tensor) -> None:
        self.optimizer.zero_grad()
        secrets, tiles = secrets.flatten(0, 1), self._tiles(cover)
        shrunk = self.iir(x=secrets)
        small = shrunk[:, :3]
        bands = self.bands.hide(tiles, small)
        recovered = self.bands.reveal(bands)
        bicubic = nn.functional.interpolate(secrets, size=small.shape[-2:], mode="bicubic", antialias=True)
        loss = (self._enlarged(recovered) - secrets).abs().sum() + 4 * (small - bicubic).square().sum()
        loss = loss + 5 * (recovered - small).square().sum() + shrunk[:, 3:].square().sum()
        loss = loss + (self.round(self.bands.iwt(bands)) - tiles).square().sum()
        loss = loss + (bands[:, :3] - self.bands.dwt(tiles)[:, :3]).square().sum()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 10.0)
        self.optimizer.step()

    def _tiles(self, cover: Tensor) -> Tensor:
        """(B,3,H,W) -> (B*N,3,H/m,W/n)."""
        rows = cover.unflatten(-2, (self.rows, -1)).unflatten(-1, (self.cols, -1))
        return rows.permute(0, 2, 4, 1, 3, 5).flatten(0, 2).contiguous()

    def _enlarged(self, small: Tensor) -> Tensor:
        shape = (len(small), 3 * (self.rows * self.cols - 1), *small.shape[-2:])
        given = torch.cat((self.round(small), torch.randn(shape, device=small.device)), dim=1)
        return self.iir(x=given, rev=True)[:, :3]


ADAPTERS: dict[str, type] = {"hinet": HiNet, "invmihnet": InvMIHNet}


def main() -> None:
    checkout, adapter, tensors, device_name, threads = sys.argv[1:]
    answers, sys.stdout = sys.stdout, sys.stderr  # keeps the checkout's own prints out of the answers
    device = torch.device(device_name)
    torch.set_num_threads(int(threads))
    if device.type == "cpu":  # their code moves all new tensors to a GPU
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    given = torch.load(tensors, map_location=device, weights_only=True)
    given = {name: value.float() / 255 for name, value in given.items()}
    peer = ADAPTERS[adapter](Path(checkout), device, given["secrets"].shape[1])
    with torch.no_grad():
        stego = peer.hide(given["cover"], given["secrets"])
    operations = {
        "hide": without_gradients(lambda: peer.hide(given["cover"], given["secrets"])),
        "reveal": without_gradients(lambda: peer.reveal(stego)),
        "training step": lambda: peer.step(given["crop_cover"], given["crop_secrets"]),
    }
    parameters = sum(p.numel() for network in peer.networks for p in network.parameters() if p.requires_grad)
    answer(answers, {"parameters": parameters, "torch": torch.__version__})
    for line in sys.stdin:
        word, _, name = line.strip().partition(" ")
        if word == "flops":
            with FlopCounterMode(display=False) as counter:
                operations[name]()
            answer(answers, {"flops": counter.get_total_flops()})
        else:
            answer(answers, {"seconds": timed(operations[name], device)})


def without_gradients(call: Callable[[], object]) -> Callable[[], object]:
    return torch.no_grad()(call)


def timed(call: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def answer(answers, content: dict) -> None:
    print(json.dumps(content), file=answers, flush=True)


if __name__ == "__main__":
    main()
