"""From a run folder to translated images."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo import checkpoint as checkpoints
from zoo.checkpoint import CheckpointError
from zoo.images import (
    UnreadableImage,
    list_images,
    read_image,
    resize,
    to_tensor,
    to_uint8,
    write_image,
)
from zoo.method import Method, device_of
from zoo.protocols import Batch, DataSet, Shape
from zoo.recipe import load_recipe
from zoo.registry import UserError, nearest
from zoo.schema import Init, Recipe

log = logging.getLogger("zoo.translation")

SHIPPED = Path(__file__).parent / "_weights"


def build_method(recipe: Recipe, dataset: DataSet | None) -> Method:
    """The untrained method of a recipe, sized by its data.

    Args:
        recipe: gives the method, the image size and the channels.
        dataset: what the method will be trained on, None if it only translates.

    Raises:
        UserError: the method needs pairs and the data have none.
    """
    owner = recipe.method.owner
    size = recipe.data.config.size
    if dataset is not None and owner.needs == "paired" and not dataset.paired:
        raise UserError(
            f"method {recipe.method.name!r} needs pairs (a, b) that belong together, and data set "
            f"{recipe.data.name!r} has none"
        )
    a, b = (Shape(count, size, size) for count in recipe.data.config.channels)
    return recipe.method.build(a, b)


def fixed_test_images(recipe: Recipe, dataset: DataSet, device: torch.device) -> Batch:
    """The first `samples.num_images` test images of both domains, for sample grids."""
    size = recipe.data.config.size
    a, b = (dataset.domain("test", side) for side in ("a", "b"))
    count = min(recipe.samples.num_images, len(a), len(b))
    images = [
        to_tensor(np.stack([resize(domain[i], size) for i in range(count)])).to(device)
        for domain in (a, b)
    ]
    return Batch(*images, step=0, images_seen=0)


def load_starting_weights(method: Method, init: Init) -> None:
    """Copy weights of another run into a new method, by name.

    Raises:
        UserError: a weight is missing there or has another shape; nothing was copied.
    """
    _, weights, _, _ = _read_run(Path(init.run), "raw", "latest")
    own = method.state_dict()
    wanted = [
        name
        for name in (weights if not init.networks else own)
        if not init.networks or any(name.split(".")[0] == net for net in init.networks)
    ]
    faults = [
        f"{name}: {tuple(own[name].shape) if name in own else 'not in this method'} here, "
        f"{tuple(weights[name].shape) if name in weights else 'missing'} in {init.run}"
        for name in wanted
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    ]
    if not wanted or faults:
        known = sorted({name.split(".")[0] for name in own})
        raise UserError(
            f"train.init: the weights of {init.run} do not fit ({len(faults)} of {len(wanted)}); "
            f"networks of this method: {', '.join(known)}\n  " + "\n  ".join(faults[:8])
        )
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(weights[name])


def load_run(
    path: str | Path,
    *,
    weights: str = "auto",
    checkpoint: str = "latest",
    device: torch.device | str | None = None,
) -> "Run":
    """A trained run, ready to translate.

    Args:
        path: run folder, or the name of a shipped one such as `toonfaces-ugatit`.
        weights: "ema", "raw", or "auto": averaged ones where the run has them.
        checkpoint: "latest" or "best".
        device: where to run; None: a GPU if there is one.

    Raises:
        UserError: there is no such run, or it has no complete checkpoint.
    """
    folder = find_run(path)
    recipe = load_recipe(folder / "recipe.yaml")
    method = build_method(recipe, None)
    images_seen, values, averages, used = _read_run(folder, weights, checkpoint)
    own = method.state_dict()
    needed = {name for name in own if name in values} | set(_translator_state(method))
    missing = sorted(name for name in needed if name not in values and name not in averages)
    if missing:
        raise CheckpointError(f"{folder}: its weights lack {', '.join(missing[:5])}")
    method.load_state_dict({**values, **averages}, strict=False)
    chosen = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return Run(folder, recipe, method.to(chosen).eval(), images_seen, used)


def from_pretrained(name: str, **options: Any) -> "Run":
    """`load_run` under the name that other libraries use; takes shipped names and folders."""
    return load_run(name, **options)


def find_run(path: str | Path) -> Path:
    """The folder of a run or of shipped weights.

    Raises:
        UserError: neither exists.
    """
    folder = Path(path)
    if (folder / "recipe.yaml").is_file():
        return folder
    shipped = sorted(p.name for p in SHIPPED.glob("*") if (p / "recipe.yaml").is_file())
    if str(path) in shipped:
        return SHIPPED / str(path)
    what = "holds no recipe.yaml, so it is no run" if folder.exists() else "does not exist"
    raise UserError(
        f"{path} {what}.{nearest(str(path), shipped)} "
        f"A run is a folder made by `zoo train`; shipped ones: {', '.join(shipped) or 'none'}"
    )


@dataclass
class Run:
    """A trained run.

    Attributes:
        folder: where it was read from.
        recipe: its resolved recipe.
        method: the networks, in evaluation mode.
        images_seen: images it was trained on.
        weights: "raw" or "ema", whichever was loaded.
    """

    folder: Path
    recipe: Recipe
    method: Method
    images_seen: int
    weights: str
    _dataset: DataSet | None = field(default=None, repr=False)

    @property
    def directions(self) -> tuple[str, ...]:
        """("a2b",) or ("a2b", "b2a")."""
        return self.method.directions

    def dataset(self) -> DataSet:
        """The data set of the recipe."""
        if self._dataset is None:
            self._dataset = self.recipe.data.build()
        return self._dataset

    @torch.inference_mode()
    def translate_batch(self, x: Tensor, direction: str = "a2b") -> Tensor:
        """Images N C H W in [-1, 1], of a size the network takes, as images of the other domain."""
        self._check(direction)
        return self.method.translate(x.to(device_of(self.method)), direction)

    @torch.inference_mode()
    def heatmap(self, x: Tensor, direction: str = "a2b") -> Tensor | None:
        """Where the generator looks, N 1 h w, or None."""
        self._check(direction)
        return self.method.heatmap(x.to(device_of(self.method)), direction)

    def translate(self, x: Any, direction: str = "a2b", *, size: str = "auto") -> Any:
        """Translate one image, or a batch of tensors.

        Args:
            x: a path, a PIL image, a uint8 array H W C, or a float tensor N C H W in [-1, 1].
            direction: "a2b" or "b2a".
            size: "resize": through the size of training and back to the image's own; "native":
                at the image's own size where the network allows; "auto": resize.

        Returns:
            The same kind of image at the size it came in; for a path, a PIL image.

        Raises:
            UserError: unknown direction, unreadable image, or another kind of input.
        """
        if isinstance(x, Tensor):
            return self._translate_tensor(x, direction, size)
        if isinstance(x, np.ndarray):
            return self._translate_array(x, direction, size)
        if isinstance(x, Image.Image):
            return Image.fromarray(self._translate_array(np.asarray(x.convert("RGB")), direction, size))
        if isinstance(x, str | Path):
            return Image.fromarray(self._translate_array(read_image(Path(x)), direction, size))
        raise UserError(
            f"translate takes a path, a PIL image, a uint8 array or a float tensor, "
            f"not {type(x).__name__}"
        )

    def translate_path(
        self,
        source: str | Path,
        target: str | Path,
        direction: str = "a2b",
        *,
        size: str = "auto",
        batch: int = 1,
    ) -> "Summary":
        """Translate an image file, or every image of a folder, to PNG.

        Args:
            source: image or folder.
            target: PNG file for an image, folder for a folder.
            direction: "a2b" or "b2a".
            size: see `translate`.
            batch: images translated together, where they go through one size.

        Returns:
            What was written and what was left out, with reasons.

        Raises:
            UserError: nothing at `source`, or nothing there could be read.
        """
        source, target = Path(source), Path(target)
        if source.is_dir():
            return self._translate_folder(source, target, direction, size, batch)
        if not source.exists():
            raise UserError(f"{source} does not exist")
        if target.suffix.lower() != ".png":
            target = target / f"{source.stem}.png"
        image = self._translate_array(read_image(source), direction, size)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_image(target, image)
        return Summary(written=[target])

    def _translate_folder(
        self, source: Path, target: Path, direction: str, size: str, batch: int
    ) -> "Summary":
        summary = Summary()
        files = list_images(source)
        names = _output_names(files)
        for start in range(0, len(files), batch):
            readable, images = [], []
            for file in files[start : start + batch]:
                try:
                    images.append(read_image(file))
                    readable.append(file)
                except UnreadableImage as error:
                    summary.skipped[file] = str(error)
                    log.warning("skipped: %s", error)
            for file, image in zip(
                readable, self._translate_arrays(images, direction, size), strict=True
            ):
                target.mkdir(parents=True, exist_ok=True)
                write_image(target / names[file], image)
                summary.written.append(target / names[file])
        if not summary.written:
            raise UserError(
                f"{source} holds no image that can be read ({len(files)} candidates, "
                f"{len(summary.skipped)} skipped)"
            )
        return summary

    def _translate_arrays(
        self, images: Sequence[np.ndarray], direction: str, size: str
    ) -> list[np.ndarray]:
        if size == "native" or not images:
            return [self._translate_array(image, direction, size) for image in images]
        side = self.recipe.data.config.size
        x = to_tensor(np.stack([resize(image, side) for image in images]))
        small = to_uint8(self.translate_batch(x, direction))
        return [
            resize(result, (image.shape[1], image.shape[0]))
            for result, image in zip(small, images, strict=True)
        ]

    def _translate_array(self, image: np.ndarray, direction: str, size: str) -> np.ndarray:
        if image.ndim != 3 or image.dtype != np.uint8:
            raise UserError(f"an array must be uint8 H W C, not {image.dtype} {image.shape}")
        if size == "native":
            return to_uint8(self.translate_batch(to_tensor(image[None]), direction))[0]
        return self._translate_arrays([image], direction, "resize")[0]

    def _translate_tensor(self, x: Tensor, direction: str, size: str) -> Tensor:
        if x.ndim != 4:
            raise UserError(f"a tensor must be N C H W, not {tuple(x.shape)}")
        side = self.recipe.data.config.size
        if size == "native" or tuple(x.shape[-2:]) == (side, side):
            return self.translate_batch(x, direction)
        small = torch.nn.functional.interpolate(
            x, (side, side), mode="bicubic", antialias=True, align_corners=False
        ).clamp(-1, 1)
        result = self.translate_batch(small, direction)
        return torch.nn.functional.interpolate(
            result, x.shape[-2:], mode="bicubic", antialias=True, align_corners=False
        ).clamp(-1, 1)

    def _check(self, direction: str) -> None:
        if direction not in self.directions:
            raise UserError(
                f"{self.folder} translates {' and '.join(self.directions)}, not {direction!r}"
            )


@dataclass
class Summary:
    """What a folder's translation did."""

    written: list[Path] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)


def _output_names(files: Sequence[Path]) -> dict[Path, str]:
    """PNG names that do not collide: a stem used twice keeps its old ending, `face.jpg.png`."""
    stems = [file.stem for file in files]
    return {
        file: f"{file.stem}.png" if stems.count(file.stem) == 1 else f"{file.name}.png"
        for file in files
    }


def _translator_state(method: Method) -> list[str]:
    wanted = {id(t) for net in method.translators() for t in net.state_dict(keep_vars=True).values()}
    return [name for name, t in method.state_dict(keep_vars=True).items() if id(t) in wanted]


def _read_run(folder: Path, weights: str, checkpoint: str):
    """Images seen, weights, averages (empty unless used) and which of the two were used."""
    folder = find_run(folder)
    if (folder / "weights.safetensors").is_file():  # shipped: translating networks only, half size
        values = checkpoints.load_weights(folder)
        seen = load_recipe(folder / "recipe.yaml").train.images
        return seen, {k: v.float() if v.is_floating_point() else v for k, v in values.items()}, {}, "raw"
    found = checkpoints.find(folder, checkpoint)
    images_seen = checkpoints.read_manifest(found)["images_seen"]
    averaged = checkpoints.has_ema(found)
    if weights == "ema" and not averaged:
        raise CheckpointError(f"{folder} has no averaged weights; its recipe has the EMA off")
    use_ema = averaged and weights != "raw"
    averages = checkpoints.load_weights(found, "ema") if use_ema else {}
    return images_seen, checkpoints.load_weights(found), averages, "ema" if use_ema else "raw"
