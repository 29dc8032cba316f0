"""The benchmarks measure what they say: in turn, ratios of each round, equal values, real peaks."""

import gc
import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import asdict

import numpy as np
import pytest
import torch

from benchmarks import metrics, scale, startup, step
from benchmarks.memory import peak_bytes
from benchmarks.plot import Panel, svg
from benchmarks.sides import METHODS, Outcome, Setup, deviation, our_recipe, state_bytes
from benchmarks.timing import (
    alternate,
    clock_named,
    median_seconds,
    processor_seconds,
    ratio,
    write_rows,
)
from tests.training import ROOT
from zoo.registry import UserError
from zoo.trainer import build_method

MIB = 2**20
TINY = {"size": 32, "width": 4, "blocks": 1}
TIMED = {
    "method",
    "precision",
    "compiled",
    "exact",
    "ratio_median",
    "ratio_min",
    "ratio_max",
    "images_per_s",
    "share_of_matrix_rate",
}


def tiny(method, **options):
    """The smallest setup."""
    return Setup(method, **TINY | options)


# Timing -----------------------------------------------------------------------------------------


def test_actions_alternate():
    now, calls = [0.0], []

    def action(name, seconds):
        def run():
            calls.append((name, gc.isenabled()))
            now[0] += seconds

        return run

    times = alternate([action("a", 2), action("b", 1)], 3, clock=lambda: now[0])
    assert [name for name, _ in calls] == ["a", "b"] * 3
    assert not any(collecting for _, collecting in calls)
    assert times == [(2, 1)] * 3


def test_garbage_is_collected_again_after_a_failure():
    with pytest.raises(ZeroDivisionError):
        alternate([lambda: 1 / 0], 1)
    assert gc.isenabled()


def test_ratio_is_of_each_round():
    """The medians alone would give 4 / 3."""
    times = [(2, 1), (9, 3), (4, 4)]
    assert ratio(times) == (2, 1, 3)
    assert ratio(times, baseline=1, ours=0) == (1 / 2, 1 / 3, 1)
    assert median_seconds(times, 0) == 4


def test_the_processors_clock_stands_still_while_it_sleeps():
    wall, cpu = clock_named("wall"), processor_seconds
    start = wall(), cpu()
    time.sleep(0.3)
    assert wall() - start[0] >= 0.3
    assert cpu() - start[1] < 0.1


def test_the_processors_clock_counts_ended_children():
    start = processor_seconds()
    subprocess.run([sys.executable, "-c", "sum(range(4_000_000))"], check=True)
    assert processor_seconds() - start > 0.02


def test_the_processors_clock_is_refused_where_it_says_nothing():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert clock_named("cpu") is processor_seconds
        with pytest.raises(UserError, match="1 threads on cuda"):
            clock_named("cpu", "cuda")
        torch.set_num_threads(2)
        with pytest.raises(UserError, match="2 threads on cpu"):
            clock_named("cpu")
    finally:
        torch.set_num_threads(before)
    with pytest.raises(UserError, match="accepted are wall and cpu"):
        clock_named("sun")


# Memory -----------------------------------------------------------------------------------------


def test_a_childs_peak_shows_200_mib_more():
    target = "tests.unit.ballast:prepare"
    little, much = (peak_bytes(target, during=size) for size in (10, 210))
    assert much - little == pytest.approx(200 * MIB, abs=5 * MIB)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a peak cannot be forgotten")
def test_what_preparing_took_does_not_count():
    target = "tests.unit.ballast:prepare"
    freed = peak_bytes(target, during=10, before=300)
    assert freed - peak_bytes(target, during=10) < 50 * MIB


def test_a_failing_child_says_why():
    with pytest.raises(RuntimeError, match="nothing to measure"):
        peak_bytes("tests.unit.ballast:fail")


@pytest.mark.parametrize("method", METHODS)
def test_state_is_weights_moments_and_buffers(method):
    setup = tiny(method)
    ours = build_method(our_recipe(setup), None)
    weights = sum(p.nbytes for p in ours.parameters())
    assert state_bytes(setup) == 3 * weights + sum(b.nbytes for b in ours.buffers())


# Values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_ours_computes_what_the_published_step_does(method):
    _, _, found = step._both(tiny(method))
    assert found["exact"]
    assert found["form_deviation"] < 1e-6


@pytest.mark.parametrize(
    ("method", "option"),
    [
        ("cyclegan", "method.weights.cycle=10.01"),
        ("ugatit_light", "method.weights.cam=1001"),
        ("pix2pix", "method.adversarial.name=lsgan"),
        ("cut", "method.nce.temperature=0.08"),
        ("cyclegan", "optim.lr=4e-4"),
    ],
)
def test_another_step_is_not_exact(method, option):
    _, _, found = step._both(tiny(method, options=(option,)))
    assert not found["exact"]


@pytest.mark.parametrize("part", ["totals", "moments", "buffers"])
def test_deviation_looks_at_every_part(part):
    want = Outcome(torch.ones(2), {"G": torch.ones(4)}, {"D": torch.ones(4)})
    assert deviation(want, want) == 0
    changed = getattr(want, part)
    changed = changed * 1.5 if part == "totals" else {k: v * 1.5 for k, v in changed.items()}
    assert deviation(want._replace(**{part: changed}), want) == pytest.approx(0.5)


def test_a_row_has_its_fields():
    row = step.measure(tiny("pix2pix", precision="bf16"), rounds=2, memory=False)
    assert set(row) >= TIMED | set(asdict(tiny("pix2pix")))
    assert row["exact"]
    assert row["ratio_min"] <= row["ratio_median"] <= row["ratio_max"]
    assert row["images_per_s"] == pytest.approx(1 / row["seconds"])
    assert row["deviation"] > 1e-4, "bfloat16 was not on"
    json.dumps(row)


def test_mistakes_are_told():
    with pytest.raises(UserError, match="Did you mean 'ugatit'"):
        Setup("ugatti")
    with pytest.raises(UserError, match="fp32 and bf16"):
        Setup("cut", precision="fp16")


@pytest.mark.slow
def test_the_command_writes_rows_with_peaks(tmp_path):
    out = tmp_path / "rows.json"
    command = [sys.executable, "-m", "benchmarks.step", "--methods", "cyclegan,pix2pix"]
    command += ["--size", "64", "--width", "8", "--blocks", "1", "--rounds", "2", "--threads", "1"]
    command += ["--precision", "fp32", "--compile", "off", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text())
    assert [row["method"] for row in rows] == ["cyclegan", "pix2pix"]
    for row in rows:
        assert set(row) >= TIMED | {"peak_bytes", "published_peak_bytes", "beyond_state_ratio"}
        assert row["peak_bytes"] > row["state_bytes"]
        assert row["method"] in done.stdout


# Growth -----------------------------------------------------------------------------------------


def test_sides_grow_side_by_side():
    rows = scale.steps(tiny("pix2pix", batch=2), rounds=1, clock="wall")
    assert [row["side"] for row in rows] == ["published", "ours", "ours, bf16"]
    for row in rows:
        assert row["images_per_s"] == pytest.approx(2 / row["seconds"])


def test_translating_counts_every_image():
    rows = scale.translating("toonfaces-ugatit", 3, [1, 2], rounds=1, clock="wall")
    kinds = [(row["precision"], row["batch"]) for row in rows]
    assert kinds == [("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)]
    assert all(row["images_per_s"] == pytest.approx(1 / row["seconds"]) for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_processes_train_together(processes):
    row = scale.trained_by(processes, tiny("cyclegan"), images=8)
    assert row["batch"] == processes
    assert row["images_per_s"] > 0


def test_a_plot_has_a_point_for_every_row_and_names_its_lines():
    rows = [
        {"part": "size", "side": side, "size": size, "batch": 1, "seconds": size / 100}
        for side in ("published", "ours")
        for size in (64, 128, 256)
    ]
    (panel,) = scale.panels(rows)
    assert panel.lines["ours"] == [(64, 0.64), (128, 1.28), (256, 2.56)]
    root = ET.fromstring(svg([panel, Panel("one <point>", "x", {"ours": [(1, 1)]})]))
    space = "{http://www.w3.org/2000/svg}"
    points = [circle for circle in root.iter(f"{space}circle") if circle.get("r") == "3"]
    assert len(points) == 6 + 1
    words = [text.text for text in root.iter(f"{space}text")]
    assert {"published", "ours", "seconds a step", "one <point>", "256"} <= set(words)
    heights = [float(point.get("cy")) for point in points[:3]]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=0.2)  # logarithmic


# The others -------------------------------------------------------------------------------------


def test_metrics_are_equal_and_timed():
    rows = [metrics.frechet(20, 32, rounds=2), metrics.kernel(20, 32, rounds=2)]
    assert all(row["equal"] for row in rows)
    wrong = metrics.measure("wrong", lambda: 1.0, lambda: 1.01, rounds=1)
    assert not wrong["equal"]


def test_features_are_those_of_clean_fid(tmp_path):
    row = metrics.feature_pass(tmp_path, count=2, rounds=1)
    assert row["deviation"] < 1e-6


def test_every_metric_is_timed_against_the_pass_of_the_features(monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path))  # LPIPS is left out on every machine
    rows = metrics.against_features(32, count=48, rounds=1)
    timed = {row["metric"]: row for row in rows}
    assert {"fid", "kid", "precision_recall", "edges", "attributes", "cycle_error"} <= set(timed)
    assert "lpips" not in timed
    for row in rows:
        assert row["seconds"] > 0
        assert row["ratio_median"] == pytest.approx(row["feature_seconds"] / row["seconds"])
    assert timed["l1"]["seconds"] < timed["attributes"]["seconds"]


def test_startup_is_that_of_the_command():
    (row,) = startup.measure(["--help"], rounds=1)
    assert row["command"] == "zoo --help"
    assert row["seconds"] > row["baseline_seconds"]
    assert row["ratio_median"] == row["seconds"] / row["baseline_seconds"]


def test_rows_are_a_list(tmp_path):
    rows = [{"a": 1}, {"a": np.pi}]
    write_rows(rows, tmp_path / "rows.json")
    assert json.loads((tmp_path / "rows.json").read_text()) == rows
    write_rows(rows, None)
