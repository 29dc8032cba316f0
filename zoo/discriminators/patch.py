"""The patch discriminator of pix2pix and CycleGAN.

Paper: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks", §3.2.2
and appendix 6.1.2; 70 x 70 pixels with the default 3 layers (C64-C128-C256-C512). Sampling without
aliasing is that of CUT's published code, after Zhang 2019.
"""

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from zoo.layers.conv import check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.layout import for_convolutions
from zoo.layers.norm import NormName
from zoo.layers.patchgan import DownName, patch_layers, smallest_side
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS
from zoo.schema import COUNT


@DISCRIMINATORS.register("patch")
class PatchDiscriminator(nn.Module):
    """Judges overlapping patches, 70 x 70 pixels by default. Paper: Isola et al. 2017, §3.2.2."""

    heads = ("patches",)

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published 70 x 70 PatchGAN."""

        width: Annotated[int, "filters of the first layer", COUNT] = 64
        num_layers: Annotated[
            int, "layers of stride 2; 1 to 5: patches of 16, 34, 70, 142, 286 pixels a side", COUNT
        ] = 3
        norm: Annotated[NormName, "after every convolution but the first and the last"] = "instance"
        down: Annotated[DownName, "convolution of stride 2, or of 1 and a blur, as in CUT"] = (
            "strided"
        )
        init: Annotated[InitName, "normal: N(0, 0.02)"] = "normal"

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        self.least = smallest_side(config.num_layers)
        self.per_image = config.norm != "batch"
        self.owner = f"discriminator patch with num_layers {config.num_layers}"
        check_size(self.owner, shape.height, shape.width, least=self.least)
        self.layers = patch_layers(
            shape.channels, config.width, config.num_layers, config.norm, config.down
        )
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to one head of logits N 1 h w."""
        check_size(self.owner, *x.shape[2:], least=self.least)
        return Judgement((recomputed(self.layers, for_convolutions(x)),))

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: all of it, as no two layers are alike."""
        return [self]
