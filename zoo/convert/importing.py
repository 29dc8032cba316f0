"""From a published checkpoint to a run folder, whole or not at all.

The folder is like a packed run's, at full precision: the networks of the file and a recipe. What
the file does not hold is not made up. A run may thus translate in one direction only, and training
that starts from it (`train.init.run`) begins the other networks afresh.
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo.checkpoint import sha256_of
from zoo.convert.kinds import KINDS, Kind, look
from zoo.convert.reading import Network, Plan, convert, drop_unused, read_file
from zoo.images import printable
from zoo.method import Method
from zoo.recipe import dump_recipe, load_recipe
from zoo.registry import UserError, nearest
from zoo.runs import GENERATOR_OF, build_method
from zoo.schema import Recipe

log = logging.getLogger("zoo.convert")


@dataclass(frozen=True)
class Imported:
    """What became of a file.

    Attributes:
        run: the folder.
        method: its method's name.
        directions: in which it translates.
        networks: of the method, that the file held at least in part.
        untrained: the others, which the run does not have.
    """

    run: Path
    method: str
    directions: tuple[str, ...]
    networks: tuple[str, ...]
    untrained: tuple[str, ...]

    def __str__(self) -> str:
        """What `zoo import` prints."""
        shown = f"{self.run}: {self.method} with {', '.join(self.networks)} from the file"
        if self.untrained:
            shown += f"; not in it, and not in the run: {', '.join(self.untrained)}"
        return f"{shown}; translates {' and '.join(self.directions)}"


def import_checkpoint(
    file: str | Path,
    kind: str,
    out: str | Path,
    *,
    other: str | Path | None = None,
    size: int | None = None,
    settings: Sequence[str] = (),
    command: Sequence[str] = (),
) -> Imported:
    """Make a run folder from a published checkpoint.

    Width, depth, norm and the like are read off the shapes; only tensors are read, never code.

    Args:
        file: as published; where every direction has a file, that of the generator A to B.
        kind: one of `KINDS`.
        out: run folder, made by this call.
        other: the file of the generator B to A, for kinds with a file for each direction.
        size: side of the images that the run translates through, pixels; None: the published one.
        settings: of the recipe, "data.root=faces"; not of the method and the size, which are known.
        command: the words this was started with, recorded in the recipe.

    Raises:
        UserError: `out` exists, there is no such kind, or the file cannot be read, needs more than
            tensors, holds other networks or does not fit; nothing was written.
    """
    file, out = Path(file), Path(out)
    if out.exists():
        raise UserError(f"{printable(out)} exists; choose another --out")
    if kind not in KINDS:
        raise UserError(f"--as {kind}?{nearest(kind, KINDS)} Kinds: {', '.join(KINDS)}")
    chosen = KINDS[kind]
    if other is not None and chosen.both is None:
        raise UserError(f"--other is for kinds with a file for each direction, which {kind} is not")
    files = {"ab": file} | ({"ba": Path(other)} if other is not None else {})
    networks = _networks(files, kind, chosen)
    notes = [f"{key}: {note}" for key, net in networks.items() for note in drop_unused(net)]
    plan = _plan(chosen, networks)
    notes += plan.notes + _differences(kind, plan)

    recipe = _recipe(file, chosen, plan, two=other is not None, size=size, settings=settings)
    with torch.device("meta"):
        method = build_method(recipe, None)
    own = method.state_dict()
    weights = convert(networks, plan.nets, own)
    present = dict.fromkeys(name.partition(".")[0] for name in weights)
    untrained = dict.fromkeys(name.partition(".")[0] for name in own if name not in weights)
    recipe.provenance = _provenance(command) | {
        "imported": {
            "kind": kind,
            "files": {path.name: sha256_of(path) for path in files.values()},
            "networks": list(present),
            "untrained": list(untrained),
            "notes": notes,
        }
    }
    _write(out, recipe, weights)
    for note in notes:
        log.info(note)
    return Imported(
        out, recipe.method.name, _directions(method, present), tuple(present), tuple(untrained)
    )


def _networks(files: dict[str, Path], kind: str, chosen: Kind) -> dict[str, Network]:
    """By name in the file; by ours, "ab" or "ba", where each has a file."""
    networks: dict[str, Network] = {}
    for ours, path in files.items():
        found = read_file(path)
        single = found.get("")
        names = set(found) if single is None else set(single)
        if not chosen.layout.fits(names) or (single is None) != bool(chosen.layout.always):
            title, kinds = look(names)
            advice = f" (--as {' or '.join(kinds)})" if kinds else ""
            shown = ", ".join(sorted(printable(name) for name in names)[:4])
            raise UserError(
                f"{printable(path)} does not hold {chosen.layout.title}, which --as {kind} takes; "
                f"by its names ({shown}, …) it holds {title}{advice}"
            )
        networks |= found if single is None else {ours: single}
    wanted = chosen.layout.always
    if any(name in networks for name in chosen.layout.together):
        wanted += chosen.layout.together
    lacking = [name for name in wanted if name not in networks]
    if lacking:
        raise UserError(f"{printable(files['ab'])} lacks the state dicts {', '.join(lacking)}")
    return networks


def _plan(chosen: Kind, networks: dict[str, Network]) -> Plan:
    read = chosen.layout.read
    assert read is not None, "every kind's layout can be read"
    return read(networks)


def _differences(kind: str, plan: Plan) -> list[str]:
    """Where the file is not what the kind's name says."""
    return [
        f"{name} is {json.dumps(plan.generator[name])} in the file, which counts, and "
        f"{json.dumps(expected)} by the name {kind}"
        for name, expected in KINDS[kind].expects.items()
        if plan.generator[name] != expected
    ]


def _recipe(
    file: Path, chosen: Kind, plan: Plan, *, two: bool, size: int | None, settings: Sequence[str]
) -> Recipe:
    """The recipe of the published configuration with what was read off."""
    for setting in settings:
        path = setting.partition("=")[0].strip()
        if path.partition(".")[0] == "method" or path in ("data.size", "data.channels", "data"):
            raise UserError(f"{setting}: the file and --size decide that; leave it out")
    if size is not None and plan.fixed_size and size != plan.size:
        raise UserError(
            f"{printable(file)}: its networks are for {plan.size} x {plan.size} pixels alone, not "
            f"for {size}; leave out --size"
        )
    base = chosen.both if two and chosen.both else chosen.recipe
    known: dict[str, Any] = {
        "method.generator": plan.generator,
        "data.size": plan.size if size is None else size,
        "data.channels": list(plan.channels),
        **plan.settings,
    }
    before = ["data.name=paired"] if base == "_base/pix2pix" else []
    if base == "_base/cyclegan" and plan.generator["name"] == "unet":
        known["method.generator"] = {**plan.generator, "dropout": 0}  # as CycleGAN was trained
    if base == "_base/cyclegan" and plan.channels[0] != plan.channels[1]:
        known["method.weights.identity"] = 0
    if base in ("_base/cut", "_base/fastcut"):
        # taps of the published nine blocks that shallower encoders have too
        layers = plan.generator["num_blocks"] + (12 if plan.generator["down"] == "blurred" else 10)
        known["method.taps"] = [tap for tap in (0, 4, 8, 12, 16) if tap < layers]
    overrides = [f"{path}={json.dumps(value)}" for path, value in known.items()]
    recipe = load_recipe(base, [*before, *settings, *overrides])
    recipe.description = f"{recipe.method.name} imported from {printable(file.name)}"
    return recipe


def _provenance(command: Sequence[str]) -> dict[str, Any]:
    return {
        "command": ["zoo", *command[1:]],
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"zoo": zoo.__version__, "torch": str(torch.__version__)},
    }


def _directions(method: Method, present: dict[str, None]) -> tuple[str, ...]:
    return tuple(d for d in method.directions if GENERATOR_OF[d] in present)


def _write(out: Path, recipe: Recipe, weights: dict[str, Tensor]) -> None:
    aside = out.with_name(f".{out.name}.unfinished")
    try:
        shutil.rmtree(aside, ignore_errors=True)  # of an import that was killed
        aside.mkdir(parents=True)
        save_file(weights, aside / "weights.safetensors")
        (aside / "weights.safetensors").chmod(0o644)
        (aside / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
        aside.rename(out)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError | SafetensorError):
            raise UserError(f"{printable(out)} cannot be made: {error}") from error
        raise
