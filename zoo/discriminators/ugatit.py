"""The discriminators of U-GAT-IT: one global, one local, judging together.

Paper: Kim et al. 2020, "U-GAT-IT", §2.1.2 and the appendix. As in the published code,
every convolution but the 1x1 after the class activation map is spectrally normalised, and the map's
channels are scaled by the raw weights of the classifiers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from torch import Tensor, nn

from zoo.layers.cam import CAM
from zoo.layers.conv import SpectralConv2d, check_size
from zoo.layers.init import InitName, init_weights
from zoo.layers.padding import ReflectionPad
from zoo.layers.recompute import recomputed
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS, UserError, nearest
from zoo.schema import COUNT

PUBLISHED = {"global": 7, "local": 5}
FEWEST = 3


@DISCRIMINATORS.register("ugatit")
class UgatitDiscriminator(nn.Module):
    """A global and a local discriminator with attention. Paper: Kim et al. 2020, §2.1.2.

    Attributes:
        heads: names of the logits in order.
        resolved: the config's `auto` values as they came out, `{"num_layers": {…}}`.
    """

    per_image = True

    @dataclass(kw_only=True)
    class Config:
        """Defaults are the published pair for 256 x 256 pixels."""

        width: Annotated[int, "filters of the first layer", COUNT] = 64
        num_layers: Annotated[
            dict[str, int | Literal["auto"]],
            "convolutions of the global and the local one; auto: 7 and 5, or the most that fit",
        ] = field(default_factory=lambda: dict.fromkeys(PUBLISHED, "auto"))
        cam: Annotated[bool, "attention and its own logits, in both"] = True
        init: Annotated[InitName, "stock: PyTorch's own, as published"] = "stock"

        def __post_init__(self):
            for key, value in self.num_layers.items():
                if key not in PUBLISHED:
                    raise UserError(
                        f"num_layers has no {key!r}.{nearest(key, PUBLISHED)} "
                        f"Keys: {', '.join(PUBLISHED)}"
                    )
                if value != "auto" and (not isinstance(value, int) or value < FEWEST):
                    raise UserError(
                        f"num_layers.{key} is {value!r}; accepted are auto and whole numbers "
                        f"from {FEWEST}"
                    )
            self.num_layers = {key: self.num_layers.get(key, "auto") for key in PUBLISHED}

    def __init__(self, config: Config, shape: Shape):
        super().__init__()
        layers = resolve_num_layers(config.num_layers, min(shape.height, shape.width))
        self.resolved = {"num_layers": layers}
        self.branches = nn.ModuleDict(
            {key: Branch(shape.channels, config.width, layers[key], config.cam) for key in layers}
        )
        kinds = ("logits", "cam") if config.cam else ("logits",)
        self.heads = tuple(f"{key}/{kind}" for key in PUBLISHED for kind in kinds)
        self.least = smallest_size(max(layers.values()))
        self.owner = f"discriminator ugatit with num_layers {layers}"
        init_weights(self, config.init)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W in [-1, 1] to logits of `heads`: N 1 h w, and N 2 for the CAM heads."""
        check_size(self.owner, *x.shape[2:], least=self.least)
        judgements = [recomputed(branch, x) for branch in self.branches.values()]
        logits = tuple(head for judgement in judgements for head in judgement.logits)
        return Judgement(logits, heatmap=judgements[0].heatmap)

    def regions(self) -> list[nn.Module]:
        """For `torch.compile`: both branches."""
        return list(self.branches.values())


class Branch(nn.Module):
    """One discriminator: `num_layers` - 2 strided convolutions, two of stride 1, attention between.

    Args:
        channels: of the image.
        width: filters of the first layer, doubled by every further one but the last.
        num_layers: convolutions 4x4 in all.
        cam: whether there is attention.
    """

    def __init__(self, channels: int, width: int, num_layers: int, cam: bool):
        super().__init__()
        layers, inputs = [], channels
        for n in range(num_layers - 1):
            stride = 2 if n < num_layers - 2 else 1
            layers += [
                ReflectionPad(1),
                SpectralConv2d(inputs, width * 2**n, 4, stride=stride),
                nn.LeakyReLU(0.2, inplace=True),
            ]
            inputs = width * 2**n
        self.layers = nn.Sequential(*layers)
        self.cam = CAM(inputs, slope=0.2, spectral=True) if cam else None
        self.pad = ReflectionPad(1)
        self.last = SpectralConv2d(inputs, 1, 4, bias=False)

    def forward(self, x: Tensor) -> Judgement:
        """Images N C H W to logits N 1 h w and, with attention, CAM logits N 2 and the heatmap."""
        h = self.layers(x)
        if self.cam is None:
            return Judgement((self.last(self.pad(h)),))
        h, cam_logits, heatmap = self.cam(h)
        return Judgement((self.last(self.pad(h)), cam_logits), heatmap=heatmap)


def smallest_size(num_layers: int) -> int:
    """The smallest side in pixels that a branch of that depth can judge (7: 96, 5: 24)."""
    return 3 * 2 ** (num_layers - 2)


def resolve_num_layers(wanted: Mapping[str, int | str], side: int) -> dict[str, int]:
    """Depths for images whose shorter side is `side` pixels.

    Raises:
        UserError: a depth does not fit, or not even the least deep branch does.
    """
    resolved = {}
    for key, value in wanted.items():
        if value == "auto":
            fitting = [n for n in range(FEWEST, PUBLISHED[key] + 1) if smallest_size(n) <= side]
            depth = max(fitting, default=FEWEST)
        else:
            depth = int(value)
        if smallest_size(depth) > side:
            raise UserError(
                f"discriminator ugatit: num_layers.{key} {depth} needs images of at least "
                f"{smallest_size(depth)} pixels, and these have {side}"
            )
        resolved[key] = depth
    return resolved
