"""The sub-networks phi, rho and eta of a coupling block."""

import torch
from torch import Tensor, nn

from models.layers import winograd


class DenseBlock(nn.Module):
    """Five 3x3 convolutions; each sees the input and all earlier outputs: (B,C_in,h,w) -> (B,C_out,h,w).

    It is as in HiNet and InvMIHNet (growth 32, LeakyReLU of slope 0.01 and 0.2). The last layer starts at
    zero, so that a fresh coupling block is the identity. Where models/layers/winograd.py is faster, it uses
    the convolutions' weights without calling them.
    """

    def __init__(self, inputs: int, outputs: int, growth: int = 32, slope: float = 0.2):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, growth, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs + growth, growth, 3, padding=1)
        self.conv3 = nn.Conv2d(inputs + 2 * growth, growth, 3, padding=1)
        self.conv4 = nn.Conv2d(inputs + 3 * growth, growth, 3, padding=1)
        self.conv5 = nn.Conv2d(inputs + 4 * growth, outputs, 3, padding=1)
        self.act = nn.LeakyReLU(slope, inplace=True)
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            nn.init.kaiming_normal_(conv.weight, a=slope)
            nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.conv5.weight)
        nn.init.zeros_(self.conv5.bias)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_autocast_enabled(x.device.type):  # otherwise cat would convert everything to float32
            x = x.to(torch.get_autocast_dtype(x.device.type))
        if winograd.suits(x):
            convolutions = (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5)
            weights, biases = zip(*((one.weight, one.bias) for one in convolutions), strict=True)
            return winograd.dense_block(x, weights, biases, self.act.negative_slope)
        kept = torch.is_grad_enabled()
        channels_last = self.conv1.weight.is_contiguous(memory_format=torch.channels_last)
        if channels_last or (x.device.type == "cpu" and not kept):  # faster, as measured in docs/log.md
            x = x.contiguous(memory_format=torch.channels_last)
        return self._with_gradients(x) if kept else self._without_gradients(x)

    def _with_gradients(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = torch.cat((x, self.act(conv(x))), dim=1)
        return self.conv5(x)

    def _without_gradients(self, x: Tensor) -> Tensor:
        """Compute the same with all channels in one tensor, so that no layer copies the earlier ones."""
        layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else None
        batch, count, height, width = x.shape
        shape = (batch, self.conv5.in_channels, height, width)
        seen = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=layout)
        seen[:, :count] = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            y = self.act(conv(seen[:, :count]))
            seen[:, count : count + y.shape[1]] = y
            count += y.shape[1]
        return self.conv5(seen)
