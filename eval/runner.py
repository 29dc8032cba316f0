"""Scores of a run, and the rows of trivial translators beside them."""

import contextlib
import hashlib
import json
import logging
import random
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eval.choosing import AUTO, choose
from eval.features import create_extractor
from eval.resamples import write_resamples
from eval.scorer import SIDES, Images, Outcome, Scorer, in_colour
from eval.scores import RUN, UNTRANSLATED, Score, read_scores, write_scores
from eval.trivial import TRIVIAL
from zoo.checkpoint import checkpoints_of
from zoo.checkpoint import find as find_checkpoint
from zoo.images import printable, read_image, resize, to_tensor, to_uint8, write_image
from zoo.protocols import DataSet
from zoo.recipe import load_recipe
from zoo.registry import Part, UserError
from zoo.schema import Recipe
from zoo.translation import SHIPPED, Run, find_run, load_run

log = logging.getLogger("eval.runner")

Translate = Callable[[Tensor, str], Tensor]
CHECKPOINTS = ("auto", "latest", "best", "both")
BATCH = 8  # images translated together
# Rows that come with the package, as fitting takes minutes; written by `trivial_rows(cache=…)`.
SHIPPED_ROWS = Path(__file__).parent / "_trivial_rows"
TRIVIAL_TRAIN_IMAGES = 1000  # that trivial translators are fitted on


def evaluate_run(
    run_path: str | Path,
    *,
    extractor: str = "offline",
    num_images: int = 0,
    weights: str = "auto",
    seed: int = 0,
    checkpoint: str = "auto",
    reference: str = "auto",
    metrics: Sequence[str] | str = AUTO,
    settings: Mapping[str, Any] | None = None,
    trust: bool = False,
    out: Path | None = None,
) -> dict[str, Any]:
    """Translate a run's test images and score them.

    Writes `translated/DIRECTION/*.png`, `scores.json` and `resamples.npz`, all in place of what an
    earlier evaluation left; the best checkpoint's images beside the newest's go to
    `translated_best`. What is scored is what the files hold, at 8 bits.

    Args:
        run_path: run folder, or the name of a shipped one.
        extractor: features of FID and KID, see `eval.features`.
        num_images: test images a direction, evenly spaced; 0: all.
        weights: "auto" (averaged ones where there are any), "raw" or "ema".
        seed: of whatever metrics draw, of the resamples, and of whatever is random in a
            translation.
        checkpoint: "latest", "best", "both"; "auto": both, if there is a best one that is not the
            latest.
        reference: what sets of translations are compared with: the target's "test" or "train"
            images; "auto": test, if there are at least 100.
        metrics: names; "auto" among them stands for the usual ones.
        settings: fields of metrics by name, `{"kid": {"subset_size": 50}}`.
        trust: accept a file of weights whose hash is not known.
        out: where to write instead of into the run folder; needed for a shipped run.

    Returns:
        What scores.json holds: {"format": 1, "records": [fields of `Score`, …]}.

    Raises:
        UserError: no such run, checkpoint, extractor, metric or data, or nowhere to write.
    """
    features = create_extractor(extractor, trust=trust)
    chosen = choose(metrics, settings=settings)
    shipped = find_run(run_path).parent == SHIPPED
    if shipped and out is None:
        name = find_run(run_path).name
        raise UserError(f"{name} is a shipped run; name a folder for its scores (out)")
    checkpoints = checkpoints_to_score(find_run(run_path), checkpoint)
    run = load_run(run_path, weights=weights, checkpoint=checkpoints[0])
    folder = Path(out or run.folder)
    scorer = Scorer(
        run.dataset(),
        features,
        size=run.recipe.data.config.size,
        num_images=num_images,
        reference=reference,
        seed=seed,
        metrics=chosen,
        trust=trust,
    )
    outcomes = []
    try:
        for which in checkpoints:
            beside = which == "best" and len(checkpoints) > 1
            images = folder / ("translated_best" if beside else "translated")
            if which != checkpoints[0]:
                run = load_run(run_path, weights=weights, checkpoint=which)
            outcomes += _measure(run, scorer, images, "shipped" if shipped else which)
        if len(checkpoints) == 1:
            shutil.rmtree(folder / "translated_best", ignore_errors=True)  # of an earlier time
        for direction in run.directions:
            outcomes += scorer.measure_untranslated(direction)
        outcomes.sort(key=lambda outcome: run.directions.index(outcome.score.direction))
        write_resamples(folder / "resamples.npz", outcomes)
        return write_scores(folder / "scores.json", (outcome.score for outcome in outcomes))
    except OSError as error:
        raise UserError(f"cannot write scores into {printable(folder)}: {error}") from error


def checkpoints_to_score(run: Path, wanted: str) -> list[str]:
    """The checkpoints that a choice of `evaluate_run` stands for, "latest" first.

    Raises:
        UserError: another choice, or "both" and none was kept as the best.
    """
    if wanted not in CHECKPOINTS:
        raise UserError(f"checkpoint is {wanted!r}; it can be {', '.join(CHECKPOINTS)}")
    if wanted in ("latest", "best"):
        return [wanted]
    if wanted == "auto" and not (checkpoints_of(run) / "best").is_file():
        return ["latest"]
    same = find_checkpoint(run, "best") == find_checkpoint(run, "latest")
    return ["latest"] if wanted == "auto" and same else ["latest", "best"]


def _measure(run: Run, scorer: Scorer, images: Path, checkpoint: str) -> list[Outcome]:
    """Translate into a folder and score what it holds, in every direction."""
    origin: dict[str, Any] = {
        "weights": run.weights,
        "checkpoint": checkpoint,
        "images_seen": run.images_seen,
    }
    if checkpoint == "best":
        origin["looks"] = looks_of(run.folder)
    outcomes = []
    for direction in run.directions:
        with undisturbed_random(scorer.seed):
            files = _translate_to(images / direction, run, scorer, direction)
        stored = Images(_reader(files), len(files))
        with undisturbed_random(scorer.seed):
            outcomes += scorer.measure(
                direction,
                stored,
                RUN,
                translate=pictures(run.translate_batch),
                directions=run.directions,
                **origin,
            )
    return outcomes


def looks_of(run: Path) -> int | None:
    """From how many evaluations during training the best checkpoint was chosen."""
    try:
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    seen = set()
    for text in lines:
        with contextlib.suppress(ValueError):
            line = json.loads(text)
            if isinstance(line, dict) and isinstance(line.get("scores"), dict):
                seen.add(line.get("images"))
    return len(seen) or None


def pictures(translate: Translate) -> Callable[[Sequence[np.ndarray], str], Sequence[np.ndarray]]:
    """`translate` of tensors as one of pictures, uint8 H W C."""
    return lambda given, direction: list(translate_images(translate, given, direction))


def _translate_to(folder: Path, run: Run, scorer: Scorer, direction: str) -> list[Path]:
    """Fill a folder with translations, in place of the one there; files in the sources' order."""
    aside = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    names = output_names(scorer.names(direction))
    translated = translate_images(run.translate_batch, scorer.sources(direction), direction)
    for name, image in zip(names, translated, strict=True):
        write_image(aside / name, image)
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)
    return [folder / name for name in names]


def _reader(files: Sequence[Path]) -> Callable[[int], np.ndarray]:
    return lambda index: read_image(files[index])


def output_names(names: Sequence[str]) -> list[str]:
    """PNG names for translations: a stem used twice keeps its ending, `face.jpg.png`."""
    stems = [PurePath(name).stem for name in names]
    return [
        f"{stem}.png" if stems.count(stem) == 1 else f"{name.replace('/', '_')}.png"
        for name, stem in zip(names, stems, strict=True)
    ]


def translate_images(
    translate: Translate, sources: Sequence[np.ndarray], direction: str
) -> Iterator[np.ndarray]:
    """Yield the translation of each source, uint8 H W C as in its file.

    Args:
        translate: takes N C H W in [-1, 1] on the CPU and the direction, returns the same kind.
        sources: uint8 H W C, all of one size.
        direction: "a2b" or "b2a".

    Raises:
        ValueError: a translation holds NaN.
    """
    for start in range(0, len(sources), BATCH):
        chunk = [sources[i] for i in range(start, min(start + BATCH, len(sources)))]
        with torch.no_grad():  # closed before each yield
            images = to_uint8(translate(to_tensor(np.stack(chunk)), direction))
        yield from images


@contextlib.contextmanager
def undisturbed_random(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python, and put their states back after."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002, the global ones
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


# Trivial translators -----------------------------------------------------------------------------


def trivial_rows(
    recipe: Recipe | Path,
    *,
    extractor: str = "offline",
    num_images: int = 0,
    reference: str = "auto",
    seed: int = 0,
    cache: Path | None = None,
    test_images: str | None = None,
) -> list[Score]:
    """The scores of every translator of `eval.trivial`, both directions, on a recipe's data.

    Translators that need pairs take part where the data set can be built with pairs.

    Args:
        recipe: recipe or its file; only `data` matters.
        extractor: as for `evaluate_run`, like the next three.
        num_images: test images a direction.
        reference: what FID and KID compare with.
        seed: of KID's subsets.
        cache: folder that keeps the rows; None: nothing is kept.
        test_images: hash that the rows must carry; kept rows with another one are made anew.

    Returns:
        Records, "untranslated" first.
    """
    data = (load_recipe(recipe) if isinstance(recipe, Path) else recipe).data
    dataset = data.build()
    scorer = Scorer(
        dataset,
        create_extractor(extractor),
        size=data.config.size,
        num_images=num_images,
        reference=reference,
        seed=seed,
    )
    name = f"{data.name}-{_key(data, scorer)}.json"
    for folder in [SHIPPED_ROWS] if cache is None else [cache, SHIPPED_ROWS]:
        with contextlib.suppress(UserError):  # missing or broken: made anew
            kept = read_scores(folder / name)
            if kept and test_images in (None, kept[0].test_images):
                return kept
    log.warning("fitting trivial translators on %s, once: this takes minutes", data.name)
    pairs = _with_pairs(data, dataset)
    scores = []
    with undisturbed_random(seed):
        for direction in SIDES:
            scores += scorer.score_untranslated(direction)
            scores += _fitted_rows(scorer, dataset, pairs, direction)
    if cache is not None:
        try:
            write_scores(cache / name, scores)
        except OSError as error:
            log.warning("rows of trivial translators are not kept: %s", error)
    return scores


def _fitted_rows(
    scorer: Scorer, dataset: DataSet, pairs: DataSet | None, direction: str
) -> Iterator[Score]:
    sources = scorer.sources(direction)
    for name, make in TRIVIAL.items():
        translator = make()
        data = pairs if translator.paired else dataset
        if name == UNTRANSLATED or data is None:
            continue
        source, target = (_training_images(data, side, scorer.size) for side in SIDES[direction])
        try:
            translator.fit(source, target)
            images = [translator(in_colour(image)) for image in sources]
        except (ValueError, RuntimeError) as error:  # some take no image of every size
            log.warning("no row %r, %s: %s", name, direction, error)
            continue
        yield from scorer.score(direction, images, name, saw_pairs=translator.paired)


def _training_images(dataset: DataSet, side: str, size: int) -> np.ndarray:
    domain = dataset.domain("train", side)
    count = min(len(domain), TRIVIAL_TRAIN_IMAGES)
    chosen = (domain[i * len(domain) // count] for i in range(count))
    return np.stack([in_colour(resize(image, size)) for image in chosen])


def _with_pairs(data: Part, dataset: DataSet) -> DataSet | None:
    """The data set whose training images are pairs, if it can be had."""
    if dataset.paired or not hasattr(data.config, "paired"):
        return dataset if dataset.paired else None
    return replace(data, config=replace(data.config, paired=True)).build()


_NOT_PIXELS = ("workers", "flip", "cache")  # of test images and of those that translators fit


def _key(data: Part, scorer: Scorer) -> str:
    """Hash of everything the rows depend on, but for code and pixels."""
    config = {k: v for k, v in asdict(data.config).items() if k not in _NOT_PIXELS}
    protocol = {
        "extractor": scorer.extractor.name,
        "num_images": [len(scorer.sources(direction)) for direction in SIDES],
        "reference": [scorer.reference_split(direction) for direction in SIDES],
        "seed": scorer.seed,
        "translators": list(TRIVIAL),
    }
    text = json.dumps([data.name, config, protocol], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def default_cache() -> Path:
    """Where rows of trivial translators are kept unless told otherwise."""
    return Path.home() / ".cache" / "zoo" / "trivial"
