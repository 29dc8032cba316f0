"""A step with a term that is not finite ends the run with the state before it, saved."""

import pytest
import torch

from tests.training import (
    CASES,
    assert_same_state,
    final_state,
    num_lines,
    recipe_of,
    spoiled,
    with_method,
)
from zoo import checkpoint
from zoo import trainer as loop
from zoo.divergence import TrainingDiverged
from zoo.trainer import Trainer

SETTINGS = ("method.generator.width=4", "method.discriminator.width=4")
UNSEEN = ("log.every_images=9999", "checkpoint.every_images=9999")


def state_of(trainer):
    """Weights, buffers, moments, averages, pools."""
    found = {name: t.clone() for name, t in trainer.method.state_dict().items()}
    for player, optimizer in trainer.update.optimizers.items():
        for i, moments in optimizer.state_dict()["state"].items():
            found |= {f"{player}.{i}.{key}": t.clone() for key, t in moments.items()}
    for pool, images in trainer.method.extra_state().items():
        found |= {f"{pool}.{i}": image for i, image in enumerate(images)}
    if trainer.ema is not None:
        found |= {f"ema.{i}": t for i, t in enumerate(trainer.ema.state())}
    return found


def begun(recipe, out):
    trainer = Trainer(recipe, out, None, cpu=True)
    trainer.begin(["zoo"])
    return trainer


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The state after so many steps without a fault."""
    kept = {}

    def after(method, steps):
        if (method, steps) not in kept:
            images = f"train.images={max(1, 2 * steps)}"
            recipe = recipe_of(method, *CASES[method], *SETTINGS, images)
            trainer = begun(recipe, tmp_path_factory.mktemp("healthy") / "run")
            if steps:
                trainer.run_to_end()
            kept[method, steps] = state_of(trainer), final_state(trainer.out)
        return kept[method, steps]

    return after


@pytest.mark.parametrize("seen_late", [False, True])
@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("player", ["generators", "discriminators"])
@pytest.mark.parametrize("method", CASES)
def test_the_state_is_that_of_the_step_before(method, player, at, seen_late, tmp_path, healthy):
    late = UNSEEN if seen_late else ()
    recipe = recipe_of(method, *CASES[method], *SETTINGS, "train.images=16", *late)
    trainer = begun(with_method(recipe, spoiled(method, player, at)), tmp_path / "run")
    with pytest.raises(TrainingDiverged) as error:
        trainer.run_to_end()
    assert_same_state(state_of(trainer), healthy(method, at)[0])
    saved, expected = final_state(tmp_path / "run"), healthy(method, at)[1]
    if seen_late:  # it has not logged either
        saved, expected = without_unlogged(saved), without_unlogged(expected)
    assert_same_state(saved, expected)

    message = str(error.value)
    term = {
        ("cyclegan", "generators"): "adversarial/a2b",
        ("cyclegan", "discriminators"): "discriminator/b/real, discriminator/b/fake",
        ("ugatit", "generators"): "adversarial/a2b",
        ("ugatit", "discriminators"): "discriminator/a/real, discriminator/a/fake",
        ("pix2pix", "generators"): "adversarial",
        ("pix2pix", "discriminators"): "discriminator/real, discriminator/fake",
        ("cut", "generators"): "adversarial",
        ("cut", "discriminators"): "discriminator/real, discriminator/fake",
    }[method, player]
    assert message.startswith(f"step {at} (after {2 * at} images) is not finite: {term}")
    batch = trainer_files(recipe, at)
    assert f"images: {batch[0][0]} with {batch[0][1]}; {batch[1][0]} with {batch[1][1]}" in message

    newest = checkpoint.find(tmp_path / "run")
    assert checkpoint.read_manifest(newest)["images_seen"] == 2 * at
    assert num_lines(tmp_path / "run") <= at // 2


@pytest.mark.parametrize("micro_batch", [0, 1])
@pytest.mark.parametrize(
    ("method", "player"),
    [("cyclegan", "generators"), ("ugatit", "generators"), ("ugatit", "discriminators")],
)
def test_a_bad_micro_batch_leaves_the_step_before(method, player, micro_batch, tmp_path):
    at, settings = 3, (*CASES[method], *SETTINGS, "train.accumulate=2")
    healthy = begun(recipe_of(method, *settings, f"train.images={2 * at}"), tmp_path / "healthy")
    healthy.run_to_end()
    recipe = recipe_of(method, *settings, "train.images=16")
    cls = spoiled(method, player, at, micro_batch)
    trainer = begun(with_method(recipe, cls), tmp_path / "run")
    with pytest.raises(TrainingDiverged, match=f"step {at} "):
        trainer.run_to_end()
    assert cls.asked > micro_batch
    assert_same_state(state_of(trainer), state_of(healthy))
    assert_same_state(final_state(tmp_path / "run"), final_state(tmp_path / "healthy"))


def without_unlogged(state):
    return {key: value for key, value in state.items() if ".unlogged" not in key}


def trainer_files(recipe, step):
    """The names that the batch of a step has."""
    from zoo.data.loader import training_batches

    (batch,) = training_batches(
        recipe.data.build(),
        recipe.data.config,
        seed=recipe.train.seed,
        batch=2,
        steps=range(step, step + 1),
        device=torch.device("cpu"),
    )
    return batch.files


def test_terms_are_looked_at_from_time_to_time_only(tmp_path, monkeypatch):
    assert loop._MOST_STEPS_UNSEEN <= 32
    monkeypatch.setattr(loop, "_MOST_STEPS_UNSEEN", 4)
    recipe = recipe_of("cyclegan", *SETTINGS, "train.images=40", *UNSEEN)
    cls = spoiled("cyclegan", "generators", 5)
    trainer = begun(with_method(recipe, cls), tmp_path / "run")
    looks, records = [], trainer.update.records
    trainer.update.records = lambda: looks.append(trainer.progress.step) or records()
    with pytest.raises(TrainingDiverged, match="step 5 "):
        trainer.run_to_end()
    assert looks[:2] == [4, 8]
    assert looks[2:] == [1, 2, 3, 4, 5]  # of the replay, which stops in front of step 5
