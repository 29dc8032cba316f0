"""The page of metrics: every score, and what it says of each is what the code says."""

import re
from pathlib import Path

import pytest

from eval.choosing import columns, owner_of
from zoo.downloads import MissingWeights
from zoo.registry import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text()
COMPUTED = {"always": "always", "evaluation": "after training", "": "when named"}


def rows() -> dict[str, list[str]]:
    found = re.findall(r"^\| `(\w+)` \| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE)
    return {score: [metric, *rest.split(" | ")] for score, metric, rest in found}


def needs(name: str) -> str:
    wanted = sorted(METRICS[name].needs)
    try:
        METRICS.default(name).build()
    except MissingWeights:
        wanted.append("weights")
    return ", ".join(wanted) or "nothing"


def test_every_score_has_a_row():
    assert set(rows()) == set(columns())


@pytest.mark.parametrize("score", columns())
def test_a_row_says_what_the_code_says(score, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))  # so that what needs weights lacks them
    metric, wanted, _, better, computed = rows()[score]
    owner = METRICS[metric]
    assert metric == owner_of(score)
    assert wanted == needs(metric)
    assert better == owner.columns[score].better
    assert computed == COMPUTED[getattr(owner, "default", "")]


@pytest.mark.parametrize("score", columns())
def test_every_score_has_a_paragraph_on_what_fools_it(score):
    (paragraph,) = re.findall(
        rf"^\*\*`{score}`\*\* (.+?)(?=\n\n|\Z)", PAGE, re.MULTILINE | re.DOTALL
    )
    assert re.search(r"[Ff]ooled by", paragraph)
