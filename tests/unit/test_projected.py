"""The discriminator that judges random projections of fixed features."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.training import assert_same_run, recipe_of, train_here
from zoo.create import create_discriminator, create_loss
from zoo.describe import describe
from zoo.discriminators.projected import RandomProjection
from zoo.downloads import FOLDER_VARIABLE, MissingWeights
from zoo.optim import build_optimizers
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.runs import build_method
from zoo.schema import Optim
from zoo.trainer import Trainer
from zoo.translation import load_run

SMALL = {"width": 4, "resolution": 128}
IN_CYCLEGAN = (
    "method.discriminator={name: projected, width: 4, resolution: 128}",
    "method.adversarial=hinge",
    "train.images=4",
)
STAND_IN = "method.discriminator.pretrained=false"


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """An empty folder of weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def build(shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return create_discriminator("projected", shape, pretrained=False, **{**SMALL, **options})


def images(n=2, side=32):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_the_fake_learns_through_fixed_features():
    net, loss, fake = build().eval(), create_loss("hinge"), images()
    fake.requires_grad_()
    before = loss.fool(net, fake, images())
    before.backward()
    assert all(p.grad is None for p in net.parameters())
    with torch.no_grad():
        step = 1e-3 * fake.grad / fake.grad.norm()
        gained = before - loss.fool(net, fake - step, images())
    assert gained.item() == pytest.approx(1e-3 * fake.grad.norm().item(), rel=0.05)


def test_fixed_parts_are_in_evaluation_mode_always():
    net = build()
    for mode in (True, False, True):
        net.train(mode)
        assert all(part.training == mode for part in net.judges.modules())
        fixed = [*net.encoder.modules(), *net.projection.modules()]
        assert not any(part.training for part in fixed)
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    net(images())
    moved = {n.partition(".")[0] for n, b in net.named_buffers() if not torch.equal(b, buffers[n])}
    assert moved == {"judges"}


def test_optimizers_and_clipping_leave_fixed_parts_alone():
    net = build()
    optimizers = build_optimizers(Optim(), {"discriminators": [net]})
    learned = {p for group in optimizers["discriminators"].param_groups for p in group["params"]}
    assert learned == set(net.judges.parameters())
    fixed = {name: p.clone() for name, p in net.named_parameters() if not p.requires_grad}
    create_loss("wgan").after_step(net)
    assert max(p.abs().max() for p in net.judges.parameters()) <= 0.01
    assert all(torch.equal(net.get_parameter(name), value) for name, value in fixed.items())
    assert max(value.abs().max() for value in fixed.values()) > 0.01


def test_projections_differ_and_come_with_the_state():
    first = build()
    torch.manual_seed(9)
    second = create_discriminator("projected", (3, 32, 32), pretrained=False, **SMALL).eval()
    x = images()
    first.eval()
    assert not torch.allclose(first(x).logits[0], second(x).logits[0])
    assert {"encoder", "projection", "judges"} == {n.partition(".")[0] for n in first.state_dict()}
    second.load_state_dict(first.state_dict())
    for ours, theirs in zip(first(x).logits, second(x).logits, strict=True):
        assert torch.equal(ours, theirs)


def test_scales_are_mixed_from_coarse_to_fine():
    torch.manual_seed(0)
    projection = RandomProjection([5, 6, 7], width=4)
    assert projection.channels == [4, 4, 8]
    features = [torch.rand(1, c, side, side) for c, side in ((5, 16), (6, 8), (7, 4))]
    before = projection(features)
    assert [h.shape[1:] for h in before] == [(4, 32, 32), (4, 16, 16), (8, 8, 8)]
    for level in range(3):
        other = [h + (n == level) for n, h in enumerate(features)]
        pairs = zip(projection(other), before, strict=True)
        assert [not torch.equal(*pair) for pair in pairs] == [n <= level for n in range(3)]


@pytest.mark.parametrize(("resolution", "side"), [(128, 1), (160, 2), (224, 4)])
def test_every_scale_ends_at_the_same_size(resolution, side):
    net = build(resolution=resolution)
    for size in (32, 50):
        logits = net(images(side=size)).logits
        assert [head.shape for head in logits] == [(2, 1, side, side)] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resolution": 100}, "resolution: 100 is too small; at least 128"),
        ({"resolution": 150}, "resolution is 150; a multiple of 32"),
        ({"encoder": "vit_tiny_patch16_224"}, "vit_tiny_patch16_224 has them at 1/16"),
        ({"encoder": "tf_efficientnet_light0"}, "Did you mean 'tf_efficientnet_lite0'"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_published_weights_are_needed_to_train_unless_a_stand_in_is_asked_for(weights, tmp_path):
    recipe = recipe_of("cyclegan", *IN_CYCLEGAN)
    describe(recipe)
    build_method(recipe, None)  # as for translating
    with pytest.raises(MissingWeights, match=r"tf_efficientnet_lite0\.in1k.safetensors into"):
        Trainer(recipe, tmp_path / "run", None, cpu=True)
    torch.manual_seed(5)
    published = timm.create_model("tf_efficientnet_lite0").eval()
    save_file(published.state_dict(), weights / "tf_efficientnet_lite0.in1k.safetensors")
    method = Trainer(recipe, tmp_path / "run", None, cpu=True).method
    for net in (method.discriminator_a, method.discriminator_b):
        assert torch.equal(net.encoder.network.conv_stem.weight, published.conv_stem.weight)
        assert not net.encoder.network.conv_stem.weight.requires_grad


def test_cyclegan_trains_and_resumes_with_it(tmp_path):
    recipe = recipe_of("cyclegan", *IN_CYCLEGAN, STAND_IN)
    whole = train_here(recipe, tmp_path / "whole")
    half = train_here(load_recipe(whole / "recipe.yaml", ["train.images=2"]), tmp_path / "half")
    torch.manual_seed(0)
    train_here(load_recipe(half / "recipe.yaml", ["train.images=4"]), half, resume=True)
    assert_same_run(half, whole)

    torch.manual_seed(recipe.train.seed)
    untrained = build_method(recipe, None).discriminator_a
    trained = load_run(whole).method.discriminator_a
    for name, value in untrained.state_dict().items():
        fixed = not name.startswith("judges")
        if fixed or name.endswith("weight"):
            assert torch.equal(trained.state_dict()[name], value) == fixed, name
