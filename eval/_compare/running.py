"""What is left to do of a sweep's runs, as tasks for processes: train, go on, score."""

import json
from collections.abc import Sequence
from functools import partial

from eval._compare.plan import Planned, best_images_seen, python_zoo
from eval._compare.processes import Task
from eval.choosing import columns, of_features
from eval.features import ALIASES
from eval.resamples import FILE as RESAMPLES
from eval.scores import RUN, read_scores
from zoo.registry import UserError

_TAIL = 65_536  # bytes of metrics.jsonl in which its last line is looked for


def tasks_of(planned: Sequence[Planned], metrics: Sequence[str], train: bool = True) -> list[Task]:
    """Tasks for the runs that are missing, cut short, or not scored as asked.

    Args:
        planned: all runs.
        metrics: names of scores that are wanted.
        train: whether missing runs are made and cut ones continued.
    """
    tasks = []
    for item in planned:
        state, words = item.state(), []
        if state != "done":
            if not train:
                continue
            is_new = item.images_seen() is None
            words.append(item.train_words() if is_new else item.resume_words())
        if words or lacks_scores(item, metrics):
            words.append(score_words(item, metrics))
            tasks.append(
                Task(
                    id=item.id,
                    commands=[python_zoo(command) for command in words],
                    log=item.log,
                    failure=item.failure_file,
                    progress=partial(progress, item),
                )
            )
    return tasks


def progress(item: Planned) -> str:
    """Such as "6200/10000 images", or "being scored"."""
    try:
        with (item.folder / "metrics.jsonl").open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - _TAIL))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            seen = json.loads(line)["images"]
        except (ValueError, LookupError, TypeError):
            continue
        return "being scored" if seen >= item.images else f"{seen}/{item.images} images"
    return ""


def lacks_scores(item: Planned, metrics: Sequence[str]) -> bool:
    """Whether a run that is done has yet to be scored, in whole or in part.

    A score that could not be had (weights are missing, say) counts as taken: to try again, delete
    scores.json.
    """
    try:
        scores = read_scores(item.folder / "scores.json")
    except UserError:
        return True
    if not (item.folder / RESAMPLES).is_file():
        return True
    seen, best = item.images_seen(), best_images_seen(item.folder)
    wanted = {"latest": seen} | ({"best": best} if best not in (None, seen) else {})
    extractor = item.run.recipe.evaluate.extractor
    for checkpoint, images in wanted.items():
        own = [s for s in scores if s.translator == RUN and s.checkpoint == checkpoint]
        missing = set(known_scores(metrics)) - {score.metric for score in own}
        others = {s.extractor for s in own if of_features(s)} - {ALIASES.get(extractor, extractor)}
        if not own or missing or others or any(score.images_seen != images for score in own):
            return True
    return False


def known_scores(metrics: Sequence[str]) -> list[str]:
    """Those that some installed metric computes."""
    known = columns()
    return [name for name in metrics if name in known]


def score_words(item: Planned, metrics: Sequence[str]) -> list[str]:
    """What follows `zoo` to score a run's newest and best checkpoints as the sweep asks."""
    ours = item.run.recipe.evaluate
    words = ["eval", str(item.folder), "--extractor", ours.extractor]
    words += ["--num-images", str(ours.num_images)]
    return [*words, "--metrics", ",".join(["auto", *known_scores(metrics)])]
