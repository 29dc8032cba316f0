"""`zoo compare` on real, tiny sweeps: processes that are cut, fail, are stopped and go on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eval._compare.plan import plan
from eval.compare import read_comparison
from eval.training import make_evaluator
from tests.training import (
    ROOT,
    assert_same_run,
    assert_same_state,
    final_state,
    num_lines,
    train_here,
    wait_for,
    zoo_command,
)
from zoo.sweep import load_sweep

TINY = (
    "[data.num_train=6, data.num_test=4, data.workers=0, samples.every_images=0,"
    " log.every_images=4, checkpoint.every_images=4, evaluate.every_images=8]"
)
SWEEP = f"""\
description: two methods
tasks: [photo2toon, toon2photo]
seeds: [0, 1]
metrics: [kid_target, l1]
rows:
  CycleGAN:
    runs: [{{recipe: debug/cyclegan, a2b: photo2toon, b2a: toon2photo, overrides: {TINY}}}]
  CUT:
    runs: [{{recipe: debug/cut, a2b: photo2toon, overrides: {TINY}}}]
"""
LOST = """\
  no data:
    runs: [{recipe: debug/cut, a2b: photo2toon, overrides: ["data={name: unpaired, root: lost}"]}]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, value in (("OMP_NUM_THREADS", "1"), ("PYTHONPATH", str(ROOT)), ("COLUMNS", "200")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def write(text: str, *changes: tuple[str, str]) -> None:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path("tiny.yaml").write_text(text)


def zoo_compare(*words: str) -> subprocess.CompletedProcess:
    command = zoo_command("compare", "tiny.yaml", "--out", "out", "--cpu", "--no-trivial", *words)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def runs_of(out: str = "out", **options):
    return plan(load_sweep("tiny.yaml"), Path(out), cpu=True, **options)


@pytest.mark.slow
def test_missing_runs_are_made_cut_ones_continued_and_a_failing_one_stops_no_other(folder):
    write(SWEEP + LOST)
    first = runs_of()[0]
    with (folder / "said.txt").open("w") as stream:
        process = subprocess.Popen(zoo_command(*first.train_words()), stdout=stream, stderr=stream)
        wait_for(lambda: num_lines(first.folder) >= 2)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert first.state() == "unfinished"

    done = zoo_compare("--jobs", "2")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: no_data--photo2toon--seed0: exit code 2: " in done.stderr
    assert "lost" in done.stderr
    made = read_comparison(folder / "out" / "comparison.json")
    assert {run.id: run.state for run in made.runs} == {
        run.id: "failed" if run.run.row == "no data" else "done" for run in runs_of()
    }
    assert "--resume" in first.log.read_text()
    recipe = first.run.recipe
    reference = train_here(recipe, folder / "reference", evaluate=make_evaluator(recipe))
    assert_same_state(final_state(first.folder), final_state(reference))
    for row, cells in made.cells["final"].items():
        for key, cell in cells.items():
            task, _, metric = key.partition("/")
            for seed, value in zip(made.seeds, cell.values, strict=True):
                (run,) = [r for r in runs_of() if (r.run.row, r.run.seed) == (row, seed)]
                direction = next(d for d, t in run.run.tasks.items() if t == task)
                stored = json.loads((run.folder / "scores.json").read_text())["records"]
                (record,) = [
                    r
                    for r in stored
                    if (r["metric"], r["direction"], r["translator"], r["checkpoint"])
                    == (metric, direction, "run", "latest")
                ]
                assert record["value"] == value
    assert made.pilot

    # Again: the runs that are done are left alone.
    before = {p: p.stat().st_mtime_ns for p in (folder / "out" / "runs").rglob("*")}
    write(SWEEP)
    again = zoo_compare()
    assert again.returncode == 0, again.stderr
    assert "started" not in again.stdout
    assert {p: p.stat().st_mtime_ns for p in (folder / "out" / "runs").rglob("*")} == before
    assert "out/comparison.html" in again.stdout

    write(SWEEP, ("data.num_train=6", "data.num_train=6, optim.lr=1e-3"))
    refused = zoo_compare()
    assert refused.returncode == 2
    assert "optim.lr is 0.0002 there, 0.001 in the sweep" in refused.stderr


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(folder):
    write(
        SWEEP.replace("[0, 1]", "[0]"), ("data.num_train=6", "train.images=4000, data.num_train=6")
    )
    command = zoo_command(
        "compare", "tiny.yaml", "--out", "out", "--cpu", "--jobs", "2", "--no-trivial"
    )
    with (folder / "said.txt").open("w") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
        wait_for(lambda: all(num_lines(run.folder) >= 2 for run in runs_of()))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    seen = {run.id: run.images_seen() for run in runs_of()}
    assert all(0 < count < 4000 for count in seen.values())
    for run in runs_of():
        assert run.state() == "unfinished"
        lines = [
            json.loads(text) for text in (run.folder / "metrics.jsonl").read_text().splitlines()
        ]
        assert lines[-1]["images"] <= seen[run.id]  # saved where it was stopped, not before
        assert seen[run.id] - lines[-1]["images"] < 4
    assert not list((folder / "out" / "logs").glob("*.failed"))


@pytest.mark.slow
def test_emitted_commands_make_the_same_runs(folder):
    write(SWEEP.replace("[0, 1]", "[0]"))
    for kind in ("commands", "slurm"):
        done = zoo_compare("--emit", kind)
        assert done.returncode == 0, done.stderr
    assert not (folder / "out" / "runs").exists()
    subprocess.run(["bash", "out/commands.sh"], check=True, capture_output=True)
    assert {run.state() for run in runs_of()} == {"done"}
    by_commands = folder / "by_commands"
    shutil.move(folder / "out" / "runs", by_commands)

    first, second = runs_of()
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "0"}
    with (folder / "said.txt").open("w") as stream:
        array = ["bash", "out/slurm_array.sh"]
        process = subprocess.Popen(array, env=environment, stdout=stream, stderr=stream)
        wait_for(lambda: num_lines(first.folder) >= 1)
        process.terminate()  # as Slurm does before the time limit
        assert process.wait(60) in (143, 0)  # 0: it was quicker
        assert first.images_seen() > 0
        for number in "01":
            environment["SLURM_ARRAY_TASK_ID"] = number
            subprocess.run(array, env=environment, check=True, stdout=stream, stderr=stream)
    for run in (first, second):
        assert_same_run(run.folder, by_commands / run.id)
    done = zoo_compare()
    assert done.returncode == 0, done.stderr
    assert {run.state for run in read_comparison(folder / "out/comparison.json").runs} == {"done"}


@pytest.mark.slow
def test_a_sweep_of_ours_shrunk_for_debugging(folder):
    command = zoo_command(
        "compare", "toonfaces", "--out", "out", "--cpu", "--debug", "--no-trivial"
    )
    command = [
        *command,
        "--only",
        "cut--photo2toon--seed0",
        "--only",
        "cyclegan--photo2toon+toon2photo--seed3",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = read_comparison(folder / "out" / "comparison.json")
    assert sum(run.state == "done" for run in made.runs) == 2
    assert len(made.runs) == 21
    assert made.cells["final"]["cut"]
    assert (
        made.cells["final"]["cyclegan"] == {}
    )  # a seed of the null comparison is none of the table
    assert sys.executable in (folder / "out" / "logs" / "cut--photo2toon--seed0.log").read_text()
