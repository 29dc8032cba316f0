"""The ResNet generator of CycleGAN.

Paper: Zhu et al. 2017, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", appendix 7.2 (c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3); architecture after
Johnson et al. 2016. As in the published code, convolutions in front of a batch norm have no bias,
all others do, and the layers are one flat sequence, whose numbers CUT's feature layers refer to.
Sampling without aliasing is that of CUT's published code, after Zhang 2019; upsampling in front of
a convolution is advised by Odena et al. 2016, "Deconvolution and Checkerboard Artifacts".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.layers.blur import BlurDown, BlurUp
from zoo.layers.conv import PaddingName, ResidualBlock, check_size
from zoo.layers.conv_forms import Conv2d
from zoo.layers.init import InitName, init_weights
from zoo.layers.layout import for_convolutions
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.padding import ReflectionPad
from zoo.layers.recompute import recomputed
from zoo.layers.skip import output_channels, output_image, prepare_skip
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT


@GENERATORS.register("resnet")
class ResnetGenerator(nn.Module):
    """Residual blocks at a quarter of the resolution. Paper: Zhu et al. 2017, appendix 7.2."""

    offers = frozenset({"taps"})
    size_multiple = 4
    fixed_size = None

    @dataclass(kw_only=True)
    class Config:
        """The published network for 256 x 256 pixels; at 128 x 128 the paper has 6 blocks."""

        width: Annotated[int, "filters of the first layer; four times as many inside", COUNT] = 64
        num_blocks: Annotated[int, "residual blocks", COUNT] = 9
        norm: Annotated[NormName, "after every convolution but the last"] = "instance"
        padding: Annotated[PaddingName, "inside the residual blocks"] = "reflect"
        down: Annotated[
            Literal["strided", "blurred"], "convolution of stride 2, or of 1 and a blur, as in CUT"
        ] = "strided"
        up: Annotated[
            Literal["transposed", "blurred", "nearest"],
            "transposed convolution; blur, as in CUT, or repeated pixels, and a plain one",
        ] = "transposed"
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"
        input_skip: Annotated[
            bool, "add the input to the output through a learned gate: starts as the identity"
        ] = False

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        check_size("generator resnet", source.height, source.width, multiple=4, least=8)
        width, bias = config.width, config.norm != "batch"

        def block(conv: nn.Module, channels: int) -> list[nn.Module]:
            return [conv, norm_layer(config.norm, channels), nn.ReLU(inplace=True)]

        layers: list[nn.Module] = [ReflectionPad(3)]
        layers += block(Conv2d(source.channels, width, 7, bias=bias), width)
        for w in (width, 2 * width):
            stride = 2 if config.down == "strided" else 1
            layers += block(Conv2d(w, 2 * w, 3, stride=stride, padding=1, bias=bias), 2 * w)
            if config.down == "blurred":
                layers += [BlurDown(2 * w)]
        num_stem = len(layers)
        for _ in range(config.num_blocks):
            layers += [ResidualBlock(4 * width, config.norm, config.padding, bias)]
        self.num_encoding = len(layers)
        for w in (4 * width, 2 * width):
            layers += _upsampling(config.up, w)
            if config.up == "transposed":
                up: nn.Module = nn.ConvTranspose2d(
                    w, w // 2, 3, stride=2, padding=1, output_padding=1, bias=bias
                )
            else:
                up = Conv2d(w, w // 2, 3, padding=1, bias=bias)
            layers += block(up, w // 2)
        last = Conv2d(width, output_channels(source, target, config.input_skip), 7)
        layers += [ReflectionPad(3), last]
        self.layers = nn.Sequential(*layers)
        # a tuple: their layers are registered once, as those of `layers`
        self.num_stem = num_stem
        self.ends = self.layers[:num_stem], self.layers[self.num_encoding :]

        init_weights(self, config.init)
        self.per_image = config.norm != "batch"
        self.channels, self.num_blocks = source.channels, config.num_blocks
        self.input_skip = config.input_skip
        if self.input_skip:
            prepare_skip(last)

    def forward(self, x: Tensor, taps: Sequence[int] = (), decode: bool = True) -> Translation:
        """Translate, keep what layers inside the encoder put out, or both.

        As in CUT's published code, whose ReLUs work in place, a tap on a layer in front of a ReLU
        is taken behind it, unless it is the last tap.

        Args:
            x: images N C H W in [-1, 1], sides a multiple of 4; others raise `UserError`.
            taps: numbers of layers, see `tap_channels`; their outputs become `features`.
            decode: go on to the image; else stop at the last tap.
        """
        check_size("generator resnet", *x.shape[2:], multiple=4, least=8)
        stem, decoder = self.ends
        features, first = {}, 0 if taps else self.num_stem
        h = for_convolutions(x)
        h = h if taps else recomputed(stem, h)
        for i, layer in enumerate(list(self.layers)[first : self.num_encoding], first):
            if i - 1 in features and isinstance(layer, nn.ReLU):
                relu = F.relu(h)
                if i - 1 != taps[-1]:
                    features[i - 1] = relu
                h = relu
            else:
                h = recomputed(layer, h) if isinstance(layer, ResidualBlock) else layer(h)
            if i in taps:
                features[i] = h
                if i == taps[-1] and not decode:
                    return Translation(None, features=tuple(features.values()))
        image = output_image(recomputed(decoder, h), x, self.input_skip)
        return Translation(image, features=tuple(features.values()))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: the residual blocks, which share one graph."""
        return [layer for layer in self.layers if isinstance(layer, ResidualBlock)]

    def tap_channels(self, taps: Sequence[int]) -> tuple[int, ...]:
        """Channels of the features that `forward` returns for the taps.

        Raises:
            UserError: a tap is no layer of the encoder, or they are not in rising order.
        """
        if not taps or list(taps) != sorted(set(taps) & set(range(self.num_encoding))):
            raise UserError(
                f"taps {list(taps)}: expected numbers of layers in rising order, 0 to "
                f"{self.num_encoding - 1} with num_blocks {self.num_blocks}"
            )
        channels, found = self.channels, []
        for i in range(taps[-1] + 1):
            layer = self.layers[i]
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            elif isinstance(layer, ResidualBlock):
                channels = layer.conv2.out_channels
            if i in taps:
                found.append(channels)
        return tuple(found)


def _upsampling(name: str, channels: int) -> list[nn.Module]:
    """What stands in front of the convolution."""
    if name == "blurred":
        return [BlurUp(channels)]
    return [nn.Upsample(scale_factor=2, mode="nearest")] if name == "nearest" else []
