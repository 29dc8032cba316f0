"""Perceptual studies: a page that people answer offline, and the scores of their answers.

"real-or-fake" is the protocol of the studies in Isola et al. 2017 (pix2pix) and Zhu et al. 2017
(CycleGAN): a real image and a translation for a second, then which was real; practice with an
answer first; one method a session. "best" is that of Kim et al. 2020 (U-GAT-IT): the source and
every method's translation, and which is best.

The page does not say which method made an image, and of counted trials not even which one is real:
that is in `key.json`, which stays with whoever made the study.
"""

import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eval._study.key import FORMAT, Key, Mode, read_key
from eval._study.page import render_page
from eval._study.scoring import StudyScore, score_answers
from eval.report import unique_names
from eval.runner import translate_images, undisturbed_random
from eval.scores import PixelHash, installed_versions, write_whole
from zoo.images import printable, resize, write_image
from zoo.registry import UserError
from zoo.translation import Run, load_run

SIDE = {"a2b": ("a", "b"), "b2a": ("b", "a")}  # source and target
QUESTION = {
    "real-or-fake": "Which one was real?",
    "best": "Which result is the best translation of the source?",
}


def make_study(
    runs: Sequence[Path],
    out: Path,
    *,
    mode: Mode = "real-or-fake",
    direction: str = "a2b",
    counted: int = 40,
    practice: int = 10,
    trial_ms: int = 1000,
    num_images: int = 100,
    seed: int = 0,
    weights: str = "auto",
    checkpoint: str = "latest",
    question: str | None = None,
) -> Path:
    """Make the page of a study and its key.

    Writes `out/page/`, to hand out, and `out/key.json`, to keep.

    Args:
        runs: run folders, or names of shipped runs, with the same test images.
        out: folder to make.
        mode: "real-or-fake": one method a session; "best": all methods at once.
        direction: "a2b" or "b2a".
        counted: trials of a session that count.
        practice: trials before them, with the answer; none where the best is picked.
        trial_ms: how long a pair is shown, milliseconds.
        num_images: pairs to draw a session's trials from; fewer where there are fewer images.
        seed: of pairs and their order.
        weights: "auto", "raw" or "ema".
        checkpoint: "latest" or "best".
        question: what is asked; None: as in the papers.

    Returns:
        `out/page/index.html`.

    Raises:
        UserError: too few images or methods, runs with other test images, a direction that a run
            has not, or `out` exists.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f"{printable(out)} exists; name a new folder for the study")
    practice = practice if mode == "real-or-fake" else 0
    _check(mode, direction, counted, practice, trial_ms, runs)
    loaded = {
        name: load_run(path, weights=weights, checkpoint=checkpoint)
        for name, path in zip(unique_names([Path(r) for r in runs]), runs, strict=True)
    }
    rng = np.random.default_rng(seed)
    sources, reals = _images(loaded, direction, mode, counted + practice, num_images, rng)
    names = list(loaded)
    rng.shuffle(names)  # keys of methods come in no order that tells
    methods = {secrets.token_hex(3): name for name in names}
    study = _Study(out, mode, methods, rng)
    try:
        trials = study.write(loaded, sources, reals, direction, practice)
        key = Key(
            study=secrets.token_hex(4),
            mode=mode,
            counted=counted,
            practice=practice,
            trial_ms=trial_ms,
            seed=seed,
            direction=direction,
            methods=methods,
            images=study.images,
            runs={name: _facts(run, checkpoint) for name, run in loaded.items()},
            versions=installed_versions(),
        )
        settings = {
            "study": key.study,
            "mode": mode,
            "counted": counted,
            "practice": practice,
            "trialMs": trial_ms,
            "seed": seed,
            "methods": trials,
            "question": question or QUESTION[mode],
        }
        write_whole(study.folder / "page" / "index.html", render_page(settings))
        content = {"format": FORMAT, **asdict(key)}
        write_whole(study.folder / "key.json", json.dumps(content, indent=1) + "\n")
        study.folder.rename(out)
    except OSError as error:
        raise UserError(f"{printable(out)}: cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(study.folder, ignore_errors=True)
    return out / "page" / "index.html"


def _check(
    mode: str, direction: str, counted: int, practice: int, trial_ms: int, runs: Sequence[Path]
) -> None:
    if mode not in QUESTION:
        raise UserError(f"mode is {mode!r}; it must be {' or '.join(map(repr, QUESTION))}")
    if direction not in SIDE:
        raise UserError(f"direction is {direction!r}; it must be 'a2b' or 'b2a'")
    for name, value, least in (
        ("trials", counted, 1),
        ("practice", practice, 0),
        ("trial-ms", trial_ms, 1),
    ):
        if value < least:
            raise UserError(f"{name} is {value}; it must be at least {least}")
    if not runs:
        raise UserError("a study needs at least one run")
    if mode == "best" and len(runs) < 2:
        raise UserError("to pick the best, a study needs at least two runs")


def _images(
    runs: Mapping[str, Run],
    direction: str,
    mode: Mode,
    needed: int,
    most: int,
    rng: np.random.Generator,
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Test images to translate, and real ones of the target, in random order, a pair each.

    Raises:
        UserError: too few, or not the same for all runs.
    """
    counts = {name: _counts(name, run, direction, mode, needed) for name, run in runs.items()}
    first = next(iter(runs))
    count = max(needed, min(most, *counts[first]))
    chosen = [rng.permutation(n)[:count] for n in counts[first]]
    images: list[list[np.ndarray]] = []
    wanted = ""
    for name, run in runs.items():
        size = run.recipe.data.config.size
        domains = [run.dataset().domain("test", side) for side in SIDE[direction]]
        same = counts[name] == counts[first]
        found = [
            [resize(domain[int(i)], size) for i in order if same]
            for domain, order in zip(domains, chosen, strict=True)
        ]
        pixels = PixelHash()
        for image in (*found[0], *found[1]):
            pixels.add(image)
        images, wanted = images or found, wanted or pixels.hexdigest()
        if pixels.hexdigest() != wanted:
            raise UserError(
                f"{first} and {name} have other test images, or images of another size; a study "
                f"compares translations of the same"
            )
    return images[0], images[1]


def _counts(name: str, run: Run, direction: str, mode: Mode, needed: int) -> list[int]:
    """How many test images there are to translate, and of the target."""
    if direction not in run.directions:
        raise UserError(f"{name} translates {' and '.join(run.directions)}, not {direction}")
    counts = [len(run.dataset().domain("test", side)) for side in SIDE[direction]]
    wanted = {"test images to translate": counts[0]}
    if mode == "real-or-fake":
        wanted["real test images of the target"] = counts[1]
    for what, count in wanted.items():
        if count < needed:
            raise UserError(
                f"{name} has {count} {what}; a session needs {needed} different ones. Ask for "
                f"fewer trials (--trials, --practice)"
            )
    return counts


def _facts(run: Run, checkpoint: str) -> dict[str, Any]:
    return {
        "folder": str(run.folder),
        "checkpoint": checkpoint,
        "weights": run.weights,
        "images_seen": run.images_seen,
    }


class _Study:
    """The folder in the making: images under names that say nothing, and trials of them."""

    def __init__(self, out: Path, mode: Mode, methods: dict[str, str], rng: np.random.Generator):
        self.folder = out.with_name(f".{out.name}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
        self.mode, self.methods, self.rng = mode, methods, rng
        self.images: dict[str, str] = {}

    def write(
        self,
        runs: Mapping[str, Run],
        sources: list[np.ndarray],
        reals: list[np.ndarray],
        direction: str,
        practice: int,
    ) -> dict[str, Any]:
        """Write the images; return what the page is told of its trials, by method.

        Pairs are named in random order, and only those of the practice say which one is real. Each
        method has copies of the real images of its own, or a name in two lists would tell.
        """
        (self.folder / "page" / "images").mkdir(parents=True)
        fakes = {}
        for key, name in self.methods.items():
            with undisturbed_random(0):
                made = list(translate_images(runs[name].translate_batch, sources, direction))
            fakes[key] = [self._save(image, key) for image in made]
        if self.mode == "best":
            shown = [self._save(image, "source") for image in sources]
            groups = [
                {"source": source, "images": self._shuffled(of_one)}
                for source, *of_one in zip(shown, *fakes.values(), strict=True)
            ]
            return {"all": {"practice": [], "counted": groups}}
        trials: dict[str, Any] = {}
        for key, own in fakes.items():
            truths = [self._save(image, "real") for image in reals]
            pairs = [
                {"images": self._shuffled([real, fake]), "real": real}
                for real, fake in zip(truths, own, strict=True)
            ]
            counted = [{"images": pair["images"]} for pair in pairs[practice:]]
            trials[key] = {"practice": pairs[:practice], "counted": counted}
        return trials

    def _save(self, image: np.ndarray, what: str) -> str:
        """Write an image under a random name, which is returned."""
        name = secrets.token_hex(6)
        self.images[name] = what
        write_image(self.folder / "page" / "images" / f"{name}.png", image)
        return name

    def _shuffled(self, names: list[str]) -> list[str]:
        return [names[i] for i in self.rng.permutation(len(names))]


def score_study(
    files: Sequence[Path], key: Path, *, seed: int = 0, out: Path | None = None
) -> StudyScore:
    """Score the answers of a study.

    Args:
        files: CSV that its page saved, of all participants.
        key: its key.json.
        seed: of the bootstrap.
        out: JSON file to write too.

    Raises:
        UserError: no files, files that are broken (with line numbers) or not of this study, or
            `out` cannot be written.
    """
    if not files:
        raise UserError("to score a study, give the CSV files of its participants")
    found = score_answers(files, read_key(key), seed)
    if out is not None:
        text = json.dumps(found.as_dict(seed), indent=1, ensure_ascii=False, allow_nan=False)
        try:
            write_whole(Path(out), text + "\n")
        except OSError as error:
            raise UserError(f"{printable(out)}: cannot be written: {error.strerror}") from error
    return found
