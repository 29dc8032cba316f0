"""The patch discriminator of pix2pix and CycleGAN.

Paper: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", §3.2.2
and appendix 6.1.2; 70 x 70 pixels with the default 3 layers (C64-C128-C256-C512). As in the
published code, convolutions in front of a batch norm have no bias, all others do. Sampling without
aliasing is that of CUT's published code, after Zhang 2019.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from zoo.layers.blur import BlurDown
from zoo.layers.conv import check_size
from zoo.layers.conv_forms import Conv2d
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS, UserError


@DISCRIMINATORS.register("patch")
class PatchDiscriminator(nn.Module):
    """Judges overlapping patches, 70 x 70 pixels by default. Paper: Isola et al. 2017, §3.2.2."""

    heads = ("patches",)

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published 70 x 70 PatchGAN."""

        width: Annotated[int, "filters of the first layer"] = 64
        num_layers: Annotated[
            int, "layers of stride 2; 1 to 5: patches of 16, 34, 70, 142, 286 pixels a side"
        ] = 3
        norm: Annotated[NormName, "after every convolution but the first and the last"] = "instance"
        down: Annotated[
            Literal["strided", "blurred"], "convolution of stride 2, or of 1 and a blur, as in CUT"
        ] = "strided"
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

        def __post_init__(self):
            if self.num_layers < 1:
                raise UserError(f"num_layers is {self.num_layers}; at least 1 is needed")

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        self.least = 3 * 2**config.num_layers  # 2 x 2 features before the last convolution
        self.per_image = config.norm != "batch"
        self.owner = f"discriminator patch with num_layers {config.num_layers}"
        check_size(self.owner, shape.height, shape.width, least=self.least)
        bias = config.norm != "batch"
        widths = [config.width * min(2**n, 8) for n in range(config.num_layers + 1)]

        blurred = config.down == "blurred"
        layers: list[nn.Module] = []
        for n, width in enumerate(widths):
            halves = n < config.num_layers
            inputs, stride = (
                widths[n - 1] if n else shape.channels,
                2 if halves and not blurred else 1,
            )
            layers += [Conv2d(inputs, width, 4, stride=stride, padding=1, bias=bias or not n)]
            if n:
                layers += [norm_layer(config.norm, width)]
            layers += [nn.LeakyReLU(0.2, inplace=True)]
            if halves and blurred:
                layers += [BlurDown(width)]
        layers += [Conv2d(widths[-1], 1, 4, padding=1)]
        self.layers = nn.Sequential(*layers)
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to one head of logits N 1 h w."""
        check_size(self.owner, *x.shape[2:], least=self.least)
        return Judgement((self.layers(x),))
