"""Studies of untrained runs, and answers as the page would save them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from eval._study.answers import COLUMNS
from eval._study.key import Key
from tests.unit.run_folders import write_run


def write_runs(folder: Path, num_test: int = 8) -> list[Path]:
    """Two runs on the same drawn faces."""
    first = write_run(folder / "bluebird", num_test=num_test)
    return [first, write_run(folder / "kingfisher", method="cyclegan", seed=1, num_test=num_test)]


def fake_key(mode: str = "real-or-fake", counted: int = 40, methods: int = 2) -> Key:
    """A key whose images are named by what made them."""
    keys = {f"m{i}": f"method {i}" for i in range(methods)}
    makers = ["real", "source", *keys]
    return Key(
        study="cafe",
        mode=mode,
        counted=counted,
        practice=2 if mode == "real-or-fake" else 0,
        trial_ms=1000,
        seed=0,
        direction="a2b",
        methods=keys,
        images={f"{maker}-{i}": maker for maker in makers for i in range(counted)},
        runs={},
        versions={},
    )


def lines(
    key: Key,
    participant: str,
    choose: Callable[[int], str],
    *,
    method: str = "m0",
    response_ms: float = 1500.0,
) -> list[dict]:
    """The answers of one session.

    Args:
        key: of `fake_key`.
        participant: their name.
        choose: number of the counted trial, from 0, -> "real" or a method's key.
        method: that the session is about.
        response_ms: of every answer.
    """
    found = []
    for practice, count in ((1, key.practice), (0, key.counted)):
        for i in range(count):
            real = key.mode == "real-or-fake"
            makers = ["real", method] if real else list(key.methods)
            chosen = "real" if practice else choose(i)
            found.append(
                {
                    "study": key.study,
                    "mode": key.mode,
                    "participant": participant,
                    "session": f"session-{participant}",
                    "started": "2026-05-04T10:00:00.000Z",
                    "timestamp": "2026-05-04T10:01:00.000Z",
                    "practice": practice,
                    "trial": i + 1,
                    "method": method if real else "",
                    "source": "" if real else f"source-{i}",
                    "shown": " ".join(f"{maker}-{i}" for maker in makers),
                    "answer": f"{chosen}-{i}",
                    "response_ms": response_ms,
                    "shown_ms": 1000,
                    "redone": 0,
                }
            )
    return found


def write_csv(path: Path, answers: list[dict]) -> Path:
    """As the page writes it."""
    rows = [COLUMNS, *([str(line[column]) for column in COLUMNS] for line in answers)]
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    return path


def fooled_by(share: float, seed: int) -> Callable[[int], str]:
    """Takes a fake of m0 for real with this chance."""
    draws = np.random.default_rng(seed).random(10_000) < share
    return lambda i: "m0" if draws[i] else "real"
