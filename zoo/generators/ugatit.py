"""The generator of U-GAT-IT.

Paper: Kim et al. 2020, "U-GAT-IT: Unsupervised Generative Attentional Networks with Adaptive
Layer-Instance Normalization for Image-to-Image Translation", §2.1.1 and the appendix.
`light` is the variant of the published code: the network for gamma and beta sees the global average
of the attended features instead of all of them, which makes it small and independent of the size.

The rows of the paper's ablation are `cam: false` and `norm`. The paper does not say what else
changes with the norm. Here AdaIN takes the same gamma and beta, and its up-sampling layers are
instance norms; instance, layer and group norm learn their own scale and shift in all layers of the
decoder, and the network for gamma and beta is gone.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.cam import CAM
from zoo.layers.conv import ResidualBlock, check_size
from zoo.layers.conv_forms import Conv2d, UpConv2d
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import LIN, AdaIN, AdaLIN, AffineNorm, InstanceNorm
from zoo.layers.padding import ReflectionPad
from zoo.layers.recompute import recomputed
from zoo.layers.skip import output_channels, output_image, prepare_skip
from zoo.layers.style import Style
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT

DecoderNorm = Literal["adalin", "adain", "instance", "layer", "group"]
ADAPTIVE = ("adalin", "adain")
GROUPS = 32  # of group norm, as in Wu and He 2018; fewer where they do not divide the channels


@GENERATORS.register("ugatit")
class UgatitGenerator(nn.Module):
    """Attention by class activation maps, decoded with AdaLIN. Paper: Kim et al. 2020, §2.1.1."""

    offers = frozenset({"cam"})
    size_multiple = 4
    per_image = True

    @dataclass(kw_only=True)
    class Config:
        """The published network for 256 x 256 pixels."""

        width: Annotated[int, "filters of the first layer; four times as many inside", COUNT] = 64
        num_blocks: Annotated[int, "residual blocks of the encoder, and of the decoder", COUNT] = 4
        light: Annotated[bool, "gamma and beta from the global average; else one size only"] = False
        cam: Annotated[bool, "attention, and the classifier that the CAM loss trains"] = True
        norm: Annotated[DecoderNorm, "of the decoder; the paper's ablation has the others"] = (
            "adalin"
        )
        init: Annotated[InitName, "stock: PyTorch's own, as published"] = "stock"
        input_skip: Annotated[
            bool, "add the input to the output through a learned gate: starts as the identity"
        ] = False

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        check_size("generator ugatit", source.height, source.width, multiple=4, least=8)
        width = config.width
        inner = 4 * width

        encoder: list[nn.Module] = [
            ReflectionPad(3),
            Conv2d(source.channels, width, 7, bias=False),
            InstanceNorm(),
            nn.ReLU(inplace=True),
        ]
        for w in (width, 2 * width):
            encoder += [
                ReflectionPad(1),
                Conv2d(w, 2 * w, 3, stride=2, bias=False),
                InstanceNorm(),
                nn.ReLU(inplace=True),
            ]
        for _ in range(config.num_blocks):
            encoder += [ResidualBlock(inner, "instance", "reflect", bias=False)]
        self.encoder = nn.Sequential(*encoder)
        num_stem = len(encoder) - config.num_blocks
        self.encoding = (self.encoder[:num_stem], *list(self.encoder)[num_stem:])  # to recompute

        self.cam = CAM(inner) if config.cam else None
        self.offers = frozenset({"cam"}) if config.cam else frozenset()
        adaptive = config.norm in ADAPTIVE
        size = None if config.light else (source.height // 4, source.width // 4)
        self.style = Style(inner, size) if adaptive else None
        block = AdaptiveBlock if adaptive else AffineBlock
        self.blocks = nn.ModuleList(block(inner, config.norm) for _ in range(config.num_blocks))

        # Numbered as published, where doubling and padding are layers of their own.
        decoder: dict[str, nn.Module] = {}
        for n, w in ((2, inner), (7, inner // 2)):
            decoder[f"{n}"] = UpConv2d(w, w // 2, bias=False)
            decoder[f"{n + 1}"] = decoder_norm(config.norm, w // 2)
            decoder[f"{n + 2}"] = nn.ReLU(inplace=True)
        outputs = output_channels(source, target, config.input_skip)
        last = Conv2d(width, outputs, 7, bias=config.input_skip)
        decoder |= {"10": ReflectionPad(3), "11": last}
        self.decoder = nn.Sequential(OrderedDict(decoder))
        self.decoding = (self.decoder[:3], self.decoder[3:6], self.decoder[6:])

        init_weights(self, config.init)
        any_size = config.light or not adaptive
        self.fixed_size = None if any_size else (source.height, source.width)
        self.input_skip = config.input_skip
        if self.input_skip:
            prepare_skip(last)

    def forward(self, x: Tensor) -> Translation:
        """Images N C H W in [-1, 1]; CAM logits are N 2 (average, maximum), heatmap N 1 H/4 W/4.

        Raises:
            UserError: the sides are no multiples of 4 or, with gamma and beta for all features, not
                the size built for.
        """
        check_size("generator ugatit", *x.shape[2:], multiple=4, least=8)
        if self.fixed_size and self.fixed_size != tuple(x.shape[2:]):
            height, width = self.fixed_size
            raise UserError(
                f"this ugatit generator was built for {height} x {width} pixels and got "
                f"{x.shape[2]} x {x.shape[3]}; only `light: true` takes other sizes"
            )
        h, cam_logits, heatmap = x, None, None
        for part in self.encoding:
            h = recomputed(part, h)
        if self.cam is not None:
            h, cam_logits, heatmap = self.cam(h)
        style = () if self.style is None else self.style(h)
        for block in self.blocks:
            h = recomputed(block, h, *style)
        for part in self.decoding:
            h = recomputed(part, h)
        image = output_image(h, x, self.input_skip)
        return Translation(image, cam_logits, heatmap)

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: the residual blocks, a graph for either kind, and the decoder."""
        blocks = [layer for layer in self.encoder if isinstance(layer, ResidualBlock)]
        return [*blocks, *self.blocks, self.decoder]


class AdaptiveBlock(nn.Module):
    """A residual block of the decoder, normalised with AdaLIN or AdaIN."""

    def __init__(self, channels: int, norm: DecoderNorm):
        super().__init__()
        self.pad = ReflectionPad(1)
        self.conv1 = Conv2d(channels, channels, 3, bias=False)
        self.norm1 = AdaLIN(channels) if norm == "adalin" else AdaIN()
        self.conv2 = Conv2d(channels, channels, 3, bias=False)
        self.norm2 = AdaLIN(channels) if norm == "adalin" else AdaIN()

    def forward(self, x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        """x: N C H W; gamma, beta: N C."""
        h = F.relu(self.norm1(self.conv1(self.pad(x)), gamma, beta), inplace=True)
        return x + self.norm2(self.conv2(self.pad(h)), gamma, beta)


class AffineBlock(nn.Module):
    """A residual block of the decoder with learned scales and shifts."""

    def __init__(self, channels: int, norm: DecoderNorm):
        super().__init__()
        self.pad = ReflectionPad(1)
        self.conv1 = Conv2d(channels, channels, 3, bias=False)
        self.norm1 = decoder_norm(norm, channels)
        self.conv2 = Conv2d(channels, channels, 3, bias=False)
        self.norm2 = decoder_norm(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        """N C H W to N C H W."""
        h = F.relu(self.norm1(self.conv1(self.pad(x))), inplace=True)
        return x + self.norm2(self.conv2(self.pad(h)))


def decoder_norm(norm: DecoderNorm, channels: int) -> nn.Module:
    """The decoder's norm where no gamma and beta come in."""
    if norm == "adalin":
        return LIN(channels)
    groups = {"layer": 1, "group": math.gcd(GROUPS, channels)}.get(norm, channels)
    return AffineNorm(channels, groups)
