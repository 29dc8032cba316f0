"""A U-Net whose encoder is any network of timm.

Architecture after Ronneberger et al. 2015, "U-Net: Convolutional Networks for Biomedical Image
Segmentation", with the features of a classifier on the way down: a skip at every size that it has
features of. The way up is ours: repeated pixels, the skip beside them, a convolution and a norm,
as transposed convolutions leave patterns (Odena et al. 2016).

An encoder with batch norm has statistics of the batch in training and running ones in evaluation,
and is of little use at batch 1; the default, ConvNeXt (Liu et al. 2022, "A ConvNet for the 2020s";
the smallest but one of timm's), normalises over the channels of each pixel instead.
"""

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.downloads import find_timm_weights
from zoo.layers.conv import check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.padding import ReflectionPad
from zoo.layers.recompute import recomputed
from zoo.layers.skip import output_channels, output_image, prepare_skip
from zoo.layers.timm_features import TimmFeatures, feature_reductions
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError
from zoo.schema import COUNT, Auto

WIDEST = 8  # filters of the decoder, in units of its last layer's


@GENERATORS.register("timm_unet")
class TimmUnetGenerator(nn.Module):
    """An encoder of timm and a decoder, with a skip at every size. Paper: Ronneberger et al. 2015.

    Attributes:
        resolved: the config's `auto` values as they came out, `{"num_levels": …}`.
    """

    offers: frozenset[str] = frozenset()

    @dataclass(kw_only=True)
    class Config:
        """Of the encoder, and of the decoder, which is always trained from scratch."""

        encoder: Annotated[str, "timm's name of a network, with the tag of its weights or not"] = (
            "convnext_femto"
        )
        num_levels: Annotated[
            int | Auto,
            "sizes of features used; auto: all that leave 2 pixels a side or more",
            COUNT,
        ] = "auto"
        pretrained: Annotated[
            bool, "start from timm's weights; the file is read when a training starts or resumes"
        ] = False
        width: Annotated[
            int, "filters of the decoder's last layers; at most eight times as many inside", COUNT
        ] = 32
        norm: Annotated[NormName, "of the decoder, after every convolution but the last"] = (
            "instance"
        )
        init: Annotated[InitName, "of the decoder; normal: N(0, 0.02)"] = "normal"
        input_skip: Annotated[
            bool, "add the input to the output through a learned gate: starts as the identity"
        ] = False

    def __init__(self, config: Config, source: Shape, target: Shape):
        super().__init__()
        reductions = levels_used(config.encoder, config.num_levels, source)
        self.resolved = {"num_levels": len(reductions)}
        self.size_multiple, self.least = max(reductions), 2 * max(reductions)
        self.owner = f"generator timm_unet with {len(reductions)} levels of {config.encoder}"
        self._check(source.height, source.width)
        self.pretrained = config.pretrained
        self.encoder = TimmFeatures(config.encoder, source, range(len(reductions)))
        self.fixed_size = self.encoder.fixed_size
        if self.pretrained:
            self.encoder.repository()  # there must be one

        bias = config.norm != "batch"
        inputs, ups = self.encoder.channels[-1], []
        finer = [reductions[0] // 2**n for n in range(1, reductions[0].bit_length())]
        self.reductions = [*reductions[-2::-1], *finer]  # on the way up
        skips = [*self.encoder.channels[-2::-1], *(0 for _ in finer)]
        for reduction, skip in zip(self.reductions, skips, strict=True):
            width = config.width * min(reduction, WIDEST)
            ups.append(
                nn.Sequential(
                    ReflectionPad(1),
                    nn.Conv2d(inputs + skip, width, 3, bias=bias),
                    norm_layer(config.norm, width),
                    nn.ReLU(inplace=True),
                )
            )
            inputs = width
        self.ups = nn.ModuleList(ups)
        last = nn.Conv2d(inputs, output_channels(source, target, config.input_skip), 7)
        self.last = nn.Sequential(ReflectionPad(3), last)
        init_weights(self.ups, config.init)
        init_weights(self.last, config.init)
        self.input_skip = config.input_skip
        if self.input_skip:
            prepare_skip(last)

    def prepare(self) -> None:
        """Read the encoder's published weights, where the config asks for them.

        Raises:
            MissingWeights: their file is not on this machine.
            UserError: it holds another network.
        """
        if self.pretrained:
            self.encoder.read(find_timm_weights(self.encoder.repository()))

    def forward(self, x: Tensor) -> Translation:
        """Images N C H W in [-1, 1], sides a multiple of `size_multiple`.

        Raises:
            UserError: the sides do not fit, or the encoder takes one size only and this is another.
        """
        self._check(*x.shape[2:])
        h, *skips = reversed(self.encoder(x))
        for reduction, up in zip(self.reductions, self.ups, strict=True):
            h = F.interpolate(h, [side // reduction for side in x.shape[2:]])
            h = recomputed(up, torch.cat([h, skips.pop(0)], dim=1) if skips else h)
        return Translation(output_image(recomputed(self.last, h), x, self.input_skip))

    def _check(self, height: int, width: int) -> None:
        check_size(self.owner, height, width, multiple=self.size_multiple, least=self.least)


def levels_used(encoder: str, wanted: int | Auto, shape: Shape) -> list[int]:
    """The reductions of the features that are used, finest first.

    Raises:
        UserError: the encoder has fewer levels than wanted.
    """
    reductions = feature_reductions(encoder, shape)
    if wanted == "auto":
        sides = (shape.height, shape.width)
        fitting = [r for r in reductions if all(s % r == 0 and s >= 2 * r for s in sides)]
        return reductions[: max(1, len(fitting))]
    if int(wanted) > len(reductions):
        raise UserError(
            f"num_levels is {wanted}, and timm's {encoder} has features of {len(reductions)} "
            f"sizes; accepted are auto and 1 to {len(reductions)}"
        )
    return reductions[: int(wanted)]
