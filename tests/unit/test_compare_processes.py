"""Processes side by side: real ones, small, that end, fail, are stopped or left running."""

import os
import signal
import sys
from pathlib import Path

import pytest

from eval._compare import processes
from eval._compare.processes import Task, run_tasks, threads_of_each
from tests.training import start, wait, wait_for


def python(code: str, *words: str | Path) -> list[str]:
    return [sys.executable, "-S", "-c", code, *map(str, words)]


def task(folder: Path, name: str, *commands: list[str]) -> Task:
    return Task(name, commands, folder / f"{name}.log", folder / f"{name}.failed")


def test_one_that_fails_is_reported_and_the_others_go_on(tmp_path):
    said: list[str] = []
    good = python("print('well')")
    bad = python("import sys; print('error: no such face', file=sys.stderr); sys.exit(2)")
    cut = python("import os; os.kill(os.getpid(), 9)")
    tasks = [
        task(tmp_path, "bad", bad, good),
        task(tmp_path, "cut", cut),
        task(tmp_path, "good", good, good),
    ]
    assert run_tasks(tasks, 1, said.append) == {
        "bad": "exit code 2: no such face",
        "cut": "SIGKILL",
    }
    assert (tmp_path / "bad.failed").read_text() == "exit code 2: no such face\n"
    assert "well" not in (tmp_path / "bad.log").read_text().split("error")[1]  # not its second one
    assert (tmp_path / "good.log").read_text().count("\nwell") == 2
    assert not (tmp_path / "good.failed").exists()
    assert [line.partition(":")[0] for line in said] == ["bad", "bad", "cut", "cut", "good", "good"]
    assert said[0] == "bad: started, 1 of 3"
    assert said[1].startswith("bad: FAILED: exit code 2: no such face; see ")

    again = [task(tmp_path, "bad", good)]
    assert run_tasks(again, 1, said.append) == {}
    assert not (tmp_path / "bad.failed").exists()


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_as_many_run_side_by_side_as_asked(tmp_path, jobs):
    """Each process waits until it has seen as many others as may run, and no more ever do."""
    here = tmp_path / "here"
    here.mkdir()
    code = (
        "import os, sys, time\n"
        "here, own, most = sys.argv[1], sys.argv[2], int(sys.argv[3])\n"
        "open(os.path.join(here, own), 'w').close()\n"
        "end = time.monotonic() + 20\n"
        "while len(os.listdir(here)) < most: assert time.monotonic() < end; time.sleep(.005)\n"
        "count = len(os.listdir(here)); time.sleep(.05)\n"
        "print('seen', count)\n"
    )
    names = [f"n{i}" for i in range(jobs)]
    tasks = [task(tmp_path, name, python(code, here, name, jobs)) for name in names]
    tasks.append(
        task(tmp_path, "last", python("import os, sys; print(len(os.listdir(sys.argv[1])))", here))
    )
    assert run_tasks(tasks, jobs, lambda line: None) == {}
    assert all(f"seen {jobs}" in (tmp_path / f"{name}.log").read_text() for name in names)


def test_threads_and_jobs_fit_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for count in (1, 2, 8, 12):
        monkeypatch.setattr(processes, "cores", lambda count=count: count)
        for jobs in (1, 2, 3, 5):
            each = threads_of_each(jobs)
            assert each == 1 or each * jobs <= count
            assert (each + 1) * jobs > count  # as many as fit
    monkeypatch.setattr(processes, "cores", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads_of_each(1) == 2
    tasks = [task(tmp_path, "one", python("import os; print('T', os.environ['OMP_NUM_THREADS'])"))]
    run_tasks(tasks, 8, lambda line: None)
    assert "T 1" in (tmp_path / "one.log").read_text()


def test_each_place_has_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert processes.visible_gpus() == ["3", "5"]
    given = [
        processes.environment(slot, 3, ["3", "5"])["CUDA_VISIBLE_DEVICES"] for slot in range(3)
    ]
    assert given == ["3", "5", "3"]
    assert processes.environment(1, 2, ["3"])["CUDA_VISIBLE_DEVICES"] == "3,5"


PATIENT = """
import os, signal, sys, time
def save(number, frame):
    print("saved", flush=True)
    if sys.argv[2] == "stubborn":
        return
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
with open(sys.argv[1] + "~", "w") as file:
    file.write(str(os.getpid()))
os.rename(sys.argv[1] + "~", sys.argv[1])
time.sleep(60)
time.sleep(60)
"""


def runner(folder: Path, kind: str, jobs: int = 2):
    """`run_tasks` in a process of its own, with two patient tasks and one that waits."""

    def run():
        tasks = [task(folder, n, python(PATIENT, folder / f"{n}.there", kind)) for n in "ab"]
        tasks.append(task(folder, "c", python("print('never')")))
        run_tasks(tasks, jobs, lambda line: print(line, flush=True))

    child = start(run, folder / "said.txt")
    wait_for(lambda: (folder / "a.there").exists() and (folder / "b.there").exists())
    return child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_processes_once_and_they_are_waited_for(tmp_path, number):
    child = runner(tmp_path, "polite")
    os.kill(child, number)
    assert wait(child, 20) == 128 + number
    assert all((tmp_path / f"{n}.log").read_text().count("\nsaved") == 1 for n in "ab")
    assert not (tmp_path / "c.log").exists()
    assert not list(tmp_path.glob("*.failed"))  # to be stopped is no failure
    assert "stopping 2 processes" in (tmp_path / "said.txt").read_text()


def test_a_second_signal_kills_what_does_not_listen(tmp_path):
    child = runner(tmp_path, "stubborn")
    os.kill(child, signal.SIGTERM)
    wait_for(lambda: all("\nsaved" in (tmp_path / f"{n}.log").read_text() for n in "ab"))
    os.kill(child, signal.SIGTERM)
    assert wait(child, 20) == 143


def test_what_was_left_running_is_not_started_twice(tmp_path):
    child = runner(tmp_path, "polite")
    os.kill(child, signal.SIGKILL)
    wait(child)
    tasks = [task(tmp_path, n, python("print('twice')")) for n in "ac"]
    said: list[str] = []
    assert run_tasks(tasks, 2, said.append) == {"a": "another process is at work on it"}
    assert not (tmp_path / "a.failed").exists()
    for name in "ab":
        os.kill(int((tmp_path / f"{name}.there").read_text()), signal.SIGTERM)

    def free() -> bool:
        return run_tasks(tasks[:1], 1, said.append) == {}

    wait_for(free, 20)
    assert "twice" in (tmp_path / "a.log").read_text()


def test_how_far_things_are_is_told(tmp_path):
    said: list[str] = []
    slow = Task(
        "slow",
        [python("import time; time.sleep(.6)")],
        tmp_path / "slow.log",
        tmp_path / "slow.failed",
        lambda: "3/10 images",
    )
    quick = task(tmp_path, "quick", python("import time; time.sleep(.1)"))
    run_tasks([slow, quick, slow], 1, said.append, tell_every=0.2)
    assert "0 of 3 done; slow 3/10 images" in said
    assert any(line.startswith("2 of 3 done, about 0 s left; slow") for line in said)
