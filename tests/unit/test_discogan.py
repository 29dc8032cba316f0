"""DiscoGAN: turns, curriculum, its smaller variants, and what its networks are."""

import pytest
import torch

from zoo.create import create_discriminator, create_generator
from zoo.protocols import Batch, Shape
from zoo.recipe import load_recipe
from zoo.registry import DISCRIMINATORS, GENERATORS, METHODS, Part, UserError
from zoo.schema import PerDirection

SHAPE = Shape(3, 32, 32)


def build(**options):
    torch.manual_seed(0)
    cls = METHODS["discogan"]
    parts = {
        "generator": Part(GENERATORS, "disco", GENERATORS["disco"].Config(width=4)),
        "discriminator": Part(DISCRIMINATORS, "disco", DISCRIMINATORS["disco"].Config(width=4)),
    }
    return cls(cls.Config(**{**parts, **options}), SHAPE, SHAPE)


def terms_of(method, step=0, images_seen=0):
    """Terms by player in one iteration that changes nothing."""
    torch.manual_seed(1)
    a, b = torch.rand(2, 4, *SHAPE) * 2 - 1
    found = {}
    method.step(Batch(a, b, step, images_seen), lambda player, terms: found.update({player: terms}))
    return found


def test_one_discriminator_step_to_two_of_the_generators():
    turns = [list(terms_of(build(), step)) for step in range(6)]
    one, two = ["discriminators"], ["generators"]
    assert turns == [one, two, two, one, two, two]


def test_no_turns_updates_both():
    assert list(terms_of(build(update_interval=0), 1)) == ["discriminators", "generators"]


def test_turns_of_one_are_refused():
    with pytest.raises(UserError, match="1 would never update the generators"):
        build(update_interval=1)


def test_curriculum_moves_from_the_gan_to_the_reconstruction():
    cls = METHODS["discogan"]
    given = cls.Config.Curriculum(images=10, starting_rate=0.1, rate=0.75)
    method = build(curriculum=given)
    early, late = (terms_of(method, 1, seen)["generators"] for seen in (9, 10))
    for key in early:
        ratio = (late[key] / early[key]).item()
        expected = 0.75 / 0.1 if key.startswith("cycle") else 0.25 / 0.9
        assert ratio == pytest.approx(expected, rel=1e-5), key


def test_without_a_curriculum_terms_count_fully():
    full = terms_of(build(curriculum=None), 1)["generators"]
    shared = terms_of(build(), 1)["generators"]
    assert shared["cycle/a"].item() == pytest.approx(0.01 * full["cycle/a"].item())
    assert shared["adversarial/a2b"].item() == pytest.approx(0.99 * full["adversarial/a2b"].item())


@pytest.mark.parametrize(
    ("arch", "generators"),
    [
        ("recongan", {"adversarial/a2b", "feature_match/a2b", "cycle/a"}),
        ("gan", {"adversarial/a2b", "feature_match/a2b"}),
    ],
)
def test_smaller_variants_count_one_direction(arch, generators):
    method = build(arch=arch)
    assert set(terms_of(method, 1)["generators"]) == generators
    assert set(terms_of(method, 0)["discriminators"]) == {"discriminator/b"}
    assert method.weights.adversarial.b2a == method.weights.discriminator.a == 0


def test_gan_variant_has_no_curriculum():
    gan = terms_of(build(arch="gan"), 1)["generators"]
    whole = terms_of(build(), 1)["generators"]
    key = "adversarial/a2b"
    assert whole[key].item() == pytest.approx(0.99 * gan[key].item())


def test_features_are_compared_only_by_judges_that_have_them():
    patch = Part(DISCRIMINATORS, "patch", DISCRIMINATORS["patch"].Config(width=4, num_layers=2))
    with pytest.raises(UserError, match="discriminator 'patch' does not return; set it to 0"):
        build(discriminator=patch)
    weights = METHODS["discogan"].Config.Weights(feature_match=PerDirection(0))
    assert (
        "adversarial/a2b" in terms_of(build(discriminator=patch, weights=weights), 1)["generators"]
    )


def test_the_papers_method():
    recipe = load_recipe("debug/discogan_paper", [])
    method = recipe.method.build(SHAPE, SHAPE)
    found = terms_of(method, 1)
    assert list(found) == ["discriminators", "generators"]
    assert {key.partition("/")[0] for key in found["generators"]} == {"adversarial", "cycle"}


def test_weight_of_the_cycle_undoes_the_range():
    method = build(curriculum=None)
    a, back = torch.rand(2, 2, 3, 8, 8)  # in [0, 1]
    in_our_range = method.weights.cycle.a * method.cycle(2 * back - 1, 2 * a - 1)
    assert in_our_range.item() == pytest.approx((back - a).square().mean().item(), rel=1e-5)


def test_published_networks_have_a_vector_inside():
    shape = Shape(3, 64, 64)
    config = GENERATORS["disco"].Config(extra_layers=True)
    with torch.device("meta"):
        net = GENERATORS["disco"](config, shape, shape)
        assert net.resolved == {"num_layers": 4}
        x, shapes = torch.zeros(2, 3, 64, 64), []
        for layer in net.layers:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    assert (100, 1, 1) in shapes
    judge = DISCRIMINATORS["disco"](DISCRIMINATORS["disco"].Config(width=2), shape)
    judgement = judge(torch.zeros(2, 3, 64, 64))
    assert judgement.logits[0].shape == (2, 1, 1, 1)
    assert [f.shape[1] for f in judgement.features] == [4, 8, 16]


def test_batch_norm_of_a_single_number_is_refused():
    config = GENERATORS["disco"].Config(width=4, extra_layers=True)
    net = GENERATORS["disco"](config, SHAPE, SHAPE)
    with pytest.raises(UserError, match="use batches of at least 2"):
        net(torch.zeros(1, *SHAPE))
    assert net.eval()(torch.zeros(1, *SHAPE)).image.shape == (1, *SHAPE)


@pytest.mark.parametrize("registry", [GENERATORS, DISCRIMINATORS], ids=["generator", "judge"])
def test_depth_follows_the_size_or_is_refused(registry):
    cls = registry["disco"]
    shapes = (Shape(3, 24, 24),) * (1 + (registry is GENERATORS))
    assert cls(cls.Config(width=2), *shapes).resolved == {
        "num_layers": 3 if registry is GENERATORS else 2
    }
    with pytest.raises(UserError, match="24 x 24"):
        cls(cls.Config(width=2, num_layers=4), *shapes)
    create = create_generator if registry is GENERATORS else create_discriminator
    with pytest.raises(UserError, match="num_layers: 1 is too small; at least 2"):
        create("disco", num_layers=1)
