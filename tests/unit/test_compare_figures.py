"""Figures of a comparison's page: curves over seeds, quality against cost."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval._compare import figures, tables
from eval.comparison import Comparison, Interval, RunFacts
from tests.unit.comparisons import KID, METRICS, SSIM, TASKS, make_comparison, small


@pytest.fixture(scope="module")
def made() -> Comparison:
    return make_comparison(pictures=0)


def test_curves_are_means_over_seeds_in_a_band():
    def run(seed: int, values: list[float]) -> RunFacts:
        points = [[1000.0 * (i + 1), v] for i, v in enumerate(values)]
        facts = RunFacts(id="r", folder="r", row="one", seed=seed, tasks={"a2b": "t"}, state="done")
        facts.curves = {"t/kid_target": points}
        return facts

    made = small(t=["one"])
    made.runs = [run(0, [0.4, 0.3, 0.2]), run(1, [0.2, 0.1])]
    found = figures.curves(made, "t", KID)
    assert found.partial
    assert found.last == [(0, "20.00", "one")]
    line = re.search(r'class="line" points="([^"]+)"', found.svg)[1].split()
    band = re.search(r'class="band" points="([^"]+)"', found.svg)[1].split()
    y = [float(point.partition(",")[2]) for point in line + band]
    assert len(line) == 3
    means, upper, lower = y[:3], y[3:6], y[8:5:-1]  # the polygon comes back from the right
    assert means[0] == pytest.approx((upper[0] + lower[0]) / 2, abs=0.1)  # mean of 0.4 and 0.2
    assert upper[2] == lower[2] == means[2]  # one seed has come so far
    assert figures.curves(made, "t", SSIM) is None


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=7),
    st.booleans(),
    st.sampled_from([KID, SSIM]),
)
def test_the_front_is_what_nothing_beats(values, more, shown):
    made = Comparison(sweep="s", rows=[str(i) for i in range(len(values))])
    key = f"t/{shown.name}"
    made.costs = {str(i): {"c": cost} for i, (cost, _) in enumerate(values)}
    made.cells = {"final": {str(i): {key: Interval(value=q)} for i, (_, q) in enumerate(values)}}
    sign = -1 if more else 1
    toward = -1 if shown.better == "higher" else 1
    plane = [(sign * cost, toward * quality) for cost, quality in values]
    expected = [not any(a <= c and b <= d and (a, b) != (c, d) for a, b in plane) for c, d in plane]
    cost = figures.Cost("c", "cost", str, more)
    points = figures.points(made, key, cost, shown)
    assert [p.front for p in points] == expected
    assert any(expected)
    figures.pareto(points, shown, cost, cost.title)


def test_stairs_of_the_front_offer_nothing_that_no_row_offers():
    dear_is_better = [(0.0, 5.0), (2.0, 3.0)]  # pixels: down is lower
    assert figures._steps(dear_is_better, more=False) == [(0, 5), (2, 5), (2, 3)]
    assert figures._steps(dear_is_better, more=True) == [(0, 5), (0, 3), (2, 3)]


def test_ticks_of_times_are_whole_minutes(made):
    svg = next(iter(render_plots(made)))
    ticks = re.findall(r'text-anchor="middle">([^<]+)</text>', svg)
    assert len(ticks) > 2
    assert ticks[1:] == [f"{10 * i} min" for i in range(1, len(ticks))]


def test_labels_of_a_plot_do_not_cover_each_other(made):
    svg = next(iter(render_plots(made)))
    boxes = [
        (float(x), float(y), len(text) * 6.0)
        for x, y, text in re.findall(r'<text class="name" x="([\d.]+)" y="([\d.]+)">([^<]+)', svg)
    ]
    assert len(boxes) == 6
    for i, (x, y, width) in enumerate(boxes):
        for u, v, other in boxes[i + 1 :]:
            assert abs(y - v) >= 11 or x + width < u or u + other < x


def render_plots(made: Comparison):
    for cost in tables.COSTS:
        points = figures.points(made, f"{TASKS[0]}/kid_target", cost, METRICS[0])
        yield figures.pareto(points, METRICS[0], cost, cost.title)
