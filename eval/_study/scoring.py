"""Scores of a study: how often fakes pass for real, which method people prefer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from eval._study.answers import Excluded, Session, read_answers, without_faults
from eval._study.key import Key
from eval._study.rates import RESAMPLES, Rate, rate, resampled

FORMAT = 1


@dataclass(frozen=True)
class MethodScore:
    """One row.

    Attributes:
        method: name of the run.
        participants: who judged it.
        trials: their answers, practice left out.
        rate: real-or-fake: percent of its fakes that were called real; best: percent of trials in
            which it was picked. None: nobody judged it.
    """

    method: str
    participants: int
    trials: int
    rate: Rate | None


@dataclass(frozen=True)
class PairScore:
    """Two methods, of trials in which one of them was picked.

    Attributes:
        a: a method.
        b: another.
        trials: in which a or b was picked.
        rate: percent for a; None: neither was ever picked.
        tie: the interval holds 50 %.
    """

    a: str
    b: str
    trials: int
    rate: Rate | None
    tie: bool


@dataclass(frozen=True)
class StudyScore:
    """Everything that `zoo study score` prints.

    Attributes:
        mode: "real-or-fake" or "best".
        counted: trials of a session.
        chance: percent that guessing gives.
        methods: rows, best first.
        pairs: every two methods, where the best was picked.
        excluded: participants left out, and why.
        sessions: that count.
    """

    mode: str
    counted: int
    chance: float
    methods: list[MethodScore]
    pairs: list[PairScore]
    excluded: list[Excluded]
    sessions: int

    def as_dict(self, seed: int) -> dict[str, Any]:
        """For a JSON file."""
        return {"format": FORMAT, "resamples": RESAMPLES, "seed": seed, **asdict(self)}


def score_answers(files: Sequence[Path], key: Key, seed: int = 0) -> StudyScore:
    """Score the files of all participants.

    Args:
        files: CSV that the study's page saved.
        key: of the study.
        seed: of the bootstrap.

    Raises:
        UserError: a file is not of this study, or broken; with line numbers.
    """
    sessions, excluded = without_faults(read_answers(files, key), key.counted)
    score = _real_or_fake if key.mode == "real-or-fake" else _best
    methods, pairs = score(sessions, key, seed)
    methods.sort(key=lambda row: -1.0 if row.rate is None else row.rate.percent, reverse=True)
    chance = 50.0 if key.mode == "real-or-fake" else 100 / len(key.methods)
    return StudyScore(key.mode, key.counted, chance, methods, pairs, excluded, len(sessions))


def _real_or_fake(
    sessions: Sequence[Session], key: Key, seed: int
) -> tuple[list[MethodScore], list[PairScore]]:
    rows = []
    for method, name in key.methods.items():
        counts = _counts([s for s in sessions if s.method == method], [method, "real"])
        rows.append(MethodScore(name, len(counts), int(counts.sum()), _share(counts, seed)))
    return rows, []


def _best(
    sessions: Sequence[Session], key: Key, seed: int
) -> tuple[list[MethodScore], list[PairScore]]:
    keys, names = list(key.methods), list(key.methods.values())
    counts = _counts(sessions, keys)
    people, trials = len(counts), int(counts.sum())
    if not people:
        return [MethodScore(name, 0, 0, None) for name in names], []
    drawn, sums = resampled(counts, seed), counts.sum(axis=0)
    rows = [
        MethodScore(name, people, trials, rate(sums[i], trials, drawn[:, i], drawn.sum(axis=1)))
        for i, name in enumerate(names)
    ]
    pairs = []
    for i, j in combinations(range(len(names)), 2):
        both, drawn_both = int(sums[i] + sums[j]), drawn[:, i] + drawn[:, j]
        share = rate(sums[i], both, drawn[:, i], drawn_both) if both else None
        tie = share is None or share.low <= 50 <= share.high
        pairs.append(PairScore(names[i], names[j], both, share, tie))
    return rows, pairs


def _counts(sessions: Sequence[Session], answers: Sequence[str]) -> np.ndarray:
    """How often each participant gave each answer, practice left out: int64 people x answers."""
    rows = [
        [sum(a.chosen == answer for a in s.answers if not a.practice) for answer in answers]
        for s in sessions
    ]
    return np.array(rows, dtype=np.int64).reshape(len(rows), len(answers))


def _share(counts: np.ndarray, seed: int) -> Rate | None:
    """The share of the first answer."""
    if not len(counts):
        return None
    drawn = resampled(counts, seed)
    return rate(counts[:, 0].sum(), counts.sum(), drawn[:, 0], drawn.sum(axis=1))
