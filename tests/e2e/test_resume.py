"""A run that was cut by SIGTERM or SIGKILL ends as if it never had been, to the bit."""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.training import (
    CASES,
    ROOT,
    assert_same_run,
    metrics,
    num_lines,
    recipe_of,
    start,
    train_here,
    wait,
    wait_for,
    zoo_command,
)
from zoo import checkpoint
from zoo.recipe import dump_recipe, list_recipes, load_recipe

IMAGES = 28  # 14 steps
SETTINGS = [
    f"train.images={IMAGES}",
    "samples.every_images=12",
    "method.generator.width=4",
    "method.discriminator.width=4",
]


@pytest.fixture(scope="module", params=CASES)
def case(request, tmp_path_factory):
    """A recipe and the run that was never cut."""
    recipe = recipe_of(request.param, *SETTINGS, *CASES[request.param])
    return recipe, train_here(recipe, tmp_path_factory.mktemp("whole") / "run")


def debug_recipes():
    """Names of the debug recipes, without their folder."""
    return [name.removeprefix("debug/") for name in list_recipes() if name.startswith("debug/")]


def resume(run):
    train_here(load_recipe(run / "recipe.yaml"), run, resume=True)


def test_cut_by_sigterm(case, tmp_path):
    """The real command, the real signal, and the real command again."""
    recipe, whole = case
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe))
    run = tmp_path / "run"
    options = {
        "cwd": tmp_path,
        "env": {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    with subprocess.Popen(
        zoo_command("train", "recipe.yaml", "--out", run, "--cpu"), **options
    ) as process:
        wait_for(lambda: num_lines(run) >= 1 or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    seen = checkpoint.read_manifest(checkpoint.find(run))["images_seen"]
    assert 4 <= seen < IMAGES
    assert max(line["images"] for line in metrics(run)) <= seen

    if recipe.method.name == "cyclegan":
        again = zoo_command("train", "--resume", run, "--cpu")
        subprocess.run(again, **options, check=True, timeout=90)
    else:
        resume(run)
    assert_same_run(run, whole)


def test_cut_by_sigkill_again_and_again(case, tmp_path):
    """At random moments, with a checkpoint after every step, so that many hit a save."""
    _, whole = case
    often = load_recipe(whole / "recipe.yaml", ["checkpoint.every_images=2"])
    run, output, rng, kills = tmp_path / "run", tmp_path / "output.txt", random.Random(0), 0
    child = start(lambda: train_here(often, run), output)
    wait_for(run.exists)
    while True:
        if kills % 3:  # else it may be cut before it has come any further
            wait_for_a_line_of(child, run)
        time.sleep(rng.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        code = wait(child)
        if code == 0:
            break
        assert code == -signal.SIGKILL, output.read_text()
        kills += 1
        child = start(lambda: resume(run), output)
    assert kills >= 2
    assert not list((run / "checkpoints").glob("faulty_*"))
    assert_same_run(run, whole)


def wait_for_a_line_of(child, run):
    """Until it writes metrics or ends, after which it can still be waited for."""
    lines = num_lines(run)
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    wait_for(lambda: num_lines(run) > lines or os.waitid(os.P_PID, child, look) is not None)


def test_worker_processes_change_nothing(case, tmp_path):
    _, whole = case
    with_workers = load_recipe(whole / "recipe.yaml", ["data.workers=2"])
    assert_same_run(train_here(with_workers, tmp_path / "run"), whole)


@pytest.mark.parametrize("name", ["cut", "pix2pix"])
def test_bfloat16_resumes_to_the_bit(name, tmp_path):
    words = [*SETTINGS, "train.precision=bf16"]
    whole = train_here(recipe_of(name, *words, "train.images=8"), tmp_path / "whole")
    run = train_here(recipe_of(name, *words, "train.images=4"), tmp_path / "run")
    train_here(load_recipe(run / "recipe.yaml", ["train.images=8"]), run, resume=True)
    assert_same_run(run, whole)


def test_a_run_goes_on_from_the_older_checkpoint_if_the_newest_is_damaged(case, tmp_path, caplog):
    _, whole = case
    half = load_recipe(whole / "recipe.yaml", ["train.images=22"])  # saved at 18, too
    run = train_here(half, tmp_path / "run")
    newest = checkpoint.find(run)
    assert newest.name == "images_000000022"
    data = (newest / "weights.safetensors").read_bytes()
    (newest / "weights.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    train_here(load_recipe(run / "recipe.yaml", [f"train.images={IMAGES}"]), run, resume=True)
    assert "weights.safetensors does not have the SHA-256 that was written" in caplog.text
    assert [path.name for path in (run / "checkpoints").glob("faulty_*")]
    assert_same_run(run, whole)


@pytest.mark.parametrize("name", sorted(set(debug_recipes()) - set(CASES)))
def test_every_debug_recipe_survives_a_sigkill(name, tmp_path):
    """The methods that are no case above, each cut once, after its first lines."""
    recipe = load_recipe(f"debug/{name}", ["checkpoint.every_images=2", "samples.every_images=0"])
    whole = train_here(recipe, tmp_path / "whole")
    run, output = tmp_path / "run", tmp_path / "output.txt"
    child = start(lambda: train_here(recipe, run), output)
    wait_for_a_line_of(child, run)
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL, output.read_text()
    assert checkpoint.read_manifest(checkpoint.find(run))["images_seen"] < recipe.train.images
    resume(run)
    assert_same_run(run, whole)
