"""Folders like those that a sweep's runs and their evaluations leave, made without training."""

import json
from pathlib import Path

import numpy as np

from eval import resampling
from eval._compare.plan import Planned, plan
from eval.resamples import write_resamples
from eval.runner import output_names
from eval.scorer import Outcome
from eval.scores import RUN, UNTRANSLATED, Score, write_scores
from zoo.checkpoint import checkpoints_of
from zoo.images import write_image
from zoo.recipe import dump_recipe
from zoo.sweep import load_sweep

IMAGES = 6000
TEST_IMAGES = 40
SWEEP = """\
description: planted scores
tasks: [photo2toon, toon2photo]
seeds: [0, 1, 2]
metrics: [kid_target, l1, ssim, lpips]
null: {row: first, seeds: [3, 4, 5]}
level: {metric: kid_target, task: photo2toon, value: 0.5}
rows:
"""
ROW = """\
  %s:
    runs:
      - {recipe: debug/%s, a2b: photo2toon, b2a: toon2photo, overrides: [train.images=6000,
         data.num_test=4, evaluate.every_images=1000]}
"""
PUBLISHED = """\
published:
  - source: nobody, Table 1
    metric: kid_target
    convention: x 100, on other images
    better: lower
    scale: 100
    verified: false
    values:
      first: {photo2toon: [13.5, 0.25]}
      never run: {photo2toon: 8, toon2photo: 9}
"""


def write_sweep(folder: Path, *labels: str, changed: tuple[str, str] = ("", "")) -> list[Planned]:
    """A sweep `planted.yaml` whose rows have these labels; the runs that it plans.

    Args:
        folder: of the file; runs go to `out` beside it.
        labels: of the rows. Without a row "first" there is no null comparison.
        changed: a text of the file and what stands there instead.
    """
    rows = "".join(ROW % (json.dumps(label), "cyclegan") for label in labels)
    text = f"{SWEEP}{rows}  never run: {{}}\n{PUBLISHED}"
    if "first" not in labels:
        lines = text.splitlines(keepends=True)
        text = "".join(line for line in lines if "first" not in line)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "planted.yaml"
    file.write_text(text.replace(*changed) if changed[0] else text)
    return plan(load_sweep(file), folder / "out")


def write_run(
    item: Planned,
    quality: float,
    *,
    luck: float = 0.02,
    extractor: str = "offline-v1",
    test_images: str = "feed",
    best: int = 4000,
    pictures: bool = False,
) -> None:
    """A run that is done and scored; scores grow worse with `quality`, 0 to 1.

    Each test image has a difficulty of its own, the same for all runs; each run has its luck, of
    standard deviation `luck`, and its noise on each image.
    """
    rng = np.random.default_rng([item.run.seed, *item.run.row.encode()])
    folder = item.folder
    folder.mkdir(parents=True)
    recipe = item.run.recipe
    recipe.provenance = {
        "command": ["zoo", "train", "debug/cyclegan"],
        "commit": "0123abc",
        "versions": {"zoo": "0.1", "torch": "2.13"},
        "started": "2026-05-04T03:02:01+00:00",
        "device": "cpu",
        "parameters": {"ab": 1000, "ba": 1000, "discriminator_a": 500},
    }
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    write_metrics(folder, quality)
    write_manifest(folder, IMAGES, "latest")
    write_manifest(folder, best, "best")
    outcomes = []
    for checkpoint, gain in (("latest", 0.0), ("best", 0.01)):
        fortune = quality + luck * rng.normal() - gain
        for direction in item.run.tasks:
            outcomes += outcomes_of(direction, fortune, rng, checkpoint, extractor, test_images)
    for direction in item.run.tasks:
        more = outcomes_of(direction, 1.0, rng, None, extractor, test_images)
        outcomes += [one for one in more if one.score.metric != "lpips"]
    write_resamples(folder / "resamples.npz", outcomes)
    write_scores(folder / "scores.json", [outcome.score for outcome in outcomes])
    if pictures:
        dataset = recipe.data.build()
        for direction, side in (("a2b", "a"), ("b2a", "b")):
            for number, name in enumerate(output_names(dataset.domain("test", side).names)):
                picture = np.full((32, 32, 3), 40 * item.run.seed + number, np.uint8)
                write_image(folder / "translated" / direction / name, picture)


def outcomes_of(direction, quality, rng, checkpoint, extractor, test_images) -> list[Outcome]:
    """The scores of one direction; checkpoint None: of the untranslated images."""
    shared = {
        "direction": direction,
        "translator": UNTRANSLATED if checkpoint is None else RUN,
        "num_fake": TEST_IMAGES,
        "num_real": TEST_IMAGES,
        "image_size": 32,
        "resizer": "none",
        "test_images": test_images,
        "seed": 0,
        "interval": resampling.described(resampling.RESAMPLES),
    }
    if checkpoint is not None:
        seen = IMAGES if checkpoint == "latest" else 4000
        shared |= {"checkpoint": checkpoint, "weights": "raw", "images_seen": seen}
        shared |= {"looks": 6} if checkpoint == "best" else {}
    hard = np.random.default_rng(5).uniform(-0.1, 0.1, TEST_IMAGES)
    rows = resampling.draw(0, TEST_IMAGES)
    found = []
    for metric, scale in (("kid_target", 1), ("l1", 0.2), ("ssim", -0.5)):
        each = 1 + scale * (quality + hard + rng.normal(0, 0.02, TEST_IMAGES))
        resampled = resampling.resampled_means(each, rows)
        low, high = np.percentile(resampled, [2.5, 97.5])
        features = {"extractor": extractor, "comparable": False, "reference": "test"}
        features |= {"subset_size": 20, "num_subsets": 100}
        fields = features if metric == "kid_target" else {"reference": "truth"}
        score = Score(
            metric=metric,
            value=float(each.mean()),
            low=float(low),
            high=float(high),
            **shared,
            **fields,
        )
        found.append(Outcome(score, resampled, None if metric == "kid_target" else each))
    reason = "its weights are missing: fetch them"
    found.append(Outcome(Score(metric="lpips", value=None, unavailable=reason, **shared)))
    return found


def write_metrics(folder: Path, quality: float) -> None:
    """A line every 500 images; KID falls from 2 to 1 + quality, evaluated every 1 000."""
    lines = []
    for images in range(500, IMAGES + 1, 500):
        line = {"images": images, "step": images, "seconds": images / 10, "images_per_s": 10.0}
        lines.append(line | {"waiting": 0.0, "peak_bytes": 10**8 + images, "lr": {}, "terms": {}})
        if images % 1000 == 0:
            kid = 1 + quality + (1 - quality) * (1 - images / IMAGES)
            scores = {f"kid_target/{direction}": kid for direction in ("a2b", "b2a")}
            lines.append({"images": images, "scores": scores | {"kid_target/mean": kid}})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_manifest(folder: Path, images: int, pointer: str) -> None:
    """A checkpoint's name and manifest, without weights."""
    kept = checkpoints_of(folder) / f"images_{images:09d}"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / "manifest.json").write_text(json.dumps({"step": images, "images_seen": images}))
    (kept.parent / pointer).write_text(kept.name + "\n")
