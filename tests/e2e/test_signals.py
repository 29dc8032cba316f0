"""SIGTERM and SIGINT: the step is finished and saved; a second one ends the run at once."""

import os
import signal
import threading
import time

import pytest

from tests.training import num_lines, recipe_of, start, train_here, wait, wait_for, with_method
from zoo import checkpoint
from zoo.registry import METHODS

LONG = "train.images=400"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_a_checkpoint(tmp_path, number, code):
    run, output = tmp_path / "run", tmp_path / "output.txt"
    child = start(lambda: train_here(recipe_of("cyclegan", LONG), run), output)
    wait_for(lambda: num_lines(run) >= 1)
    os.kill(child, number)
    assert wait(child) == code, output.read_text()
    seen = checkpoint.read_manifest(checkpoint.find(run))["images_seen"]
    assert 4 <= seen < 400
    assert "Traceback" not in output.read_text()


class Stuck(METHODS["cyclegan"]):
    """Its third step never ends."""

    def step(self, batch, update):
        while batch.step == 2:
            time.sleep(0.01)
        super().step(batch, update)


def test_a_second_signal_ends_it_at_once(tmp_path):
    run, output = tmp_path / "run", tmp_path / "output.txt"
    recipe = with_method(recipe_of("cyclegan", LONG), Stuck)
    child = start(lambda: train_here(recipe, run), output)
    wait_for(lambda: num_lines(run) >= 1)
    os.kill(child, signal.SIGTERM)
    time.sleep(0.3)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    os.kill(child, signal.SIGTERM)
    assert wait(child, seconds=20) == -signal.SIGTERM


def test_a_signal_while_a_run_begins_leaves_nothing(tmp_path):
    class Slow(METHODS["cyclegan"]):
        def state_dict(self, *arguments, **options):  # needed for the first checkpoint
            (tmp_path / "reached").touch()
            time.sleep(60)

    output = tmp_path / "output.txt"
    recipe = with_method(recipe_of("cyclegan", LONG), Slow)
    child = start(lambda: train_here(recipe, tmp_path / "runs/run"), output)
    wait_for((tmp_path / "reached").exists)
    os.kill(child, signal.SIGTERM)
    assert wait(child, seconds=20) == -signal.SIGTERM
    assert not (tmp_path / "runs/run").exists()
    train_here(recipe_of("cyclegan", "train.images=2"), tmp_path / "runs/run")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


def test_handlers_are_put_back(tmp_path):
    mine = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
        train_here(recipe_of("cyclegan", "train.images=2"), tmp_path / "run")
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    finally:
        signal.signal(signal.SIGTERM, mine)


def test_training_in_a_thread(tmp_path):
    """Only the main thread may handle signals; others train without."""
    recipe = recipe_of("cyclegan", "train.images=2")
    thread = threading.Thread(target=lambda: train_here(recipe, tmp_path / "run"))
    thread.start()
    thread.join()
    assert checkpoint.find(tmp_path / "run").name == "images_000000002"
