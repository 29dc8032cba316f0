"""Run folders and shipped weights: where they are and what they hold; the method of a recipe."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from zoo import checkpoint as checkpoints
from zoo.checkpoint import CheckpointError
from zoo.images import resize, to_tensor
from zoo.method import Method
from zoo.protocols import Batch, DataSet, Shape
from zoo.provenance import count_parameters
from zoo.recipe import dump_recipe, load_recipe
from zoo.registry import UserError, nearest
from zoo.schema import Init, Recipe

SHIPPED = Path(__file__).parent / "_weights"
GENERATOR_OF = {"a2b": "ab", "b2a": "ba"}  # network of a method by direction


def build_method(recipe: Recipe, dataset: DataSet | None) -> Method:
    """The untrained method of a recipe, sized by its data.

    Args:
        recipe: gives the method, the image size and the channels.
        dataset: what the method will be trained on, None if it only translates.

    Raises:
        UserError: the method needs pairs and the data have none.
    """
    owner: Any = recipe.method.owner
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
    real_a, real_b = (
        to_tensor(np.stack([resize(domain[i], size) for i in range(count)])).to(device)
        for domain in (a, b)
    )
    return Batch(real_a, real_b, step=0, images_seen=0)


def load_starting_weights(method: Method, init: Init) -> dict[str, str]:
    """Copy weights of another run, not averaged, into a new method, by name.

    Returns:
        The file that they came from and its SHA-256.

    Raises:
        UserError: no such network, or a weight is missing there or has another shape; nothing was
            copied.
    """
    stored = read_weights(find_run(init.run), "raw", "latest")
    weights, own = stored.weights, method.state_dict()
    networks = list(dict.fromkeys(name.partition(".")[0] for name in own))
    for network in init.networks:
        if network not in networks:
            raise UserError(
                f"train.init.networks: this method has no network {network!r}."
                f"{nearest(network, networks)} Networks: {', '.join(networks)}"
            )
    chosen = own if init.networks else weights
    wanted = [n for n in chosen if not init.networks or n.partition(".")[0] in init.networks]
    faults = [
        f"{name}: {tuple(own[name].shape) if name in own else 'not in this method'} here, "
        f"{tuple(weights[name].shape) if name in weights else 'missing'} in {init.run}"
        for name in wanted
        if name not in own or name not in weights or own[name].shape != weights[name].shape
    ]
    if faults:
        more = [f"and {len(faults) - 8} more"] if len(faults) > 8 else []
        raise UserError(
            f"train.init: {len(faults)} of {len(wanted)} weights of {init.run} do not fit; "
            f"train.init.networks takes some of {', '.join(networks)} only\n  "
            + "\n  ".join([*faults[:8], *more])
        )
    with torch.no_grad():
        for name in wanted:
            own[name].copy_(weights[name])
    return {"starting_weights": f"{stored.file} {checkpoints.sha256_of(stored.file)}"}


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


class Stored(NamedTuple):
    """Weights on disk."""

    file: Path
    weights: dict[str, Tensor]  # averaged ones in place of raw ones if `kind` is "ema"
    kind: str  # "raw" or "ema"
    images_seen: int


def read_weights(folder: Path, weights: str, checkpoint: str) -> Stored:
    """The weights of a run folder or of shipped ones.

    Args:
        folder: from `find_run`.
        weights: "raw", "ema", or "auto": averaged ones where there are any.
        checkpoint: "latest" or "best".

    Raises:
        CheckpointError: there are none such.
    """
    shipped = folder / "weights.safetensors"  # packed at half precision, or imported
    if shipped.is_file():
        if weights == "ema" or checkpoint == "best":
            raise CheckpointError(f"{folder} holds one state, neither an average nor the best")
        values = checkpoints.load_weights(folder)
        values = {k: v.float() if v.is_floating_point() else v for k, v in values.items()}
        recipe = load_recipe(folder / "recipe.yaml")
        images_seen = 0 if "imported" in recipe.provenance else recipe.train.images
        return Stored(shipped, values, "raw", images_seen)
    found = checkpoints.find(folder, checkpoint)
    images_seen = checkpoints.read_manifest(found)["images_seen"]
    averaged = checkpoints.has_ema(found)
    if weights == "ema" and not averaged:
        raise CheckpointError(f"{folder} has no averaged weights; its recipe has the EMA off")
    values = checkpoints.load_weights(found)
    if averaged and weights != "raw":
        values |= checkpoints.load_weights(found, "ema")
        return Stored(found / "ema.safetensors", values, "ema", images_seen)
    return Stored(found / "weights.safetensors", values, "raw", images_seen)


class Absent(nn.Module):
    """Stands for a generator that a run does not have.

    Args:
        reason: what to say when it is used.
    """

    def __init__(self, reason: str):
        super().__init__()
        self.reason = reason

    def forward(self, *_: Any, **__: Any) -> None:
        """Refuse.

        Raises:
            UserError: always.
        """
        raise UserError(self.reason)


def leave_out_absent(method: Method, stored: Stored) -> tuple[str, ...]:
    """Put `Absent` where a generator has no weights at all, as in a run imported from one file.

    Returns:
        The directions that are left; all of them if there is no generator.
    """
    present = {name.partition(".")[0] for name in stored.weights}
    names = {d: GENERATOR_OF[d] for d in method.directions if hasattr(method, GENERATOR_OF[d])}
    absent = {direction: name for direction, name in names.items() if name not in present}
    if len(absent) == len(names):
        return method.directions
    for direction, name in absent.items():
        setattr(method, name, Absent(f"{stored.file} holds no generator for {direction}"))
    return tuple(d for d in method.directions if d not in absent)


def describe(recipe: Recipe) -> str:
    """The resolved recipe and the parameter counts of its networks; reads no data."""
    with torch.device("meta"):
        method = build_method(recipe, None)
    counts = count_parameters(method)
    lines = [dump_recipe(recipe).rstrip(), "", "# networks"]
    for name, network in method.named_children():
        resolved = getattr(network, "resolved", None)
        if name in counts:
            extra = f"  {resolved}" if resolved else ""
            lines.append(f"#   {name}: {counts[name]:,} parameters{extra}")
    return "\n".join([*lines, f"#   together: {sum(counts.values()):,} parameters"])
