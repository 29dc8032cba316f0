"""Run folders like those that training and evaluation leave, made without training."""

import json
import math
from pathlib import Path

import numpy as np
import torch

import zoo
from eval.scores import UNTRANSLATED, Score, write_scores
from zoo import checkpoint
from zoo.images import write_image
from zoo.recipe import dump_recipe, load_recipe
from zoo.translation import build_method

RECIPE = """
description: a fabricated run
data: {{name: toonfaces, size: {size}, num_train: 8, num_test: {num_test}}}
method:
  name: {method}
  generator: {{width: 8, num_blocks: 1}}
  discriminator: {{width: 8}}
train: {{images: {images}}}
evaluate: {{every_images: 1000, extractor: offline}}
provenance:
  command: [zoo, train, demo, --out, {folder!r}]
  commit: 0123abc
  versions: {{zoo: {version}, torch: {torch}}}
  started: 2026-05-04T03:02:01+00:00
  parameters: {{ab: 181234, ba: 181234, discriminator_a: 2764737, discriminator_b: 2764737}}
"""
TERMS = {
    "adversarial/a2b": (1, 0.7, 0.35),
    "adversarial/b2a": (1, 0.8, 0.4),
    "cycle/a": (10, 0.45, 0.08),
    "cycle/b": (10, 0.5, 0.06),
    "identity/a": (10, 0.4, 0.05),
    "identity/b": (10, 0.42, 0.04),
    "cam/a2b": (1000, 0.69, 0.002),
    "discriminator/a": (0.5, 1.0, 0.4),
    "discriminator/b": (0.5, 1.1, 0.42),
}


def write_recipe(
    folder: Path, *, method: str = "ugatit", size: int = 32, num_test: int = 8, images: int = 20000
) -> None:
    """A resolved recipe on drawn faces."""
    folder.mkdir(parents=True, exist_ok=True)
    text = RECIPE.format(
        method=method,
        size=size,
        num_test=num_test,
        images=images,
        folder=str(folder),
        version=zoo.__version__,
        torch=torch.__version__,
    )
    (folder / "recipe.yaml").write_text(text)
    (folder / "recipe.yaml").write_text(dump_recipe(load_recipe(folder / "recipe.yaml")))


def write_metrics(folder: Path, *, images: int = 20000, seed: int = 0, lines: int = 400) -> None:
    """Falling terms with noise, and an evaluation every twentieth line."""
    rng = np.random.default_rng(seed)
    written = []
    for number in range(1, lines + 1):
        done = number / lines
        raw = {
            key: float((end + (start - end) * math.exp(-5 * done)) * rng.lognormal(0, 0.15))
            for key, (_, start, end) in TERMS.items()
        }
        seen = images * number // lines
        line = {
            "images": seen,
            "step": seen,
            "seconds": seen / 9.1,
            "images_per_s": float(9.1 + rng.normal(0, 0.3)),
            "waiting": 0.021 if number > 5 else 0.5,
            "lr": {"generators": 1e-4 * min(1, 2 - 2 * done), "discriminators": 1e-4},
            "terms": raw,
            "weighted": {key: TERMS[key][0] * value for key, value in raw.items()},
            "total": {"generators": 1.0, "discriminators": 1.0},
        }
        written.append(line)
        if number % (lines // 20) == 0:
            fall = 0.25 + 0.75 * math.exp(-4 * done)
            scores = {
                f"{metric}/{direction}": start * fall * float(rng.lognormal(0, 0.05))
                for metric, start in (("kid_target", 0.06), ("fid", 90.0), ("l1", 0.26))
                for direction in ("a2b", "b2a")
            }
            written.append({"images": seen, "scores": scores})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in written))


def make_scores(
    *,
    extractor: str = "offline-v1",
    better: float = 0.4,
    test_images: str = "feed",
    images_seen: int = 20000,
) -> list[Score]:
    """The records of one evaluation; `better` is what the untranslated scores are multiplied by."""
    scores = []
    for direction in ("a2b", "b2a"):
        for translator, factor in (("run", better), (UNTRANSLATED, 1.0)):
            shared = {
                "direction": direction,
                "translator": translator,
                "num_fake": 200,
                "num_real": 200,
                "image_size": 64,
                "test_images": test_images,
                "reference": "test",
            }
            if translator == "run":
                shared |= {"weights": "raw", "checkpoint": "latest", "images_seen": images_seen}
            features = {
                "extractor": extractor,
                "comparable": extractor.startswith("inception"),
                "resizer": "Pillow bicubic to 64 px; extractor: to 128 px as clean-fid does",
            }
            subsets = {
                "spread_over": "subsets",
                "subset_size": 100,
                "num_subsets": 100,
                "seed": 0,
            }
            truth = {"reference": "truth", "spread_over": "images"}
            scores += [
                Score(metric="fid", value=88.1 * factor, **shared, **features),
                Score(
                    metric="kid_target",
                    value=0.0612 * factor,
                    std=0.0031,
                    **shared,
                    **features,
                    **subsets,
                ),
                Score(
                    metric="kid_source_target_mean",
                    value=None if translator == UNTRANSLATED else 0.074 * factor,
                    unavailable="the untranslated images would be compared with themselves",
                    **shared,
                    **features,
                    **subsets,
                ),
                Score(metric="l1", value=0.2513 * (0.5 + factor / 2), **shared | truth),
                Score(metric="ssim", value=0.61 / (0.5 + factor / 2), **shared | truth),
                Score(
                    metric="lpips",
                    value=None,
                    unavailable="its weights are missing: put alexnet.pth into weights",
                    **shared | truth,
                ),
            ]
    return scores


def write_checkpoint(folder: Path, images_seen: int = 20000, seed: int = 0) -> None:
    """A real checkpoint of untrained networks."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        method = build_method(load_recipe(folder / "recipe.yaml"), None)
    progress = checkpoint.Progress(images_seen, images_seen)
    checkpoint.save_own_state(folder, progress, 0, {})
    checkpoint.save(
        folder,
        progress,
        weights=method.state_dict(),
        ema=None,
        state={},
        num_processes=1,
        keep=2,
    )


def write_run(folder: Path, *, seed: int = 0, better: float = 0.4, **recipe) -> Path:
    """A complete run folder of untrained networks."""
    write_recipe(folder, **recipe)
    write_metrics(folder, seed=seed)
    write_scores(folder / "scores.json", make_scores(better=better))
    write_checkpoint(folder, seed=seed)
    (folder / "samples").mkdir()
    picture = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
    write_image(folder / "samples" / "000020000.png", picture)
    return folder
