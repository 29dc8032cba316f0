"""Scores of a study: rates with intervals, participants at fault, files that are broken."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from eval._study.answers import MOST_PROBLEMS, read_answers
from eval._study.rates import rate, resampled
from eval._study.scoring import score_answers
from eval.study import read_key
from tests.unit.studies import fake_key, fooled_by, lines, write_csv
from zoo.registry import UserError


def score(key, tmp_path, *sessions, **options):
    files = [write_csv(tmp_path / f"{i}.csv", answers) for i, answers in enumerate(sessions)]
    return score_answers(files, key, **options)


# Answers -----------------------------------------------------------------------------------------


def test_never_fooled_is_0_and_always_is_100(tmp_path):
    key = fake_key()
    found = score(
        key,
        tmp_path,
        lines(key, "ann", lambda i: "real"),
        lines(key, "bob", lambda i: "m1", method="m1"),
    )
    rows = {row.method: row for row in found.methods}
    assert rows["method 0"].rate.percent == rows["method 0"].rate.high == 0
    assert rows["method 1"].rate.percent == rows["method 1"].rate.low == 100
    assert [row.method for row in found.methods] == ["method 1", "method 0"]
    assert (rows["method 0"].participants, rows["method 0"].trials) == (1, 40)
    assert found.chance == 50


def test_guesses_are_near_chance(tmp_path):
    key = fake_key()
    sessions = [lines(key, f"p{i}", fooled_by(0.5, i)) for i in range(20)]
    row = score(key, tmp_path, *sessions).methods[0]
    assert row.rate.low < 50 < row.rate.high
    assert 3 < row.rate.high - row.rate.low < 14  # 800 trials: 50 +- 3.5


def test_practice_does_not_count(tmp_path):
    key = fake_key(counted=3)
    answers = lines(key, "ann", lambda i: "real")
    for line in answers[:2]:
        line["answer"] = line["answer"].replace("real", "m0")  # fooled, but in practice
    row = next(r for r in score(key, tmp_path, answers).methods if r.method == "method 0")
    assert (row.rate.percent, row.trials) == (0, 3)


def test_a_method_that_nobody_judged_is_said_so(tmp_path):
    key = fake_key()
    found = score(key, tmp_path, lines(key, "ann", lambda i: "real"))
    assert (found.methods[-1].method, found.methods[-1].rate) == ("method 1", None)


def test_preferences_and_pairs(tmp_path):
    key = fake_key("best", counted=10, methods=3)
    picks = ["m0"] * 6 + ["m1"] * 3 + ["m2"]
    found = score(key, tmp_path, *(lines(key, f"p{i}", picks.__getitem__) for i in range(30)))
    assert [(row.method, row.rate.percent) for row in found.methods] == [
        ("method 0", 60), ("method 1", 30), ("method 2", 10),
    ]  # fmt: skip
    assert found.chance == pytest.approx(100 / 3)
    shares = {(pair.a, pair.b): (pair.rate.percent, pair.tie) for pair in found.pairs}
    assert shares["method 0", "method 1"] == (pytest.approx(100 * 6 / 9), False)
    assert shares["method 1", "method 2"] == (pytest.approx(75), False)
    equal = score(key, tmp_path, lines(key, "x", (["m0"] * 5 + ["m1"] * 5).__getitem__))
    pairs = {(pair.a, pair.b): pair for pair in equal.pairs}
    assert pairs["method 0", "method 1"].tie
    assert equal.methods[-1].rate.percent == 0


# Participants at fault ---------------------------------------------------------------------------


def excluded(key, tmp_path, *sessions) -> dict[str, str]:
    good = lines(key, "good", lambda i: "real")
    found = score(key, tmp_path, good, *sessions)
    row = next(row for row in found.methods if row.method == "method 0")
    assert (row.participants, row.rate.percent) == (1, 0)  # only the good one counts
    return {left.participant: left.reason for left in found.excluded}


def always_fooled(key, participant: str, **options) -> list[dict]:
    return lines(key, participant, lambda i: "m0", **options)


def test_missing_trials(tmp_path):
    key = fake_key()
    cut = always_fooled(key, "cut")[:-8]
    assert excluded(key, tmp_path, cut) == {"cut": "32 of 40 trials"}


def test_missing_practice_is_no_fault(tmp_path):
    key = fake_key()
    found = score(key, tmp_path, always_fooled(key, "ann")[2:])
    assert not found.excluded
    assert found.methods[0].rate.percent == 100


def test_trials_answered_twice(tmp_path):
    key = fake_key()
    twice = always_fooled(key, "twice")
    twice.append({**twice[6], "answer": "real-4"})
    assert excluded(key, tmp_path, twice) == {"twice": "answered twice: trial 5"}


def test_answers_faster_than_anybody_sees(tmp_path):
    key = fake_key()
    fast = always_fooled(key, "fast")
    fast[7]["response_ms"] = 99.9
    fast[0]["response_ms"] = 5  # practice
    edge = lines(key, "edge", lambda i: "real", method="m1", response_ms=100)
    found = excluded(key, tmp_path, fast, edge)
    assert found == {"fast": "answered in less than 100 ms: trial 6"}


def test_two_sessions_of_one_participant(tmp_path):
    key = fake_key()
    first, second = always_fooled(key, "ann"), always_fooled(key, "ann")
    for line in second:
        line["session"] = "another"
    found = excluded(key, tmp_path, first, second)
    assert found == {"ann": "2 sessions, and which one counts is not known"}


def test_a_session_about_two_methods(tmp_path):
    key = fake_key()
    mixed = always_fooled(key, "ann")[:20]
    mixed += lines(key, "ann", lambda i: "real", method="m1")[20:]
    assert excluded(key, tmp_path, mixed) == {
        "ann": "one session with answers about several methods"
    }


def test_a_file_given_twice_counts_once(tmp_path):
    key = fake_key()
    answers = lines(key, "ann", lambda i: "real")
    found = score(key, tmp_path, answers, answers)
    row = next(row for row in found.methods if row.rate)
    assert (row.participants, row.trials) == (1, 40)
    assert [left.reason for left in found.excluded] == [
        "the same answers are given twice; they count once"
    ]


# Broken files ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("study", "beef", "study is 'beef'; the key is of 'cafe'"),
        ("mode", "best", "mode is 'best'; the key is of 'real-or-fake'"),
        ("participant", "", "participant is empty"),
        ("timestamp", "yesterday", "timestamp is 'yesterday', not a time"),
        ("practice", "yes", "practice is 'yes'; it must be 0 or 1"),
        ("trial", "41", "trial is '41'; it must be 1 to 40"),
        ("trial", "0", "trial is '0'"),
        ("trial", "1.5", "trial is '1.5'"),
        ("method", "m9", "there is no method 'm9' in this study"),
        ("answer", "real-7", "answer is 'real-7', which was not shown"),
        ("answer", "zebra", "there is no image 'zebra' in this study"),
        ("shown", "real-3 real-4", "shown is 'real-3 real-4', which is no trial of this study"),
        ("shown", "real-3 m1-3", "shown is 'real-3 m1-3', which is no trial of this study"),
        ("response_ms", "fast", "response_ms is 'fast'"),
        ("response_ms", "nan", "response_ms is 'nan'"),
        ("response_ms", "-1", "response_ms is '-1'"),
        ("shown_ms", "", "shown_ms is ''"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(tmp_path, column, value, message):
    key = fake_key()
    answers = lines(key, "ann", lambda i: "real")
    answers[5][column] = value
    with pytest.raises(UserError, match=re.escape(f"0.csv:7: {message}")):
        score(key, tmp_path, answers)


def test_every_broken_line_is_told_up_to_a_limit(tmp_path):
    key = fake_key()
    answers = lines(key, "ann", lambda i: "real")
    for line in answers[:20]:
        line["trial"] = "x"
    with pytest.raises(UserError) as raised:
        score(key, tmp_path, answers)
    told = str(raised.value).splitlines()
    assert len(told) == MOST_PROBLEMS + 1
    assert told[-1] == f"and {20 - MOST_PROBLEMS} more"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "1: is no file of answers"),
        (b"study;mode\n", "it lacks study, mode"),
        (b"\xff\xfe\x00", "cannot be read as text"),
    ],
)
def test_what_is_no_file_of_answers(tmp_path, content, message):
    file = tmp_path / "x.csv"
    file.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)):
        read_answers([file], fake_key())


def test_cut_lines_and_empty_files(tmp_path):
    key = fake_key()
    file = write_csv(tmp_path / "x.csv", lines(key, "ann", lambda i: "real"))
    text = file.read_text()
    file.write_text(text[:-20])
    with pytest.raises(UserError, match=r"x\.csv:43: has 1\d fields instead of 15"):
        read_answers([file], key)
    file.write_text(text.splitlines()[0] + "\n")
    with pytest.raises(UserError, match="holds no answers"):
        read_answers([file], key)
    file.write_text(text.replace("real-3,", '"real-3,'))
    with pytest.raises(UserError, match=r"x\.csv:\d+: "):
        read_answers([file], key)


def test_a_spreadsheets_mark_at_the_start_is_no_fault(tmp_path):
    key = fake_key()
    file = write_csv(tmp_path / "x.csv", lines(key, "ann", lambda i: "real"))
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert len(read_answers([file], key)) == 1


def test_keys_that_are_none(tmp_path):
    file = tmp_path / "key.json"
    for text, message in (("{", "cannot be read"), ("[]", "is not the key of a study")):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            read_key(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_key(tmp_path / "none.json")


# Rates -------------------------------------------------------------------------------------------


def test_one_participant_is_a_binomial():
    """With one participant the resamples of trials are a binomial, whose quantiles are known."""
    counts = np.array([[12, 28]])
    drawn = resampled(counts, seed=0)
    found = rate(12, 40, drawn[:, 0], drawn.sum(axis=1))
    low, high = stats.binom(40, 0.3).ppf([0.025, 0.975]) / 0.4
    assert (found.low, found.high) == pytest.approx((low, high), abs=2.6)  # a trial is 2.5 %
    assert found.spread == pytest.approx(100 * (0.3 * 0.7 / 40) ** 0.5, rel=0.03)


def test_participants_that_differ_widen_the_interval():
    """The same number of fooled trials: by all a little, or by some always."""
    alike = np.tile([[20, 20]], (10, 1))
    apart = np.array([[40, 0]] * 5 + [[0, 40]] * 5)

    def spread(counts) -> float:
        drawn = resampled(counts, seed=0)
        return rate(200, 400, drawn[:, 0], drawn.sum(axis=1)).spread

    assert spread(alike) == pytest.approx(100 * (0.25 / 400) ** 0.5, rel=0.05)  # of trials alone
    assert spread(apart) == pytest.approx(100 * (0.25 / 10) ** 0.5, rel=0.05)  # of people alone


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    """Participants drawn from a beta distribution: 95 % of intervals hold its mean."""
    rng = np.random.default_rng(0)
    held = 0
    for study in range(300):
        fooled = rng.binomial(40, rng.beta(3, 9, size=25))
        counts = np.stack([fooled, 40 - fooled], axis=1)
        drawn = resampled(counts, study, 1000)
        found = rate(fooled.sum(), counts.sum(), drawn[:, 0], drawn.sum(axis=1))
        held += found.low <= 25 <= found.high
    assert 0.90 <= held / 300 <= 0.985


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(*[st.integers(0, 20)] * 3), min_size=1, max_size=6))
def test_resamples_keep_the_number_of_answers(rows):
    counts = np.array(rows) + np.array([1, 0, 0])
    drawn = resampled(counts, 0, 50)
    assert drawn.shape == (50, 3)
    assert (drawn >= 0).all()
    sums = counts.sum(axis=1)
    assert (drawn.sum(axis=1) <= len(counts) * sums.max()).all()
    assert (drawn[:, counts.sum(axis=0) == 0] == 0).all()
