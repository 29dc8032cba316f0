"""Answers of a study: CSV files read strictly, sessions, and participants at fault."""

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from eval._study.key import Key
from zoo.images import printable
from zoo.registry import UserError

COLUMNS = (
    "study", "mode", "participant", "session", "started", "timestamp", "practice", "trial",
    "method", "source", "shown", "answer", "response_ms", "shown_ms", "redone",
)  # fmt: skip
FASTEST_MS = 100  # from the pictures' appearance; nobody sees and answers in less
MOST_PROBLEMS = 12  # told at once


@dataclass(frozen=True)
class Answer:
    """One trial.

    Attributes:
        trial: its number, from 1.
        practice: it does not count.
        chosen: what was picked: a method's key, or "real".
        response_ms: from the pictures' appearance to the answer.
    """

    trial: int
    practice: bool
    chosen: str
    response_ms: float


@dataclass
class Session:
    """What one participant answered at one time.

    Attributes:
        participant: as they called themselves.
        session: of the page's making.
        method: key of the method that was shown; "" where all were.
        file: where it was read.
        answers: in the order of the file.
        lines: the file's lines, to know copies by.
    """

    participant: str
    session: str
    method: str
    file: str
    answers: list[Answer] = field(default_factory=list)
    lines: list[tuple[str, ...]] = field(default_factory=list)


@dataclass(frozen=True)
class Excluded:
    """A participant whose answers do not count, or a copy that is counted once."""

    participant: str
    file: str
    reason: str


def read_answers(files: Sequence[Path], key: Key) -> list[Session]:
    """Read the files of all participants.

    Raises:
        UserError: a file cannot be read, or lines of it are not answers of this study; every such
            line is named with its number.
    """
    problems: list[str] = []
    sessions: list[Session] = []
    for file in files:
        sessions += _read_file(Path(file), key, problems)
    if problems:
        more = len(problems) - MOST_PROBLEMS
        told = problems[:MOST_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise UserError("\n".join(told))
    return sessions


def _read_file(file: Path, key: Key, problems: list[str]) -> list[Session]:
    name = printable(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{name}: cannot be read as text: {error}")
        return []
    reader = csv.reader(text.splitlines(), strict=True)
    sessions: dict[tuple[str, str, str], Session] = {}
    try:
        heads = next(reader, None)
        if heads is None or tuple(heads) != COLUMNS:
            problems.append(f"{name}:1: {_wrong_heads(heads)}")
            return []
        for row in reader:
            try:
                identity, answer = _parse(row, key)
            except ValueError as error:
                problems.append(f"{name}:{reader.line_num}: {error}")
                continue
            session = sessions.setdefault(identity, Session(*identity, name))
            session.answers.append(answer)
            session.lines.append(tuple(row))
    except csv.Error as error:
        problems.append(f"{name}:{reader.line_num}: is not CSV: {error}")
        return []
    if not sessions and not any(problem.startswith(f"{name}:") for problem in problems):
        problems.append(f"{name}: holds no answers")
    return list(sessions.values())


def _wrong_heads(heads: list[str] | None) -> str:
    missing = [column for column in COLUMNS if column not in (heads or ())]
    if not missing:
        return f"the columns are in another order or more than {', '.join(COLUMNS)}"
    return (
        f"is no file of answers: the first line must name the columns {', '.join(COLUMNS)}; it "
        f"lacks {', '.join(missing)}"
    )


def _parse(row: list[str], key: Key) -> tuple[tuple[str, str, str], Answer]:
    """(participant, session, method) and the answer of a line.

    Raises:
        ValueError: what is wrong with it.
    """
    if len(row) != len(COLUMNS):
        raise ValueError(f"has {len(row)} fields instead of {len(COLUMNS)}")
    line = dict(zip(COLUMNS, row, strict=True))
    for column, wanted in (("study", key.study), ("mode", key.mode)):
        if line[column] != wanted:
            raise ValueError(f"{column} is {line[column]!r}; the key is of {wanted!r}")
    for column in ("participant", "session"):
        if not line[column]:
            raise ValueError(f"{column} is empty")
    for column in ("started", "timestamp"):
        try:
            datetime.fromisoformat(line[column])
        except ValueError:
            raise ValueError(f"{column} is {line[column]!r}, not a time") from None
    if line["practice"] not in ("0", "1"):
        raise ValueError(f"practice is {line['practice']!r}; it must be 0 or 1")
    practice = line["practice"] == "1"
    answer = Answer(
        trial=_trial(line["trial"], key.practice if practice else key.counted),
        practice=practice,
        chosen=_chosen(line, key),
        response_ms=_milliseconds(line["response_ms"], "response_ms"),
    )
    _milliseconds(line["shown_ms"], "shown_ms")
    return (line["participant"], line["session"], line["method"]), answer


def _trial(text: str, most: int) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise ValueError(f"trial is {text!r}; it must be 1 to {most}")
    return int(text)


def _milliseconds(text: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{column} is {text!r}; it must be a number of milliseconds")
    return value


def _chosen(line: dict[str, str], key: Key) -> str:
    """What made the picture that was picked; checks that the trial is one of this study's."""
    shown = line["shown"].split(" ")
    for image in [*shown, line["answer"]]:
        if image not in key.images:
            raise ValueError(f"there is no image {image!r} in this study")
    if key.mode == "real-or-fake":
        if line["method"] not in key.methods:
            raise ValueError(f"there is no method {line['method']!r} in this study")
        wanted = sorted(["real", line["method"]])
    else:
        if key.images.get(line["source"]) != "source":
            raise ValueError(f"source is {line['source']!r}, which is no source of this study")
        wanted = sorted(key.methods)
    if sorted(key.images[image] for image in shown) != wanted:
        raise ValueError(f"shown is {line['shown']!r}, which is no trial of this study")
    if line["answer"] not in shown:
        raise ValueError(f"answer is {line['answer']!r}, which was not shown")
    return key.images[line["answer"]]


def without_faults(
    sessions: Sequence[Session], counted: int
) -> tuple[list[Session], list[Excluded]]:
    """Sessions that count, one a participant, and who is left out for which reason.

    A session that is given twice counts once. Left out are participants with several sessions,
    trials that are missing or there twice, or answers in less than 100 ms.

    Args:
        sessions: of all files.
        counted: trials that a session must have, practice not among them.
    """
    excluded: list[Excluded] = []
    by_participant: dict[str, list[Session]] = {}
    for session in sessions:
        own = by_participant.setdefault(session.participant, [])
        if any(session.lines == other.lines for other in own):
            reason = "the same answers are given twice; they count once"
            excluded.append(Excluded(session.participant, session.file, reason))
        else:
            own.append(session)
    good: list[Session] = []
    for participant, own in by_participant.items():
        files = ", ".join(dict.fromkeys(session.file for session in own))
        fault = _fault(own, counted)
        if fault is None:
            good.append(own[0])
        else:
            excluded.append(Excluded(participant, files, fault))
    return good, excluded


def _fault(sessions: list[Session], counted: int) -> str | None:
    if len(sessions) > 1:
        methods = {session.method for session in sessions}
        ids = {session.session for session in sessions}
        if len(ids) == 1 and len(methods) > 1:
            return "one session with answers about several methods"
        return f"{len(sessions)} sessions, and which one counts is not known"
    answers = [answer for answer in sessions[0].answers if not answer.practice]
    times = Counter(answer.trial for answer in answers)
    if twice := [str(trial) for trial, count in times.items() if count > 1]:
        return f"answered twice: trial {', '.join(twice)}"
    if len(times) < counted:
        return f"{len(times)} of {counted} trials"
    if fast := [str(answer.trial) for answer in answers if answer.response_ms < FASTEST_MS]:
        return f"answered in less than {FASTEST_MS} ms: trial {', '.join(fast)}"
    return None
