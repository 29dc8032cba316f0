"""A run's translating networks at half precision, to share or to ship."""

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from zoo.recipe import dump_recipe
from zoo.registry import UserError
from zoo.translation import load_run


def pack(run_path: str | Path, out: Path, *, checkpoint: str = "latest") -> Path:
    """Write `weights.safetensors` (float16) and `recipe.yaml`, and scores.json if there is one.

    The folder can be used wherever a run folder can, except to resume training.

    Args:
        run_path: run folder.
        out: folder, made by this call.
        checkpoint: "latest" or "best".

    Returns:
        The file of weights.

    Raises:
        UserError: no such run, or `out` exists.
    """
    if out.exists():
        raise UserError(f"{out} exists; choose another folder")
    run = load_run(run_path, checkpoint=checkpoint, device="cpu")
    own = run.method.state_dict(keep_vars=True)
    wanted = {
        id(tensor)
        for network in run.method.translators()
        for tensor in network.state_dict(keep_vars=True).values()
    }
    weights = {
        name: tensor.detach().to(torch.float16) if tensor.is_floating_point() else tensor
        for name, tensor in own.items()
        if id(tensor) in wanted
    }
    run.recipe.provenance = {
        **run.recipe.provenance,
        "packed": {
            "weights": run.weights,
            "checkpoint": checkpoint,
            "images_seen": run.images_seen,
            "precision": "float16",
        },
    }
    out.mkdir(parents=True)
    save_file(weights, out / "weights.safetensors")
    (out / "weights.safetensors").chmod(0o644)
    (out / "recipe.yaml").write_text(dump_recipe(run.recipe))
    scores = run.folder / "scores.json"
    if scores.is_file():
        shutil.copyfile(scores, out / "scores.json")
    return out / "weights.safetensors"
