"""Where a run comes from, for its recipe.yaml."""

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import zoo
from zoo.checkpoint import sha256_of
from zoo.method import Method
from zoo.schema import Recipe


def provenance(
    recipe: Recipe, method: Method, accelerator: Accelerator, command: list[str]
) -> dict[str, Any]:
    """The command, code, versions and device, and what the networks made of their configs."""
    return {
        "command": list(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "plugins": {path: sha256_of(Path(path)) for path in recipe.plugins},
        "versions": {"zoo": zoo.__version__, "torch": str(torch.__version__)},
        "precision": accelerator.mixed_precision,
        "num_processes": accelerator.num_processes,
        "device": str(accelerator.device),
        **_gpu(accelerator.device),
        "parameters": count_parameters(method),
        "resolved": {
            name: network.resolved
            for name, network in method.named_children()
            if hasattr(network, "resolved")
        },
    }


def _gpu(device: torch.device) -> dict[str, str]:
    """The name of the GPU, where there is one."""
    return {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}


def count_parameters(method: Method) -> dict[str, int]:
    """Trainable parameters by network."""
    counts = {
        name: sum(p.numel() for p in network.parameters() if p.requires_grad)
        for name, network in method.named_children()
    }
    return {name: count for name, count in counts.items() if count}


def _commit() -> str:
    """The commit of a source checkout, "-dirty" if it was changed; "" for an installed package."""
    if not _git("ls-files", "--error-unmatch", Path(__file__).name):
        return ""
    return _git("describe", "--always", "--abbrev=40", "--exclude=*", "--dirty")


def _git(*words: str) -> str:
    """What git says about this folder, or "" if it cannot."""
    if shutil.which("git") is None:
        return ""
    found = subprocess.run(
        ["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() if found.returncode == 0 else ""
