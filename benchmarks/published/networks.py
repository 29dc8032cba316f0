"""Networks of the published CycleGAN, pix2pix and CUT."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResnetGenerator(nn.Module):
    """The ResNet generator with instance norm and reflected borders.

    Args:
        width: channels of the first layer.
        num_blocks: residual blocks.
        antialias: sample by blurs, as CUT does by default.
    """

    def __init__(self, width: int, num_blocks: int, antialias: bool = False):
        super().__init__()
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(3, width, 7), nn.InstanceNorm2d(width)]
        layers += [nn.ReLU(True)]
        for channels in (width, 2 * width):
            stride = 1 if antialias else 2
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=stride, padding=1),
                nn.InstanceNorm2d(2 * channels),
                nn.ReLU(True),
            ]
            layers += [BlurDown(2 * channels)] if antialias else []
        layers += [ResidualBlock(4 * width) for _ in range(num_blocks)]
        for channels in (4 * width, 2 * width):
            if antialias:
                layers += [BlurUp(channels), nn.Conv2d(channels, channels // 2, 3, padding=1)]
            else:
                layers += [
                    nn.ConvTranspose2d(
                        channels, channels // 2, 3, stride=2, padding=1, output_padding=1
                    )
                ]
            layers += [nn.InstanceNorm2d(channels // 2), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)

    def encode(self, x: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """What the numbered layers put out, up to the last of them.

        ReLUs work in place, on what the layer in front of them put out too.
        """
        features = []
        for number, layer in enumerate(self.model):
            x = layer(x)
            if number in layers:
                features.append(x)
            if number == layers[-1]:
                break
        return features


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, bias: bool = True):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, bias=bias),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class BlurDown(nn.Module):
    """Reflected borders, the filter 1 2 1 both ways, every second pixel."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", _square([1.0, 2.0, 1.0]).repeat(channels, 1, 1, 1))
        self.pad = nn.ReflectionPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(self.pad(x), self.filt, stride=2, groups=self.channels)


class BlurUp(nn.Module):
    """Repeated borders, a transposed filter 1 3 3 1 both ways, the outermost pixels cut off."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels
        self.register_buffer("filt", 4 * _square([1.0, 3.0, 3.0, 1.0]).repeat(channels, 1, 1, 1))
        self.pad = nn.ReplicationPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv_transpose2d(self.pad(x), self.filt, stride=2, padding=2, groups=self.channels)
        return x[:, :, 1:-1, 1:-1]


def _square(row: list[float]) -> Tensor:
    weights = torch.tensor(row)
    square = weights[:, None] * weights[None, :]
    return (square / square.sum())[None, None]


class PatchDiscriminator(nn.Module):
    """The PatchGAN.

    Args:
        channels: of the image.
        width: channels of the first layer.
        num_layers: that halve the size.
        norm: "instance" or "batch".
        antialias: halve by blurs, as CUT does by default.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        num_layers: int = 3,
        norm: str = "instance",
        antialias: bool = False,
    ):
        super().__init__()
        make_norm = nn.InstanceNorm2d if norm == "instance" else nn.BatchNorm2d
        stride = 1 if antialias else 2
        layers = [nn.Conv2d(channels, width, 4, stride=stride, padding=1), nn.LeakyReLU(0.2, True)]
        layers += [BlurDown(width)] if antialias else []
        before = width
        for n in range(1, num_layers + 1):
            after, halves = width * min(2**n, 8), n < num_layers
            layers += [
                nn.Conv2d(
                    before,
                    after,
                    4,
                    stride=stride if halves else 1,
                    padding=1,
                    bias=norm == "instance",
                ),
                make_norm(after),
                nn.LeakyReLU(0.2, True),
            ]
            layers += [BlurDown(after)] if antialias and halves else []
            before = after
        layers += [nn.Conv2d(before, 1, 4, padding=1)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class PixelDiscriminator(nn.Module):
    """Judges single pixels, with batch norm."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(channels, width, 1),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(width, 2 * width, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.2, True),
            nn.Conv2d(2 * width, 1, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class UnetGenerator(nn.Module):
    """The U-Net with batch norm and without dropout.

    Args:
        width: channels of the first layer.
        num_downs: levels.
    """

    def __init__(self, width: int, num_downs: int):
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(num_downs)]
        level = None
        for n in reversed(range(num_downs)):
            level = UnetLevel(widths[n - 1] if n else 3, widths[n], level, outermost=n == 0)
        self.model = level

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


class UnetLevel(nn.Module):
    """{down, the level inside, up}; beside its result goes its input, after the leaky ReLU.

    The leaky ReLU works in place on the tensor that the skip keeps.
    """

    def __init__(self, outer: int, inner: int, inside: "UnetLevel | None", outermost: bool):
        super().__init__()
        self.outermost = outermost
        down = nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)
        up = nn.ConvTranspose2d(
            inner if inside is None else 2 * inner, outer, 4, stride=2, padding=1, bias=outermost
        )
        if outermost:
            layers = [down, inside, nn.ReLU(True), up, nn.Tanh()]
        elif inside is None:
            layers = [nn.LeakyReLU(0.2, True), down, nn.ReLU(True), up, nn.BatchNorm2d(outer)]
        else:
            layers = [nn.LeakyReLU(0.2, True), down, nn.BatchNorm2d(inner), inside]
            layers += [nn.ReLU(True), up, nn.BatchNorm2d(outer)]
        self.model = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        made = self.model(x)
        return made if self.outermost else torch.cat([x, made], 1)
