"""Several processes: one launched by accelerate, the others forked here, all on the CPU."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from tests.training import (
    CASES,
    ROOT,
    assert_same_run,
    assert_same_state,
    metrics,
    num_lines,
    recipe_of,
    run_several,
    spoiled,
    start_several,
    train_here,
    wait,
    wait_for,
    with_method,
)
from zoo import checkpoint, update
from zoo.divergence import TrainingDiverged
from zoo.ema import Ema
from zoo.protocols import Batch
from zoo.recipe import dump_recipe, load_recipe
from zoo.registry import METHODS, UserError
from zoo.runs import build_method
from zoo.trainer import Trainer

SMALL = ("method.generator.width=4", "method.discriminator.width=4")


def recipe_for(method, *overrides):
    return recipe_of(method, *SMALL, *CASES[method], "train.images=12", *overrides)


# The real launcher ------------------------------------------------------------------------------


def launch(run):
    accelerate = Path(sys.executable).parent / "accelerate"
    words = "launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    words += f" --dynamo_backend no --main_process_port 0 -m zoo train recipe.yaml --out {run.name}"
    environment = {
        **os.environ,
        "ACCELERATE_USE_CPU": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.run(
        [accelerate, *words.split()],
        cwd=run.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_accelerate_launch(tmp_path):
    """Accelerate's own `--cpu` would silently start one process, hence the count is checked."""
    (tmp_path / "recipe.yaml").write_text(dump_recipe(recipe_for("cyclegan")))
    run = tmp_path / "run"
    done = launch(run)
    if done.returncode:  # gloo sometimes fails while its processes part, after all is done
        print("launching once more after:", done.stderr)
        run = tmp_path / "again"
        done = launch(run)
    assert done.returncode == 0, done.stderr
    assert load_recipe(run / "recipe.yaml").provenance["num_processes"] == 2
    newest = checkpoint.find(run)
    assert checkpoint.read_manifest(newest)["num_processes"] == 2
    assert newest.name == "images_000000012"
    assert [line["images"] for line in metrics(run)] == [4, 8, 12]  # written once

    forked = tmp_path / "forked"
    run_several(2, lambda rank: train_here(recipe_for("cyclegan"), forked), tmp_path / "logs")
    assert_same_run(run, forked)


# Trainings of two -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    """A recipe, its run by two processes, and a folder with every process's weights by step."""
    folder = tmp_path_factory.mktemp("pair")
    recipe = recipe_for(request.param)

    def work(rank):
        trainer = Trainer(recipe, folder / "run", None, cpu=True)
        trainer.begin(["zoo"])
        assert trainer.accelerator.num_processes == 2
        after_step, hashes = trainer._after_step, []

        def watch():
            tensors = [*trainer.method.state_dict().values(), *(trainer.ema or Ema([], 1)).state()]
            hashes.append(torch.hash_tensor(torch.cat([t.flatten() for t in tensors])).item())
            after_step()

        trainer._after_step = watch
        trainer.run_to_end()
        torch.save(hashes, folder / f"hashes_{rank}.pt")

    run_several(2, work, folder / "logs")
    return recipe, folder / "run", folder


def test_all_processes_hold_the_same_weights_after_every_step(pair):
    _, _, folder = pair
    first, second = (torch.load(folder / f"hashes_{rank}.pt") for rank in range(2))
    assert first == second
    assert len(set(first)) == 6  # and they move


def test_pools_are_kept_apart(pair):
    recipe, run, _ = pair
    newest = checkpoint.find(run)
    pools = [torch.load(newest / f"state_{rank}.pt") for rank in range(2)]
    if recipe.method.name != "cyclegan":
        assert pools == [{}, {}]
        return
    for name in ("pool_a", "pool_b"):
        one, other = (torch.stack(pool[name]) for pool in pools)
        assert one.shape == other.shape == (2, 3, 32, 32)
        assert not torch.equal(one, other)


def test_two_processes_go_on_to_the_bit(pair, tmp_path):
    recipe, whole, _ = pair
    run = tmp_path / "run"
    half = recipe_for(recipe.method.name, "train.images=6")
    run_several(2, lambda rank: train_here(half, run), tmp_path / "logs")

    def go_on(rank):
        train_here(load_recipe(run / "recipe.yaml", ["train.images=12"]), run, resume=True)

    run_several(2, go_on, tmp_path / "logs")
    assert_same_run(run, whole)


def test_one_process_cannot_take_over_from_two(pair):
    _, run, _ = pair
    with pytest.raises(UserError, match=r"trained by 2 processes.*not by 1.*train\.init\.run"):
        train_here(load_recipe(run / "recipe.yaml"), run, resume=True)


def test_a_batch_that_two_cannot_share(tmp_path):
    def work(rank):
        with pytest.raises(UserError, match=r"train\.batch is 1, .*train\.batch=2"):
            train_here(recipe_for("cyclegan", "train.batch=1"), tmp_path / "run")

    run_several(2, work, tmp_path / "logs")
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]


def test_a_signal_stops_all_of_them(tmp_path):
    run = tmp_path / "run"
    recipe = recipe_for("cyclegan", "train.images=4000")
    children = start_several(2, lambda rank: train_here(recipe, run), tmp_path / "logs")
    wait_for(lambda: num_lines(run) >= 2)
    os.kill(children[1], signal.SIGTERM)  # one is enough
    assert [wait(child) for child in children] == [143, 143]
    assert checkpoint.read_manifest(checkpoint.find(run))["num_processes"] == 2


def test_a_fault_of_one_process_stops_all_of_them(tmp_path):
    """Process 1 has the bad term; both keep the state of the step before and name all images."""
    kept = recipe_for("cyclegan", "train.images=6")
    run_several(2, lambda rank: train_here(kept, tmp_path / "kept"), tmp_path / "logs")

    def work(rank):
        recipe = recipe_for("cyclegan", "train.images=12")
        if rank == 1:
            recipe = with_method(recipe, spoiled("cyclegan", "discriminators", 3))
        trainer = Trainer(recipe, tmp_path / "run", None, cpu=True)
        trainer.begin(["zoo"])
        with pytest.raises(TrainingDiverged, match=r"step 3 .*discriminator/b/real") as error:
            trainer.run_to_end()
        assert str(error.value).count(".png with ") == 2
        save_file(trainer.method.state_dict(), tmp_path / f"left_{rank}.safetensors")
        torch.save(trainer.method.extra_state(), tmp_path / f"pools_{rank}.pt")

    run_several(2, work, tmp_path / "logs")
    folder = checkpoint.find(tmp_path / "kept")
    expected = load_file(folder / "weights.safetensors")
    for rank in range(2):
        assert_same_state(load_file(tmp_path / f"left_{rank}.safetensors"), expected)
        pools, wanted = (
            torch.load(tmp_path / f"pools_{rank}.pt"),
            torch.load(folder / f"state_{rank}.pt"),
        )
        for name, images in wanted.items():
            assert torch.equal(torch.stack(pools[name]), torch.stack(images))


def test_every_process_draws_its_own_random_numbers(tmp_path):
    class Noisy(METHODS["cyclegan"]):
        def step(self, batch, update):
            drawn.append(torch.rand(1).item())
            super().step(batch, update)

    drawn = []

    def work(rank):
        recipe = with_method(recipe_for("cyclegan", "train.images=4"), Noisy)
        train_here(recipe, tmp_path / "run")
        torch.save(drawn, tmp_path / f"drawn_{rank}.pt")

    run_several(2, work, tmp_path / "logs")
    numbers = [number for rank in range(2) for number in torch.load(tmp_path / f"drawn_{rank}.pt")]
    assert len(set(numbers)) == len(numbers) == 4


# Two equal one ----------------------------------------------------------------------------------

STEPS = 3
NO_CHANCE = {  # nor batch statistics; every patch, in whatever order
    "cyclegan": ("method.pool_size=0",),
    "pix2pix": (
        "method.generator={norm: instance, dropout: 0}",
        "method.discriminator.norm=instance",
    ),
    "cut": ("method.taps=[8, 12]", "method.num_patches=256"),
}


def sharp(method, folder, processes, rank):
    """Steps in float64 on a share of fixed batches of 4; terms and weights go to a file."""
    recipe = recipe_of(method, *SMALL, *NO_CHANCE.get(method, ()), "optim={name: sgd, lr: 0.01}")
    if processes > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(0)
    net = build_method(recipe, None).double()
    updater = update.Updater(net, recipe.optim, Ema(net.translators(), 10))
    share = 4 // processes
    mine = slice(rank * share, (rank + 1) * share)
    for step in range(STEPS):
        rng = torch.Generator().manual_seed(step)
        shape = (4, 3, 32, 32)
        a, b = (torch.rand(shape, generator=rng, dtype=torch.float64) * 2 - 1 for _ in "ab")
        batch = Batch(a[mine], b[mine], step, 4 * step)
        updater.start(batch)
        updater.step(batch)
    records = updater.records()
    found = dict(net.state_dict())
    found |= {f"ema.{i}": t for i, t in enumerate(updater.ema.state())}
    found["terms"] = torch.tensor([list(r.terms.values()) for r in records], dtype=torch.float64)
    save_file({name: t.contiguous() for name, t in found.items()}, folder / f"{processes}_{rank}")
    if processes > 1:
        dist.destroy_process_group()


@pytest.mark.parametrize("method", CASES)
def test_two_processes_equal_one_in_float64(method, tmp_path, monkeypatch):
    """Sums over images, no pool: averaged gradients of halves are those of the whole."""
    monkeypatch.setattr(update, "_BUCKET_BYTES", 20_000)  # several buckets
    sharp(method, tmp_path, 1, 0)
    run_several(2, lambda rank: sharp(method, tmp_path, 2, rank), tmp_path / "logs")
    alone = load_file(tmp_path / "1_0")
    both = [load_file(tmp_path / f"2_{rank}") for rank in range(2)]
    assert_same_state(*both)
    for name, value in alone.items():
        tolerance = 1e-6 if name == "terms" else 1e-12  # terms are kept in float32
        assert (both[0][name] - value).abs().max() <= tolerance * value.abs().max() + 1e-14, name


BUCKETS = [1, 100, 10**6]  # each gradient alone, some together, all of a type


@pytest.mark.parametrize("nbytes", BUCKETS)
def test_gradients_are_averaged_whatever_the_buckets(tmp_path, nbytes):
    def work(rank):
        dist.init_process_group("gloo")
        update._BUCKET_BYTES = nbytes
        torch.manual_seed(0)
        kinds = [torch.float32, torch.float64, torch.float64, torch.float32, torch.float32]
        sizes = [(3, 5, 2, 2), (2,), (50,), (1,), ()]
        parameters = [
            torch.nn.Parameter(torch.zeros(size, dtype=kind))
            for size, kind in zip(sizes, kinds, strict=True)
        ]
        both = [torch.randn(2, *p.shape, dtype=p.dtype) for p in parameters]
        for p, gradients in zip(parameters, both, strict=True):
            p.grad = gradients[rank].clone()
        parameters[0].grad = parameters[0].grad.to(memory_format=torch.channels_last)
        kept = [p.grad for p in parameters]
        parameters.append(torch.nn.Parameter(torch.zeros(2)))  # without a gradient
        update.average_gradients(parameters)
        for p, gradients, before in zip(parameters, both, kept, strict=False):
            assert p.grad is before
            assert torch.equal(p.grad, (gradients[0] + gradients[1]) / 2)
        assert parameters[-1].grad is None
        dist.destroy_process_group()

    run_several(2, work, tmp_path / "logs")


def test_logged_terms_are_those_of_the_whole_batch(tmp_path):
    recipe = recipe_of("cyclegan", *SMALL, "method.pool_size=0", "train.images=4")
    train_here(recipe, tmp_path / "one")
    run_several(2, lambda rank: train_here(recipe, tmp_path / "two"), tmp_path / "logs")
    (one,), (two,) = metrics(tmp_path / "one"), metrics(tmp_path / "two")
    assert two["terms"] == pytest.approx(one["terms"], rel=1e-4)
