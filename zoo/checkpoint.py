"""Checkpoints: complete or absent, checked by hash, resumable to the bit.

A checkpoint is a folder `RUN/checkpoints/images_000010000`:

    weights.safetensors   parameters and buffers of the method
    ema.safetensors       averages of the translating weights, if the EMA is on
    state.pt              optimizers, images seen, step
    state_0.pt, …         what each process keeps to itself: image pools
    manifest.json         sizes and SHA-256 of the others, written last

It is written under another name, flushed to disk and renamed, so a kill at any moment leaves the
old ones or a new complete one. `RUN/checkpoints/latest` and `best` hold a folder's name.
"""

import contextlib
import hashlib
import itertools
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.registry import UserError

log = logging.getLogger("zoo.checkpoint")

FORMAT = 1  # of state.pt; weights are read whatever the format


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    images_seen: int = 0


class CheckpointError(UserError):
    """A checkpoint is missing, cut short, cannot be written or does not belong to the run."""


def checkpoints_of(run: Path) -> Path:
    """The folder of a run's checkpoints."""
    return Path(run) / "checkpoints"


def save_own_state(
    run: Path, progress: Progress, rank: int, extra: Mapping[str, list[Tensor]]
) -> None:
    """Write one process's part of the checkpoint that `save` will complete.

    Raises:
        CheckpointError: it cannot be written.
    """
    folder = _unfinished(run, progress)
    with _removed_on_failure(folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(dict(extra), folder / f"state_{rank}.pt")


def save(
    run: Path,
    progress: Progress,
    *,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor] | None,
    state: Mapping,
    num_processes: int,
    keep: int,
    is_best: bool = False,
) -> Path:
    """Complete a checkpoint whose processes have called `save_own_state`, and make it the latest.

    Args:
        run: run folder.
        progress: where the run is; gives the folder its name.
        weights: the method's state dict.
        ema: the averages by the same names, or None.
        state: optimizers and the like, tensors and plain values only.
        num_processes: how many processes' parts there must be.
        keep: newest checkpoints kept beside the best one.
        is_best: mark it as the best so far.

    Returns:
        The checkpoint's folder.

    Raises:
        CheckpointError: it cannot be written; the older ones are untouched.
    """
    unfinished, final = _unfinished(run, progress), _folder(run, progress)
    with _removed_on_failure(unfinished):
        _write_tensors(unfinished / "weights.safetensors", weights)
        if ema is not None:
            _write_tensors(unfinished / "ema.safetensors", ema)
        torch.save(dict(state), unfinished / "state.pt")
        manifest = {
            "format": FORMAT,
            "step": progress.step,
            "images_seen": progress.images_seen,
            "num_processes": num_processes,
            "torch": str(torch.__version__),
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
                for file in sorted(unfinished.iterdir())
            },
        }
        (unfinished / "manifest.json").write_text(json.dumps(manifest, indent=1))
        for file in unfinished.iterdir():
            file.chmod(0o644)  # safetensors writes files that others cannot read
            _flush(file)
        _flush(unfinished)
        unfinished.rename(final)
        _flush(final.parent)
        _point(run, "latest", final.name)
        if is_best:
            _point(run, "best", final.name)
    _prune(run, keep)
    return final


def find(run: Path, which: str = "latest") -> Path:
    """The newest complete checkpoint of a run, or the best one.

    An incomplete or damaged checkpoint is passed over with a warning that names what is wrong.

    Raises:
        CheckpointError: there is none, or `which` is "best" and none was marked.
    """
    folder = checkpoints_of(run)
    if which == "best":
        pointer = folder / "best"
        if not pointer.is_file():
            raise CheckpointError(
                f"{run}: no checkpoint is marked as the best; a run marks one when its recipe "
                f"evaluates during training (evaluate.every_images)"
            )
        candidates = [folder / pointer.read_text().strip()]
    else:
        candidates = _newest_first(run)
    faults = []
    for candidate in candidates:
        fault = fault_of(candidate)
        if fault is None:
            return candidate
        faults.append(f"{candidate}: {fault}")
        log.warning("checkpoint passed over: %s", faults[-1])
    if not faults and (Path(run) / "weights.safetensors").is_file():
        raise CheckpointError(
            f"{run} was packed or imported: it holds weights, but no checkpoint to go on from; "
            f"start a new run with train.init.run={run}"
        )
    raise CheckpointError(
        f"{run} has no complete checkpoint" + "".join(f"\n  {fault}" for fault in faults)
    )


def newest_progress(run: Path) -> Progress | None:
    """How far the newest checkpoint is, by its manifest alone: quick, but nothing is verified."""
    for folder in _newest_first(run):
        try:
            manifest = read_manifest(folder)
            return Progress(manifest["step"], manifest["images_seen"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return None


def fault_of(folder: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        manifest = read_manifest(folder)
        own = [f"state_{rank}.pt" for rank in range(manifest["num_processes"])]
        for name in sorted({"weights.safetensors", "state.pt", *own, *manifest["files"]}):
            expected, file = manifest["files"][name], folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, {expected['bytes']} were written"
            if sha256_of(file) != expected["sha256"]:
                return f"{name} does not have the SHA-256 that was written"
    except FileNotFoundError:
        return "manifest.json is missing"
    except (OSError, ValueError, LookupError, TypeError) as error:
        return f"manifest.json cannot be used: {type(error).__name__}: {error}"
    return None


def tidy(run: Path, newest: Path) -> None:
    """Clear away what later saves could trip over, before a run goes on from `newest`.

    Remains of saves that were killed are removed. Later checkpoints, which `find` passed over, are
    renamed to `faulty_…`, so that they do not count among those kept.
    """
    for leftover in checkpoints_of(run).glob(".*.unfinished*"):
        _remove(leftover)
    for later in _newest_first(run):
        if later == newest:
            return
        later.rename(_free_name(later.with_name(f"faulty_{later.name}")))


def read_manifest(folder: Path) -> dict:
    """The manifest of a checkpoint folder."""
    return json.loads((folder / "manifest.json").read_text())


def load_state(folder: Path, rank: int) -> tuple[Progress, dict, dict]:
    """Progress, shared state and this process's own state, tensors on the CPU.

    Raises:
        CheckpointError: another version of Zoo wrote it in another format.
    """
    manifest = read_manifest(folder)
    if manifest.get("format") != FORMAT:
        raise CheckpointError(
            f"{folder} has format {manifest.get('format')}, of which this version of Zoo, which "
            f"continues format {FORMAT}, only takes the weights: start a new run with "
            f"train.init.run={folder.parent.parent}"
        )
    progress = Progress(manifest["step"], manifest["images_seen"])
    shared, own = (
        torch.load(folder / name, map_location="cpu", weights_only=True)
        for name in ("state.pt", f"state_{rank}.pt")
    )
    return progress, shared, own


def load_weights(folder: Path, name: str = "weights") -> dict[str, Tensor]:
    """`weights` or `ema` of a checkpoint, on the CPU.

    Raises:
        CheckpointError: the file is missing or damaged.
    """
    file = folder / f"{name}.safetensors"
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error


def has_ema(folder: Path) -> bool:
    """Whether a checkpoint holds averaged weights."""
    return (folder / "ema.safetensors").is_file()


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with Path(file).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _folder(run: Path, progress: Progress) -> Path:
    return checkpoints_of(run) / f"images_{progress.images_seen:09d}"


def _unfinished(run: Path, progress: Progress) -> Path:
    return checkpoints_of(run) / f".images_{progress.images_seen:09d}.unfinished"


def _newest_first(run: Path) -> list[Path]:
    images = {
        path: int(path.name.removeprefix("images_"))
        for path in checkpoints_of(run).glob("images_*")
        if path.name.removeprefix("images_").isdecimal()
    }
    return sorted(images, key=images.__getitem__, reverse=True)


def _write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, file)


@contextlib.contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:  # the three say "disk full" each
        shutil.rmtree(folder, ignore_errors=True)
        raise CheckpointError(
            f"the checkpoint {folder} could not be written (is the disk full?): {error}. "
            f"Earlier checkpoints are untouched"
        ) from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _point(run: Path, name: str, target: str) -> None:
    pointer = checkpoints_of(run) / name
    aside = pointer.with_name(f".{name}.unfinished")
    aside.write_text(target + "\n")
    aside.replace(pointer)


def _prune(run: Path, keep: int) -> None:
    best = checkpoints_of(run) / "best"
    spared = best.read_text().strip() if best.is_file() else ""
    for old in _newest_first(run)[keep:]:
        if old.name != spared:
            # A kill in between must not leave a part of it under its name.
            _remove(old.rename(old.with_name(f".{old.name}.unfinished")))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _free_name(path: Path) -> Path:
    """`path`, or `path` with a number where something has that name already."""
    tries = (path.with_name(f"{path.name}_{i}") if i else path for i in itertools.count())
    return next(name for name in tries if not name.exists())
