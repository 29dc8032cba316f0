"""Networks for tasks: classifiers and segmenters.

Each is built as `Class(config, num_classes)`, says in `task` what it does, and maps images
N 3 H W in [-1, 1] to logits: N classes, or N classes H W at the size of its input. Small ones are
normalised by groups, so that what they say of an image does not depend on the batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eval.tasks.data import TASK_MODELS
from zoo.downloads import find_weights
from zoo.registry import UserError, nearest
from zoo.schema import COUNT, Bounds

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours
_WIDTH = Bounds(least=8)
_CELLS = 4  # a side of what the dense layer of a small classifier sees, whatever the image's size


def _block(inner: int, outer: int) -> nn.Sequential:
    """Two 3 x 3 convolutions, normalised in groups of 8 channels where that divides them."""
    groups = outer // 8 if outer % 8 == 0 else 1
    layers: list[nn.Module] = []
    for channels in (inner, outer):
        layers += [
            nn.Conv2d(channels, outer, 3, padding=1, bias=False),
            nn.GroupNorm(groups, outer),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


def _imagenet(x: Tensor) -> Tensor:
    """From [-1, 1] to the scale that networks trained on ImageNet know."""
    mean, deviation = (
        torch.tensor(numbers, dtype=x.dtype, device=x.device).view(3, 1, 1)
        for numbers in (_MEAN, _DEVIATION)
    )
    return ((x + 1) / 2 - mean) / deviation


def _read_weights(path: str) -> dict[str, Tensor]:
    """Weights of a file, safetensors or of torch; nothing in it is run."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise UserError(f"weights {file} is not a file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways
        raise UserError(f"weights {file} cannot be read: {error}") from error
    content = content.get("state_dict", content) if isinstance(content, Mapping) else content
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(f"weights {file} holds no mapping of names to weights")
    return dict(content)


def _start_from(network: nn.Module, path: str) -> None:
    """Copy what fits of a file's weights; layers for other classes start anew.

    Raises:
        UserError: less than half of the network's weights are in the file.
    """
    given, own = _read_weights(path), network.state_dict()
    fitting = {n: v for n, v in given.items() if n in own and v.shape == own[n].shape}
    if 2 * len(fitting) < len(own):
        raise UserError(
            f"weights {path} holds {len(fitting)} of the {len(own)} weights of this network; "
            f"first it needs {next(iter(own))}, and there is {next(iter(given), 'nothing')}"
        )
    network.load_state_dict(fitting, strict=False)


@TASK_MODELS.register("small_cnn")
class SmallCNN(nn.Module):
    """Six convolutions at three resolutions and a dense layer: a classifier of small images."""

    task = "classification"

    @dataclass(kw_only=True)
    class Config:
        """Its width."""

        width: Annotated[int, "filters at the first resolution", _WIDTH] = 32

    def __init__(self, config: Config, num_classes: int):
        super().__init__()
        widths = [config.width, 2 * config.width, 4 * config.width]
        self.blocks = nn.ModuleList(
            _block(inner, outer) for inner, outer in zip([3, *widths], widths, strict=False)
        )
        self.head = nn.Linear(_CELLS**2 * widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits N classes."""
        for i, block in enumerate(self.blocks):
            x = block(x if i == 0 else F.max_pool2d(x, 2))
        return self.head(F.adaptive_avg_pool2d(x, _CELLS).flatten(1))


@TASK_MODELS.register("timm")
class TimmClassifier(nn.Module):
    """Any classifier of timm, such as a ResNet-18."""

    task = "classification"

    @dataclass(kw_only=True)
    class Config:
        """Which, and its first weights."""

        backbone: Annotated[str, "name in timm"] = "resnet18"
        weights: Annotated[str, "file to start from, .safetensors or .pth; empty: random"] = ""

    def __init__(self, config: Config, num_classes: int):
        super().__init__()
        import timm

        if not timm.is_model(config.backbone):
            near = nearest(config.backbone, timm.list_models())
            raise UserError(f"timm has no network {config.backbone!r}.{near}")
        self.network = timm.create_model(config.backbone, num_classes=num_classes)
        if config.weights:
            _start_from(self.network, config.weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits N classes."""
        return self.network(_imagenet(x))


@TASK_MODELS.register("unet")
class UNet(nn.Module):
    """U-Net (Ronneberger et al. 2015), padded and normalised: a segmenter of small images."""

    task = "segmentation"

    @dataclass(kw_only=True)
    class Config:
        """Its size."""

        width: Annotated[int, "filters at full resolution", _WIDTH] = 16
        depth: Annotated[int, "times the resolution is halved", COUNT] = 3

    def __init__(self, config: Config, num_classes: int):
        super().__init__()
        widths = [config.width * 2**i for i in range(config.depth + 1)]
        self.down = nn.ModuleList(
            _block(inner, outer) for inner, outer in zip([3, *widths], widths, strict=False)
        )
        self.up = nn.ModuleList(
            _block(inner + outer, outer)
            for inner, outer in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(widths[0], num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits N classes H W; sides need not be multiples of anything."""
        passed: list[Tensor] = []
        for i, block in enumerate(self.down):
            x = block(x if i == 0 else F.max_pool2d(x, 2, ceil_mode=True))
            passed.append(x)
        for block, skip in zip(self.up, passed[-2::-1], strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="nearest")
            x = block(torch.cat([x, skip], 1))
        return self.head(x)


@TASK_MODELS.register("torchvision")
class TorchvisionSegmenter(nn.Module):
    """Segmenters of torchvision: FCN, DeepLab v3 and LR-ASPP."""

    task = "segmentation"

    @dataclass(kw_only=True)
    class Config:
        """Which, and its first weights."""

        architecture: Annotated[
            Literal[
                "fcn_resnet50",
                "fcn_resnet101",
                "deeplabv3_resnet50",
                "deeplabv3_resnet101",
                "deeplabv3_mobilenet_v3_large",
                "lraspp_mobilenet_v3_large",
            ],
            "name in torchvision.models.segmentation",
        ] = "deeplabv3_resnet50"
        weights: Annotated[str, "file to start from, as torchvision publishes; empty: random"] = ""

    def __init__(self, config: Config, num_classes: int):
        super().__init__()
        from torchvision.models import segmentation

        build = getattr(segmentation, config.architecture)
        self.network = build(weights=None, weights_backbone=None, num_classes=num_classes)
        if config.weights:
            _start_from(self.network, config.weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits N classes H W."""
        return self.network(_imagenet(x))["out"]


@TASK_MODELS.register("fcn8s")
class FCN8s(nn.Module):
    """FCN-8s on VGG-16 (Long, Shelhamer and Darrell 2015), the segmenter of the published tables.

    Scores at strides 32, 16 and 8 are added up. Different from the published network: scores are
    aligned by resizing them to each other's sizes in place of padding the image by 100 pixels and
    cropping, and their weights start from 0 without factors on the features.
    """

    task = "segmentation"

    @dataclass(kw_only=True)
    class Config:
        """Its first weights."""

        pretrained: Annotated[
            bool, "start from ImageNet's VGG-16, vgg16-397923af.pth in the folder of weights"
        ] = True

    def __init__(self, config: Config, num_classes: int):
        super().__init__()
        from torchvision.models import vgg16

        features = vgg16(weights=None).features
        for layer in features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        self.to_eighth, self.to_sixteenth = features[:17], features[17:24]
        self.to_thirtysecond = features[24:]
        self.head = nn.Sequential(
            nn.Conv2d(512, 4096, 7, padding=3),
            nn.ReLU(inplace=True),
            nn.Dropout2d(),
            nn.Conv2d(4096, 4096, 1),
            nn.ReLU(inplace=True),
            nn.Dropout2d(),
        )
        self.scores = nn.ModuleList(nn.Conv2d(n, num_classes, 1) for n in (256, 512, 4096))
        for parameter in self.scores.parameters():
            nn.init.zeros_(parameter)
        if config.pretrained:
            self._start_from_vgg(_read_weights(str(find_weights("vgg16-397923af.pth").path)))

    def _start_from_vgg(self, vgg: dict[str, Tensor]) -> None:
        """Copy ImageNet's convolutions, and its first two dense layers as convolutions."""
        shapes = {name: tensor.shape for name, tensor in self.state_dict().items()}
        renamed = {name_in_fcn8s(name): value for name, value in vgg.items()}
        weights = {n: v.reshape(shapes[n]) for n, v in renamed.items() if n is not None}
        self.load_state_dict(weights, strict=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits N classes H W."""
        eighth = self.to_eighth(_imagenet(x))
        sixteenth = self.to_sixteenth(eighth)
        score = self.scores[2](self.head(self.to_thirtysecond(sixteenth)))
        for features, layer in ((sixteenth, self.scores[1]), (eighth, self.scores[0])):
            score = _resized(score, features.shape[-2:]) + layer(features)
        return _resized(score, x.shape[-2:])


def name_in_fcn8s(name: str) -> str | None:
    """The name in `FCN8s` of a weight of torchvision's VGG-16; None for its last layer."""
    kind, number, what = name.split(".")
    if kind == "classifier":
        return f"head.{number}.{what}" if number != "6" else None
    parts = (("to_thirtysecond", 24), ("to_sixteenth", 17), ("to_eighth", 0))
    part = next(part for part, first in parts if int(number) >= first)
    return f"{part}.{number}.{what}"


def _resized(x: Tensor, size: Any) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
