"""The training loop: run folders, logs, scores, averages, starting weights, precision."""

import contextlib
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

import zoo.checkpoint
from tests.training import (
    assert_same_run,
    assert_same_state,
    final_state,
    metrics,
    recipe_of,
    train_here,
    untrained,
    with_method,
)
from zoo import runlog
from zoo.cli import app
from zoo.describe import describe
from zoo.recipe import dump_recipe, load_recipe
from zoo.registry import METHODS, UserError
from zoo.runlog import RunLog
from zoo.trainer import Trainer, train
from zoo.translation import load_run


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Ten images in steps of two."""
    recipe = recipe_of("cyclegan", "train.images=10", "samples.every_images=8")
    return train_here(
        recipe, tmp_path_factory.mktemp("runs") / "run", command=["zoo", "train", "x"]
    )


# The run folder ---------------------------------------------------------------------------------


def test_what_a_run_leaves(run):
    left = [name for name in files(run) if not name.startswith("tensorboard")]
    checkpoints = [
        f"checkpoints/images_{images:09d}/{name}"
        for images in (6, 10)
        for name in ("manifest.json", "state.pt", "state_0.pt", "weights.safetensors")
    ]
    others = ["checkpoints/latest", "metrics.jsonl", "recipe.yaml", "samples/000000008.png"]
    assert left == sorted([*checkpoints, *others])
    assert not list(run.parent.glob(".*"))


def test_the_recipe_of_a_run_is_resolved_and_repeats_it(run, tmp_path):
    recipe = load_recipe(run / "recipe.yaml")
    told = recipe.provenance
    assert told["command"] == ["zoo", "train", "x"]
    assert told["versions"]["torch"] == torch.__version__
    assert (told["num_processes"], told["device"], told["precision"]) == (1, "cpu", "no")
    assert set(told["parameters"]) == {"ab", "ba", "discriminator_a", "discriminator_b"}
    again = train_here(recipe, tmp_path / "again")
    assert_same_run(again, run)


def test_what_auto_became_is_recorded(tmp_path):
    recipe = recipe_of("ugatit", "train.images=2")
    told = load_recipe(train_here(recipe, tmp_path / "run") / "recipe.yaml").provenance
    assert told["resolved"]["discriminator_a"]["num_layers"].keys() == {"global", "local"}
    assert "num_layers" in describe(recipe)


def test_the_callers_recipe_is_not_changed(tmp_path):
    recipe = recipe_of("cyclegan", "train.images=2")
    before = dump_recipe(recipe)
    train_here(recipe, tmp_path / "run")
    assert dump_recipe(recipe) == before


def test_a_folder_that_exists_is_not_touched(run, tmp_path):
    before = {name: (run / name).read_bytes() for name in files(run)}
    with pytest.raises(UserError, match=rf"{run} exists; .*--resume {run}"):
        train_here(recipe_of("cyclegan"), run)
    assert {name: (run / name).read_bytes() for name in files(run)} == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file exists"):
        train_here(recipe_of("cyclegan"), tmp_path / "file")
    refused = CliRunner().invoke(app, ["train", "debug/cyclegan", "--out", str(run)])
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"error: {run} exists")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data={name: unpaired, root: /nowhere/at/all}"], "/nowhere/at/all does not exist"),
        (["train.init.run=/nowhere"], "/nowhere does not exist"),
        (["optim.players={critic: {lr: 1}}"], "no player 'critic'"),
        (["train.precision=fp16"], "fp16, which without a GPU runs unscaled"),
    ],
)
def test_a_beginning_that_fails_leaves_nothing(tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        train_here(recipe_of("cyclegan", *overrides), tmp_path / "deep/run")
    assert list(tmp_path.iterdir()) == []


def test_a_first_checkpoint_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zoo.checkpoint, "save_file", full)
    with pytest.raises(UserError, match="is the disk full"):
        train_here(recipe_of("cyclegan"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / ".run.unfinished").mkdir()  # as a killed one would leave it
    (tmp_path / ".run.unfinished/recipe.yaml").write_text("half")
    train_here(recipe_of("cyclegan", "train.images=2"), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/run cannot be made: Not a directory"):
        train_here(recipe_of("cyclegan"), tmp_path / "file/run")


@pytest.mark.parametrize("slow", [0, 1, 30])
def test_the_share_of_time_that_training_waits_is_logged(tmp_path, slow, monkeypatch):
    clock = 0.0

    def batches():
        nonlocal clock
        for number in range(9):
            clock += slow * (number >= 3)  # seconds
            yield number

    monkeypatch.setattr(runlog, "time", SimpleNamespace(monotonic=lambda: clock))
    nothing = {"lr": {}, "terms": {}, "weighted": {}, "total": {}}
    with contextlib.closing(RunLog(tmp_path, 9, 0, enabled=True)) as log:
        for number in log.waiting(batches()):
            clock += 10
            if number % 3 == 2:
                log.training(number + 1, number + 1, nothing)
        shown = log._progress.tasks[0].fields["speed"]
    lines = [json.loads(text) for text in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    share = round(slow / (slow + 10), 4)
    assert [line["waiting"] for line in lines] == [0, share, share]
    assert ("waiting for data" in shown) == (share > 0.05)


def test_metrics_that_cannot_be_written(tmp_path, monkeypatch):
    def without_room(self, images_seen, step, line):
        self.file = self.run  # a folder
        training(self, images_seen, step, line)

    training = RunLog.training
    monkeypatch.setattr(RunLog, "training", without_room)
    with pytest.raises(UserError, match=r"run cannot be written: Is a directory"):
        train_here(recipe_of("cyclegan"), tmp_path / "run")


def test_a_disk_that_fills_later_keeps_what_was_saved(tmp_path, monkeypatch):
    save, calls = zoo.checkpoint.save_file, []

    def full_at_third(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        save(*arguments)

    monkeypatch.setattr(zoo.checkpoint, "save_file", full_at_third)
    recipe = recipe_of("cyclegan", "train.images=20")
    with pytest.raises(UserError, match=r"No space left on device.*Earlier checkpoints"):
        train_here(recipe, tmp_path / "run")
    assert zoo.checkpoint.find(tmp_path / "run").name == "images_000000006"
    train_here(recipe, tmp_path / "run", resume=True)
    assert zoo.checkpoint.find(tmp_path / "run").name == "images_000000020"


def test_resuming_needs_a_run(tmp_path):
    with pytest.raises(UserError, match="has no complete checkpoint"):
        train_here(recipe_of("cyclegan"), tmp_path / "none", resume=True)


def test_more_images_are_written_into_the_recipe(tmp_path):
    recipe = recipe_of("cyclegan", "train.images=4")
    run = train_here(recipe, tmp_path / "run", command=["first"])
    longer = load_recipe(run / "recipe.yaml", ["train.images=8"])
    train_here(longer, run, resume=True)
    stored = load_recipe(run / "recipe.yaml")
    assert stored.train.images == 8
    assert stored.provenance["command"] == ["first"]
    before = final_state(run)
    train_here(stored, run, resume=True)  # nothing is left to do
    assert_same_state(final_state(run), before)


# Logs -------------------------------------------------------------------------------------------


def test_lines_of_metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [(line["images"], line["step"]) for line in lines] == [(4, 2), (8, 4)]
    line = lines[0]
    sides = {"adversarial": ("a2b", "b2a"), "cycle": "ab", "identity": "ab"}
    generators = [f"{term}/{side}" for term in sides for side in sides[term]]
    judges = [f"discriminator/{side}/{part}" for side in "ab" for part in ("real", "fake")]
    assert set(line["terms"]) == set(line["weighted"]) == {*generators, *judges}
    weights = {"adversarial": 1, "cycle": 10, "identity": 5, "discriminator": 0.5}
    for key, value in line["terms"].items():
        assert line["weighted"][key] == pytest.approx(weights[key.partition("/")[0]] * value)
    assert line["total"] == pytest.approx(
        {
            "generators": sum(line["weighted"][key] for key in generators),
            "discriminators": sum(line["weighted"][key] for key in judges),
        }
    )
    assert line["lr"] == {"generators": 2e-4, "discriminators": 2e-4}
    assert lines[0]["seconds"] < lines[1]["seconds"]
    assert lines[0]["images_per_s"] > 0


def test_a_line_is_the_mean_over_its_steps(run, tmp_path):
    often = train_here(
        recipe_of("cyclegan", "train.images=10", "log.every_images=2"), tmp_path / "run"
    )
    steps, pairs = metrics(often), metrics(run)
    for i, pair in enumerate(pairs):
        for key, value in pair["terms"].items():
            two = [step["terms"][key] for step in steps[2 * i : 2 * i + 2]]
            assert value == pytest.approx(np.mean(two), rel=1e-12)


def test_logging_sampling_saving_and_scoring_do_not_disturb_training(run, tmp_path):
    def evaluate(translate, images_seen):
        translate(torch.rand(2, 3, 32, 32), "a2b")
        torch.manual_seed(images_seen)
        return {}

    recipe = recipe_of(
        "cyclegan",
        "train.images=10",
        "log.every_images=9999",
        "samples.every_images=2",
        "checkpoint.every_images=2",
        "evaluate.every_images=4",
    )
    busy = train_here(recipe, tmp_path / "busy", evaluate=evaluate)
    ours = load_file(zoo.checkpoint.find(busy) / "weights.safetensors")
    assert_same_state(ours, load_file(zoo.checkpoint.find(run) / "weights.safetensors"))


def test_a_weight_without_a_term_is_told_once(tmp_path, caplog):
    class Lazy(METHODS["cyclegan"]):
        def step(self, batch, update):
            def without_cycle_b(player, terms):
                update(player, {k: v for k, v in terms.items() if k != "cycle/b"})

            super().step(batch, without_cycle_b)

    recipe = with_method(recipe_of("cyclegan", "train.images=12"), Lazy)
    with caplog.at_level(logging.WARNING, "zoo"):
        train_here(recipe, tmp_path / "run")
    (record,) = [r for r in caplog.records if r.name == "zoo.trainer"]
    message = record.getMessage()
    assert message.startswith("method.weights.cycle.b is 10, but after 4 images no such term")


def test_no_warning_without_reason(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "zoo"):
        for method in ("cyclegan", "ugatit"):
            train_here(recipe_of(method, "train.images=4"), tmp_path / method)
    assert caplog.records == []


def test_grids_show_the_weights_that_translate(tmp_path):
    """In evaluation mode, and averaged ones where there are any."""
    recipe = recipe_of(
        "cyclegan",
        "train.images=20",
        "samples.every_images=20",
        "samples.num_images=1",
        "ema.halflife_images=4",
        "method.generator.norm=batch",
        "optim.lr=0.01",
    )
    trained = train_here(recipe, tmp_path / "run")
    with Image.open(trained / "samples/000000020.png") as opened:
        grid = np.asarray(opened)
    run = load_run(trained, weights="ema")
    source = run.dataset().domain("test", "a")[0]
    translated = run.translate(source)
    top = grid.shape[0] - 32
    assert np.array_equal(grid[top:, :32], source)
    assert np.abs(grid[top:, 34:66].astype(int) - translated).max() <= 1
    raw = load_run(trained, weights="raw").translate(source)
    assert np.abs(raw.astype(int) - translated).max() > 5


def test_no_grids_without_test_images(tmp_path):
    root = tmp_path / "data"
    for side in "AB":
        (root / f"train{side}").mkdir(parents=True)
        for i in range(2):
            Image.new("RGB", (40, 40), (100 * i, 50, 0)).save(root / f"train{side}/{i}.png")
    words = [f"data={{name: unpaired, root: {root}, size: 32}}", "train.images=2"]
    recipe = load_recipe("debug/cyclegan", [*words, "samples.every_images=0"])
    assert (train_here(recipe, tmp_path / "run") / "recipe.yaml").is_file()


# Scores -----------------------------------------------------------------------------------------


class Scores:
    """Gives one score after the other, and looks at what it gets."""

    best_metric = "kid"

    def __init__(self, *values):
        self.values, self.seen, self.outputs = list(values), [], []

    def __call__(self, translate, images_seen):
        x = torch.zeros(1, 3, 32, 32)
        self.outputs.append({d: translate(x, d) for d in ("a2b", "b2a")})
        self.seen.append(images_seen)
        return {"kid": self.values[len(self.seen) - 1], "other": 1.0}


def scored(tmp_path, *values, **options):
    recipe = recipe_of(
        "cyclegan", "train.images=16", "evaluate.every_images=4", "ema.halflife_images=5"
    )
    evaluate = Scores(*values)
    return train_here(recipe, tmp_path / "run", evaluate=evaluate, **options), evaluate


def test_the_best_checkpoint_is_kept_besides_the_newest(tmp_path):
    run, evaluate = scored(tmp_path, 3.0, 1.0, 2.0, float("nan"))
    assert evaluate.seen == [4, 8, 12, 16]
    names = sorted(path.name[-2:] for path in (run / "checkpoints").glob("images_*"))
    assert names == ["08", "12", "16"]
    assert zoo.checkpoint.find(run, "best").name == "images_000000008"
    scores = [line for line in metrics(run) if "scores" in line]
    assert [line["images"] for line in scores] == [4, 8, 12, 16]
    assert scores[1]["scores"] == {"kid": 1.0, "other": 1.0}
    best = load_run(run, checkpoint="best")
    x = torch.zeros(1, 3, 32, 32)
    for direction, output in evaluate.outputs[1].items():  # the averaged weights were scored
        assert torch.equal(best.translate(x, direction), output)


def test_a_score_that_is_not_a_number_is_never_the_best(tmp_path):
    run, _ = scored(tmp_path, float("nan"), 5.0, 7.0, 6.0)
    assert zoo.checkpoint.find(run, "best").name == "images_000000008"


def test_the_best_is_remembered_by_a_resumed_run(tmp_path):
    run, _ = scored(tmp_path, 3.0, 1.0, 2.0, 4.0)
    longer = load_recipe(run / "recipe.yaml", ["train.images=24"])
    evaluate = Scores(1.5, 0.5)
    train_here(longer, run, resume=True, evaluate=evaluate)
    assert evaluate.seen == [20, 24]
    assert zoo.checkpoint.find(run, "best").name == "images_000000024"
    state = zoo.checkpoint.load_state(zoo.checkpoint.find(run), 0)[1]
    assert state["best"]["score"] == 0.5


# Starting weights -------------------------------------------------------------------------------


def weights_at_start(recipe, folder):
    trainer = Trainer(recipe, folder, None, cpu=True)
    trainer.begin(["zoo"])
    state = {name: t.clone() for name, t in trainer.method.state_dict().items()}
    assert trainer.progress.step == 0
    for optimizer in trainer.update.optimizers.values():
        assert not any(t.any() for moments in optimizer.state.values() for t in moments.values())
    if trainer.ema is not None:
        for name, average in zip(trainer._translator_names(), trainer.ema.state(), strict=True):
            assert torch.equal(average, state[name])
    return state


def test_all_weights_of_another_run(run, tmp_path):
    recipe = recipe_of("cyclegan", f"train.init.run={run}", "train.seed=5", "ema.halflife_images=9")
    stored = load_file(zoo.checkpoint.find(run) / "weights.safetensors")
    assert_same_state(weights_at_start(recipe, tmp_path / "new"), stored)
    told = load_recipe(tmp_path / "new/recipe.yaml").provenance["starting_weights"]
    file = zoo.checkpoint.find(run) / "weights.safetensors"
    assert told == f"{file} {zoo.checkpoint.sha256_of(file)}"


def test_some_networks_of_another_run(run, tmp_path):
    words = ["train.seed=5"]
    fresh = weights_at_start(recipe_of("cyclegan", *words), tmp_path / "fresh")
    words += [f"train.init.run={run}", "train.init.networks=[ab]"]
    mixed = weights_at_start(recipe_of("cyclegan", *words), tmp_path / "mixed")
    stored = load_file(zoo.checkpoint.find(run) / "weights.safetensors")
    assert any(name.startswith("ab.") for name in mixed)
    for name, value in mixed.items():
        assert torch.equal(value, (stored if name.startswith("ab.") else fresh)[name]), name


def test_it_is_not_resuming(run, tmp_path):
    recipe = recipe_of("cyclegan", f"train.init.run={run}", "train.images=4")
    new = train_here(recipe, tmp_path / "new")
    assert [line["images"] for line in metrics(new)] == [4]
    assert zoo.checkpoint.read_manifest(zoo.checkpoint.find(new))["step"] == 2


def test_a_resumed_run_does_not_need_the_other_run_again(tmp_path):
    other = untrained(recipe_of("cyclegan"), tmp_path / "other")
    recipe = recipe_of("cyclegan", f"train.init.run={other}", "train.images=4")
    run = train_here(recipe, tmp_path / "run")
    other.rename(tmp_path / "gone")
    longer = load_recipe(run / "recipe.yaml", ["train.images=8"])
    train_here(longer, run, resume=True)
    assert zoo.checkpoint.find(run).name == "images_000000008"


def test_weights_that_do_not_fit_are_listed(run, tmp_path):
    wider = ["method.generator.width=16", f"train.init.run={run}"]
    with pytest.raises(UserError) as error:
        train_here(recipe_of("cyclegan", *wider), tmp_path / "new")
    message = str(error.value)
    assert "weights of" in message.splitlines()[0]
    assert "do not fit; train.init.networks takes some of ab, ba, discriminator_a" in message
    assert f"ab.layers.1.weight: (16, 3, 7, 7) here, (8, 3, 7, 7) in {run}" in message
    assert message.splitlines()[-1].strip().startswith("and ")
    train_here(
        recipe_of("cyclegan", *wider, "train.init.networks=[discriminator_a]", "train.images=2"),
        tmp_path / "new",
    )


def test_an_unknown_network_is_named(run, tmp_path):
    words = [f"train.init.run={run}", "train.init.networks=[discriminator]"]
    with pytest.raises(UserError, match=r"'discriminator'.*Did you mean 'discriminator_[ab]'\?"):
        train_here(recipe_of("cyclegan", *words), tmp_path / "new")


# Precision --------------------------------------------------------------------------------------


def test_the_launchers_precision_wins_and_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    recipe = recipe_of("cyclegan", "train.images=4")
    run = train_here(recipe, tmp_path / "bf16")
    assert load_recipe(run / "recipe.yaml").train.precision == "bf16"
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")  # what it says when none was given
    same = recipe_of("cyclegan", "train.images=4", "train.precision=bf16")
    own = train_here(same, tmp_path / "own")
    assert metrics(own) == metrics(run)
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION")
    full = train_here(recipe, tmp_path / "no")  # another precision in the same process
    assert metrics(full) != metrics(run)
    ours, theirs = metrics(full)[0]["terms"], metrics(run)[0]["terms"]
    assert ours == pytest.approx(theirs, rel=0.05)
    weights = load_file(zoo.checkpoint.find(run) / "weights.safetensors")
    assert all(t.dtype == torch.float32 for t in weights.values())


@pytest.mark.parametrize(
    ("precision", "message"), [("fp16", "without a GPU"), ("fp8", "'fp8' is not supported")]
)
def test_precisions_that_cannot_be_had(tmp_path, monkeypatch, precision, message):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
    with pytest.raises(UserError, match=message):
        train_here(recipe_of("cyclegan"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_images_after_the_end_of_the_schedule_are_warned_of(tmp_path, caplog):
    settings = ["train.images=4", "optim.schedule={constant_images: 1, decay_images: 1}"]
    with caplog.at_level("WARNING", "zoo.trainer"):
        train(recipe_of("ugatit", *settings), tmp_path / "run", cpu=True)
    assert "train.images is 4, but optim.schedule ends at a rate of 0 after 2 images" in caplog.text
    caplog.clear()
    train(recipe_of("ugatit", "train.images=2", settings[1]), tmp_path / "planned", cpu=True)
    assert "schedule" not in caplog.text
