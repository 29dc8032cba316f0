"""The discriminator of Projected GAN.

Paper: Sauer et al. 2021, "Projected GANs Converge Faster", §3 and §4.1: features of a fixed,
pretrained network, at four scales, are mixed by fixed random convolutions, 1x1 across channels
(CCM) and 3x3 across scales (CSM), and a small discriminator judges each scale. As in the published
code, images are first resized to 224 x 224 pixels, and the discriminators have spectral and batch
norm. Differs in that nothing augments the images; the loss of the paper is `hinge`.
"""

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.downloads import find_timm_weights
from zoo.layers.conv import SpectralConv2d
from zoo.layers.norm import NormName, norm_layer
from zoo.layers.precision import full_precision, no_autocast
from zoo.layers.timm_features import TimmFeatures, feature_reductions
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS, UserError
from zoo.schema import COUNT, Bounds

REDUCTIONS = [4, 8, 16, 32]
LEAST = 4 * max(REDUCTIONS)  # 4 x 4 features for the last convolution


@DISCRIMINATORS.register("projected")
class ProjectedDiscriminator(nn.Module):
    """Judges random projections of fixed features, at four scales. Paper: Sauer et al. 2021.

    Features and projections never learn and are always in evaluation mode; they are kept in
    checkpoints all the same, so that a run can be used without the published weights.
    """

    heads = tuple(f"scale/{reduction}" for reduction in REDUCTIONS)
    least = 1

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published network."""

        encoder: Annotated[str, "timm's name of a network, with the tag of its weights or not"] = (
            "tf_efficientnet_lite0"
        )
        pretrained: Annotated[
            bool, "timm's weights, as in the paper; false: an untrained stand-in, which is not it"
        ] = True
        resolution: Annotated[
            int, "side that images are resized to, pixels, a multiple of 32", Bounds(least=LEAST)
        ] = 224
        width: Annotated[
            int, "channels of the finest projection; up to eight times as many of coarser", COUNT
        ] = 64
        norm: Annotated[NormName, "of the discriminators, after every convolution but the last"] = (
            "batch"
        )

        def __post_init__(self):
            if self.resolution % max(REDUCTIONS):
                raise UserError(
                    f"resolution is {self.resolution}; a multiple of {max(REDUCTIONS)} is needed"
                )

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        self.resolution, self.pretrained = config.resolution, config.pretrained
        resized = Shape(shape.channels, config.resolution, config.resolution)
        self.encoder = TimmFeatures(
            config.encoder, resized, projected_levels(config.encoder, resized)
        )
        if self.pretrained:
            self.encoder.repository()  # there must be one
        self.projection = RandomProjection(self.encoder.channels, config.width)
        for fixed in (self.encoder, self.projection):
            fixed.eval().requires_grad_(False)
        self.judges = nn.ModuleList(
            scale_judge(channels, reduction, config.width, config.norm)
            for channels, reduction in zip(self.projection.channels, REDUCTIONS, strict=True)
        )

    def train(self, mode: bool = True) -> "ProjectedDiscriminator":
        """Training or evaluation mode of what learns."""
        super().train(mode)
        self.encoder.eval()
        self.projection.eval()
        return self

    def prepare(self) -> None:
        """Read the encoder's published weights, unless the config asks for the stand-in.

        Raises:
            MissingWeights: their file is not on this machine.
            UserError: it holds another network.
        """
        if self.pretrained:
            self.encoder.read(find_timm_weights(self.encoder.repository()))

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] of any size to logits N 1 h w for each scale, finest first."""
        if x.shape[2:] != (self.resolution, self.resolution):
            x = F.interpolate(x, (self.resolution, self.resolution), mode="bilinear")
        x = full_precision(x)  # nobody learns to make up for rounded features
        with no_autocast(x):
            projected = self.projection(self.encoder(x))
        pairs = zip(self.judges, projected, strict=True)
        return Judgement(tuple(judge(features) for judge, features in pairs))


class RandomProjection(nn.Module):
    """Mixes features across channels, then, from coarse to fine, across scales (§3.2).

    Weights are random and stay so (He et al. 2015, by fan-in); biases are 0.

    Args:
        channels: of the features, finest first.
        width: channels across which the finest are mixed; every coarser scale has twice as many.

    Attributes:
        channels: of what comes out.
    """

    def __init__(self, channels: list[int], width: int):
        super().__init__()
        mixed = [width * 2**n for n in range(len(channels))]
        self.channels = [width, *mixed[:-1]]
        pairs = zip(channels, mixed, strict=True)
        self.across_channels = nn.ModuleList(nn.Conv2d(c, m, 1) for c, m in pairs)
        pairs = zip(mixed, self.channels, strict=True)
        self.across_scales = nn.ModuleList(nn.Conv2d(m, c, 3, padding=1) for m, c in pairs)
        for conv in (*self.across_channels, *self.across_scales):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
            nn.init.zeros_(conv.bias)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Maps N C h w, finest first, to maps N C' 2h 2w."""
        projected: list[Tensor] = []
        layers = zip(features, self.across_channels, self.across_scales, strict=True)
        for feature, across_channels, across_scales in reversed([*layers]):
            h = across_channels(feature)
            if projected:
                h = h + projected[-1]
            h = F.interpolate(h, scale_factor=2, mode="bilinear")
            projected.append(across_scales(h))
        return projected[::-1]


def scale_judge(channels: int, reduction: int, width: int, norm: NormName) -> nn.Sequential:
    """The discriminator of one scale: 4 to 1 halvings, so that all end at the same size.

    Args:
        channels: of the projection, whose maps are twice as large as the features.
        reduction: side of the image over side of the features.
        width: channels of the finest projection.
        norm: after every convolution but the last.
    """
    layers: list[nn.Module] = []
    while reduction <= max(REDUCTIONS):
        outputs = width * reduction // min(REDUCTIONS)
        layers += [
            SpectralConv2d(channels, outputs, 4, stride=2, padding=1, bias=norm != "batch"),
            norm_layer(norm, outputs),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        channels, reduction = outputs, 2 * reduction
    return nn.Sequential(*layers, SpectralConv2d(channels, 1, 4, bias=False))


def projected_levels(encoder: str, shape: Shape) -> list[int]:
    """The levels of an encoder that are a quarter to a 32nd of the image's side.

    Raises:
        UserError: it has not all of them.
    """
    reductions = feature_reductions(encoder, shape)
    if not set(REDUCTIONS) <= set(reductions):
        raise UserError(
            f"discriminator projected needs features at 1/4, 1/8, 1/16 and 1/32 of the side, and "
            f"timm's {encoder} has them at {', '.join(f'1/{r}' for r in reductions)}; choose "
            f"another encoder"
        )
    return [reductions.index(reduction) for reduction in REDUCTIONS]
