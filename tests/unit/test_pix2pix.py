"""What is particular to pix2pix: noise at test, and what the discriminator sees."""

from dataclasses import replace

import pytest
import torch

from tests.contract.variants import SHAPE, small
from tests.training import recipe_of
from zoo.protocols import Batch, Shape
from zoo.registry import METHODS, UserError
from zoo.runs import build_method
from zoo.schema import Optim
from zoo.update import Updater


def build(a=SHAPE, b=SHAPE, **options):
    torch.manual_seed(0)
    cls = METHODS["pix2pix"]
    config = small(cls.Config())
    deep = replace(config.generator, config=replace(config.generator.config, num_downs=5))
    return cls(replace(config, generator=deep, **options), a, b)


def deeper(**options):
    """With a level that has dropout, so 64 pixels."""
    shape = Shape(3, 64, 64)
    torch.manual_seed(0)
    cls = METHODS["pix2pix"]
    return cls(replace(small(cls.Config()), **options), shape, shape)


def images(n=3, side=64):
    rng = torch.Generator().manual_seed(1)
    return torch.rand(n, 3, side, side, generator=rng) * 2 - 1


@torch.no_grad()
def test_translates_with_dropout_and_the_images_own_statistics():
    method = deeper().eval()
    assert any(isinstance(m, torch.nn.Dropout) for m in method.modules())
    x = images()
    made = method.translate(x, "a2b")
    method.ab.train()
    torch.manual_seed(0)
    expected = method.ab(x[:1]).image
    assert torch.equal(made[:1], expected)


@torch.no_grad()
def test_translation_can_be_repeated_and_does_not_mix_images():
    method = deeper().eval()
    x = images()
    made = method.translate(x, "a2b")
    assert torch.equal(made, method.translate(x, "a2b"))
    assert torch.equal(made[2:], method.translate(x[2:], "a2b"))


@torch.no_grad()
def test_translation_leaves_no_trace():
    method = deeper()
    method.ab.train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    modes = [m.training for m in method.modules()]
    random = torch.get_rng_state()
    method.translate(images(), "a2b")
    assert torch.equal(random, torch.get_rng_state())
    assert modes == [m.training for m in method.modules()]
    for key, value in method.state_dict().items():
        assert torch.equal(before[key], value), key
    method.ab(images())
    assert not torch.equal(before["ab.downs.1.1.running_mean"], method.ab.downs[1][1].running_mean)


@torch.no_grad()
def test_without_noise_it_is_the_evaluation_mode():
    method = deeper(noise_at_test=False).eval()
    x = images()
    assert torch.equal(method.translate(x, "a2b"), method.ab(x).image)
    noisy = deeper().eval()
    assert not torch.allclose(method.translate(x, "a2b"), noisy.translate(x, "a2b"), atol=1e-3)


@pytest.mark.parametrize(("conditional", "channels"), [(True, 4), (False, 1)])
def test_what_the_discriminator_sees(conditional, channels):
    method = build(Shape(3, 32, 32), Shape(1, 32, 32), conditional=conditional)
    seen = []
    method.discriminator_b.register_forward_pre_hook(
        lambda _, inputs: seen.extend(inputs[0].split(2))
    )
    a, b = images(2, 32), images(2, 32)[:, :1]
    updater = Updater(method, Optim())
    batch = Batch(a, b, 0, 0)
    updater.start(batch)
    updater.step(batch)
    fake, real, fooling = seen
    assert {x.shape[1] for x in seen} == {channels}
    assert torch.equal(real[:, -1:], b)
    assert torch.equal(fake, fooling)
    if conditional:
        assert torch.equal(real[:, :3], a)
        assert torch.equal(fake[:, :3], a)


def test_needs_pairs():
    recipe = recipe_of("pix2pix")
    assert recipe.data.build().paired
    build_method(recipe, recipe.data.build())
    apart = recipe_of("pix2pix", "data.paired=false")
    with pytest.raises(UserError, match=r"'pix2pix' needs pairs .* 'toonfaces' has none"):
        build_method(apart, apart.data.build())
