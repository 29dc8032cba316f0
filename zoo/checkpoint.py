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

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo.registry import UserError

log = logging.getLogger("zoo.checkpoint")


@dataclass(frozen=True)
class Progress:
    """How far a run has come."""

    step: int = 0
    images_seen: int = 0


class CheckpointError(UserError):
    """A checkpoint is missing, cut short or does not belong to the run."""


def checkpoints_of(run: Path) -> Path:
    """The folder of a run's checkpoints."""
    return Path(run) / "checkpoints"


def save_own_state(
    run: Path, progress: Progress, rank: int, extra: Mapping[str, list[Tensor]]
) -> None:
    """Write one process's part of the checkpoint that `save` will complete."""
    folder = _unfinished(run, progress)
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
    """
    unfinished, final = _unfinished(run, progress), _folder(run, progress)
    save_file({k: v.detach().contiguous() for k, v in weights.items()}, unfinished / "weights.safetensors")
    if ema is not None:
        save_file({k: v.contiguous() for k, v in ema.items()}, unfinished / "ema.safetensors")
    torch.save(dict(state), unfinished / "state.pt")
    manifest = {
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
    if final.exists():
        shutil.rmtree(final)
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
        candidates = sorted(folder.glob("images_*[0-9]"), reverse=True)
    faults = []
    for candidate in candidates:
        fault = fault_of(candidate)
        if fault is None:
            return candidate
        faults.append(f"{candidate}: {fault}")
        log.warning("checkpoint passed over: %s", faults[-1])
    raise CheckpointError(
        f"{run} has no complete checkpoint" + "".join(f"\n  {fault}" for fault in faults)
    )


def fault_of(folder: Path) -> str | None:
    """What is wrong with a checkpoint folder, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        for name, expected in manifest["files"].items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != expected["bytes"]:
                return f"{name} has {file.stat().st_size} bytes, {expected['bytes']} were written"
            if sha256_of(file) != expected["sha256"]:
                return f"{name} does not have the SHA-256 that was written"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"manifest.json: {error}"
    return None


def read_manifest(folder: Path) -> dict:
    """The manifest of a checkpoint folder."""
    return json.loads((folder / "manifest.json").read_text())


def load_state(folder: Path, rank: int) -> tuple[Progress, dict, dict]:
    """Progress, shared state and this process's own state."""
    manifest = read_manifest(folder)
    progress = Progress(manifest["step"], manifest["images_seen"])
    own = folder / f"state_{rank}.pt"
    return progress, torch.load(folder / "state.pt"), torch.load(own)


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
    folder = checkpoints_of(run)
    best = folder / "best"
    spared = {best.read_text().strip()} if best.is_file() else set()
    spared |= {p.name for p in sorted(folder.glob("images_*[0-9]"))[-keep:]}
    for old in folder.glob("images_*[0-9]"):
        if old.name not in spared:
            shutil.rmtree(old)
    newest = max(folder.glob("images_*[0-9]")).name
    for leftover in folder.glob(".images_*.unfinished"):
        if leftover.name[1:] <= newest:  # of a run that was killed while saving
            shutil.rmtree(leftover)
