"""What is left to do of a sweep's runs, as tasks for processes: train, go on, score."""

import json
from collections.abc import Sequence
from pathlib import Path

from eval._compare.plan import Planned, python_zoo
from eval._compare.processes import Task
from eval.features import ALIASES
from eval.scores import RUN, read_scores
from zoo import checkpoint
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
            words.append(item.train_words() if state_is_new(item) else item.resume_words())
        if words or lacks_scores(item, metrics):
            words.append(score_words(item, metrics))
            tasks.append(
                Task(
                    id=item.id,
                    commands=[python_zoo(command) for command in words],
                    log=item.log,
                    failure=item.failure_file,
                    progress=lambda item=item: progress(item),
                )
            )
    return tasks


def state_is_new(item: Planned) -> bool:
    """Whether there is nothing yet to go on with."""
    return item.images_seen() is None


def progress(item: Planned) -> str:
    """Such as "6200/10000 images", or "is scored"."""
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
        return "is scored" if seen >= item.images else f"{seen}/{item.images} images"
    return ""


def lacks_scores(item: Planned, metrics: Sequence[str]) -> bool:
    return True


def score_words(item: Planned, metrics: Sequence[str]) -> list[str]:
    return ["eval", str(item.folder)]
