"""From a run folder to its networks, and from images to translated images."""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from zoo.checkpoint import CheckpointError
from zoo.folder import Summary, translate_files
from zoo.images import (
    EXTENSIONS,
    from_pil,
    list_images,
    printable,
    read_image,
    resize,
    to_tensor,
    to_uint8,
    write_image,
)
from zoo.layers.precision import full_precision
from zoo.method import Method, device_of
from zoo.protocols import DataSet
from zoo.recipe import load_recipe
from zoo.registry import UserError, nearest
from zoo.runs import SHIPPED, build_method, find_run, leave_out_absent, read_weights
from zoo.schema import Recipe

PRECISIONS = ("fp32", "bf16")


def load_run(
    path: str | Path,
    *,
    weights: str = "auto",
    checkpoint: str = "latest",
    device: torch.device | str | None = None,
    precision: str = "fp32",
) -> "Run":
    """A trained run, ready to translate.

    Args:
        path: run folder, or the name of a shipped one such as `toonfaces-ugatit`.
        weights: "ema", "raw", or "auto": averaged ones where the run has them.
        checkpoint: "latest" or "best".
        device: where to run; None: a GPU if there is one.
        precision: "fp32" or "bf16", of convolutions and matrix products.

    Raises:
        UserError: there is no such run or choice, or it has no complete checkpoint.
    """
    _check_choice("weights", weights, ("auto", "raw", "ema"))
    _check_choice("checkpoint", checkpoint, ("latest", "best"))
    _check_choice("precision", precision, PRECISIONS)
    folder = find_run(path)
    recipe = load_recipe(folder / "recipe.yaml")
    method = build_method(recipe, None)
    stored = read_weights(folder, weights, checkpoint)
    directions = leave_out_absent(method, stored)
    own = method.state_dict(keep_vars=True)
    needed = {
        id(t) for net in method.translators() for t in net.state_dict(keep_vars=True).values()
    }
    missing = [name for name in own if id(own[name]) in needed and name not in stored.weights]
    if missing:
        raise CheckpointError(f"{folder}: its weights lack {', '.join(missing[:5])}")
    method.load_state_dict(stored.weights, strict=False)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    method = method.to(chosen).eval()
    return Run(folder, recipe, method, directions, stored.images_seen, stored.kind, precision)


def from_pretrained(name: str, **options: Any) -> "Run":
    """`load_run` under the name that other libraries use; takes shipped names and folders."""
    return load_run(name, **options)


@dataclass
class Run:
    """A trained run.

    Attributes:
        folder: where it was read from.
        recipe: its resolved recipe.
        method: the networks, in evaluation mode.
        directions: ("a2b",) or ("a2b", "b2a"), those that it has a generator for.
        images_seen: images that Zoo trained it on.
        weights: "raw" or "ema", whichever was loaded.
        precision: "fp32", or "bf16" for autocast; images stay float32.
    """

    folder: Path
    recipe: Recipe
    method: Method
    directions: tuple[str, ...]
    images_seen: int
    weights: str
    precision: str = "fp32"
    _dataset: DataSet | None = field(default=None, repr=False)

    @property
    def shipped(self) -> bool:
        """Whether the weights came with Zoo, so that nothing can be written beside them."""
        return self.folder.parent == SHIPPED

    def dataset(self) -> DataSet:
        """The data set of the recipe."""
        if self._dataset is None:
            self._dataset = self.recipe.data.build()
        return self._dataset

    @torch.no_grad()
    def translate_batch(self, x: Tensor, direction: str = "a2b") -> Tensor:
        """Images N C H W in [-1, 1], of a size the network takes, as images of the other domain."""
        with self._autocast():
            return full_precision(self.method.translate(self._ready(x, direction), direction))

    @torch.no_grad()
    def heatmap(self, x: Tensor, direction: str = "a2b") -> Tensor | None:
        """Where the generator looks, N 1 h w, or None."""
        with self._autocast():
            heatmap = self.method.heatmap(self._ready(x, direction), direction)
        return None if heatmap is None else full_precision(heatmap)

    def translate(self, x: Any, direction: str = "a2b", *, size: str = "resize") -> Any:
        """Translate one image, or a batch of tensors.

        Args:
            x: a path, a PIL image, a uint8 array H W C, or a float tensor N C H W in [-1, 1].
            direction: "a2b" or "b2a".
            size: "resize": through the size of training and back to the image's own; "native":
                at the image's own size, which not every network takes.

        Returns:
            The same kind of image at the size it came in; for a path, a PIL image.

        Raises:
            UserError: unknown direction or size, unreadable image, another kind of input, or a
                native size that the network cannot process.
        """
        if isinstance(x, Tensor):
            return self._translate_tensor(x, direction, size)
        if isinstance(x, np.ndarray):
            return self._translate_array(x, direction, size)
        if isinstance(x, Image.Image):
            try:
                array = from_pil(x, self._channels(direction))
            except ValueError as error:
                raise UserError(f"this PIL image cannot be used: {error}") from error
        elif isinstance(x, str | Path):
            array = read_image(Path(x), self._channels(direction))
        else:
            raise UserError(
                f"translate takes a path, a PIL image, a uint8 array or a float tensor, "
                f"not {type(x).__name__}"
            )
        result = self._translate_array(array, direction, size)
        return Image.fromarray(result[:, :, 0] if result.shape[2] == 1 else result)

    def translate_path(
        self,
        source: str | Path,
        target: str | Path,
        direction: str = "a2b",
        *,
        size: str = "resize",
        batch: int = 0,
    ) -> Summary:
        """Translate an image file, or every image of a folder, to PNG.

        Args:
            source: image or folder.
            target: PNG file or folder for an image, folder for a folder; made if it is not there.
            direction: "a2b" or "b2a".
            size: see `translate`.
            batch: images of one size that are translated together; 0: by their size.

        Returns:
            What was written and what was left out, with reasons.

        Raises:
            UserError: nothing at `source`, nothing there could be translated, one of its files is
                dangerous to decode, or `target` cannot be written.
        """
        source, target = Path(source), Path(target)
        self._check(direction, size)
        if batch < 0:
            raise UserError(f"batch is {batch}; 0 means by the images' size, less cannot be")
        if not source.exists():
            raise UserError(f"{printable(source)} does not exist")
        if source.resolve() == target.resolve():
            raise UserError(f"{printable(source)} is input and output; name another output")
        try:
            if source.is_dir():
                return self._translate_folder(source, target, direction, size, batch)
            if target.suffix.lower() in EXTENSIONS - {".png"}:
                raise UserError(f"{printable(target)}: images are written as .png")
            if target.suffix.lower() != ".png" or target.is_dir():
                target = target / f"{source.stem}.png"
            image = read_image(source, self._channels(direction))
            result = self._translate_array(image, direction, size)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_image(target, result)
        except OSError as error:
            raise UserError(f"{printable(target)} cannot be written: {error.strerror}") from error
        return Summary(written=[target])

    def _translate_folder(
        self, source: Path, target: Path, direction: str, size: str, batch: int
    ) -> Summary:
        found = list_images(source)
        names = output_names([file.name for file in found])
        summary = translate_files(
            {file: target / name for file, name in zip(found, names, strict=True)},
            lambda images: self._translate_arrays(images, direction),
            self._channels(direction),
            side=None if size == "native" else self.recipe.data.config.size,
            batch=batch,
        )
        if not summary.written:
            raise UserError(
                f"{printable(source)} holds no image that can be translated ({len(found)} "
                f"candidates, {len(summary.skipped)} skipped)"
            )
        return summary

    def _translate_array(self, image: np.ndarray, direction: str, size: str) -> np.ndarray:
        channels = self._channels(direction, size)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != channels:
            raise UserError(
                f"an array must be uint8 H W {channels}, not {image.dtype} {image.shape}"
            )
        if size == "native":
            return self._translate_arrays(image[None], direction)[0]
        small = resize(image, self.recipe.data.config.size)
        return resize(self._translate_arrays(small[None], direction)[0], image.shape[:2])

    def _translate_arrays(self, images: np.ndarray, direction: str) -> np.ndarray:
        """Images uint8 N H W C of a size that the network takes."""
        return to_uint8(self.translate_batch(to_tensor(images), direction))

    def _translate_tensor(self, x: Tensor, direction: str, size: str) -> Tensor:
        channels = self._channels(direction, size)
        if x.ndim != 4 or x.shape[1] != channels or not x.is_floating_point():
            raise UserError(
                f"a tensor must be float N {channels} H W, not {x.dtype} {tuple(x.shape)}"
            )
        side = self.recipe.data.config.size
        small = x if size == "native" else _resample(x, (side, side))
        result = self.translate_batch(small, direction)
        return _resample(result, x.shape[-2:]).to(x)

    def _ready(self, x: Tensor, direction: str) -> Tensor:
        self._check(direction)
        return x.to(next(self.method.parameters()))

    def _autocast(self) -> AbstractContextManager:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(device_of(self.method).type, torch.bfloat16)

    def _channels(self, direction: str, size: str = "resize") -> int:
        """Of the images that a direction reads."""
        self._check(direction, size)
        return self.recipe.data.config.channels[direction == "b2a"]

    def _check(self, direction: str, size: str = "resize") -> None:
        if direction not in self.directions:
            raise UserError(
                f"{self.folder} translates {' and '.join(self.directions)}, not {direction!r}"
            )
        _check_choice("size", size, ("resize", "native"))


def output_names(names: Sequence[str]) -> list[str]:
    """PNG names that do not collide: a stem used twice keeps its ending, `face.jpg.png`.

    Args:
        names: different from one another.
    """
    short = {name: f"{Path(name).stem}.png" for name in names}
    while True:
        counts = Counter(short.values())
        clashes = {n for n in names if counts[short[n]] > 1 and short[n] != f"{n}.png"}
        if not clashes:
            return [short[name] for name in names]
        short |= {name: f"{name}.png" for name in clashes}


def _resample(x: Tensor, size: Sequence[int]) -> Tensor:
    """N C H W at another size; bicubic, which antialiases when it shrinks."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, tuple(size), mode="bicubic", antialias=True).clamp(-1, 1)


def _check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{what} is {value!r}.{nearest(value, choices)} Choices: {choices}")
