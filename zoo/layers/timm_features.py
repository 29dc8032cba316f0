"""Networks of timm as extractors of features at several scales.

timm (Wightman 2019, "PyTorch Image Models") is imported on first use, as that takes a second.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from zoo.protocols import Shape
from zoo.registry import UserError, nearest


class TimmFeatures(nn.Module):
    """Features of images by any network that timm offers with `features_only`, untrained at first.

    Args:
        name: timm's, with or without the tag of its weights: "resnet18", "resnet18.a1_in1k".
        shape: of the images. A network with a fixed input size is built for that size.
        levels: which of its levels, in rising order; None: all. Layers behind the last are left
            out.

    Attributes:
        channels: of each feature map.
        reductions: side of the image over side of each feature map.
        fixed_size: the only height and width that it takes, or None.

    Raises:
        UserError: timm has no such network, or this one offers no features.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, shape: Shape, levels: Sequence[int] | None = None):
        super().__init__()
        self.name, self._options = name, _options(name, shape, levels)
        self.network = _create(name, self._options)
        self.channels: list[int] = self.network.feature_info.channels()
        self.reductions: list[int] = self.network.feature_info.reduction()
        self.fixed_size = self._options.get("img_size")
        self._channels_last = getattr(self.network, "output_fmt", "NCHW") == "NHWC"
        for part in ("mean", "std"):
            values = torch.tensor(getattr(_published(name), part))[:, None, None]
            if shape.channels != len(values):  # timm adds up the filters of the colours
                values = values.mean(dim=0, keepdim=True)
            self.register_buffer(part, values, persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Images N C H W in [-1, 1] to one map N C' h w a level, finest first.

        Raises:
            UserError: the network takes one size only, and this is another.
        """
        if self.fixed_size and self.fixed_size != tuple(x.shape[2:]):
            height, width = self.fixed_size
            raise UserError(
                f"timm's {self.name} was built for {height} x {width} pixels and got "
                f"{x.shape[2]} x {x.shape[3]}; it takes one size only"
            )
        features = self.network(((x + 1) / 2 - self.mean) / self.std)
        return [h.permute(0, 3, 1, 2) for h in features] if self._channels_last else features

    def repository(self) -> str:
        """Where timm's authors publish weights for it, "timm/resnet18.a1_in1k".

        Raises:
            UserError: nowhere.
        """
        found = _published(self.name).hf_hub_id
        if not found:
            raise UserError(
                f"timm publishes no weights of {self.name!r}; set pretrained to false, or choose "
                f"another encoder"
            )
        return f"{found}{_full_name(self.name)}" if found.endswith("/") else found

    def read(self, file: Path) -> None:
        """Take over published weights.

        Args:
            file: safetensors, which hold no code, as published.

        Raises:
            UserError: they are those of another network.
        """
        try:
            published = _create(self.name, self._options, file)
        except (UserError, SafetensorError) as error:
            raise UserError(f"{file} does not hold timm's {self.name}: {error}") from error
        self.network.load_state_dict(published.state_dict())


def feature_reductions(name: str, shape: Shape) -> list[int]:
    """What `TimmFeatures.reductions` would be with all levels; no weights are made.

    Raises:
        UserError: timm has no such network, or this one offers no features.
    """
    with torch.device("meta"):
        return _create(name, _options(name, shape, None)).feature_info.reduction()


def _options(name: str, shape: Shape, levels: Sequence[int] | None) -> dict[str, Any]:
    options: dict[str, Any] = {"in_chans": shape.channels}
    if _published(name).fixed_input_size:
        options["img_size"] = (shape.height, shape.width)
    return options if levels is None else {**options, "out_indices": tuple(levels)}


def _create(name: str, options: dict[str, Any], file: Path | None = None) -> Any:
    import timm

    if file is not None:
        options = {**options, "pretrained_cfg_overlay": {"file": str(file)}}
    try:
        return timm.create_model(name, pretrained=file is not None, features_only=True, **options)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"timm's {name} cannot be built for features: {error}") from error


def _published(name: str) -> Any:
    """What timm knows of the published network."""
    import timm

    if not timm.is_model(name):
        raise UserError(
            f"timm {timm.__version__} has no network {name!r}."
            f"{nearest(name.partition('.')[0], timm.list_models())} "
            f"`timm.list_models()` has the names"
        )
    try:
        return timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:
        tags = timm.list_models(f"{name.partition('.')[0]}.*", pretrained=True)
        raise UserError(
            f"timm has no weights {name!r}.{nearest(name, tags)} Weights: {', '.join(tags)}"
        ) from error


def _full_name(name: str) -> str:
    tag = _published(name).tag
    return name if "." in name or not tag else f"{name}.{tag}"
