"""The generator whose encoder is a network of timm."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.training import assert_same_run, recipe_of, train_here
from zoo.create import create_generator
from zoo.describe import describe
from zoo.downloads import FOLDER_VARIABLE, MissingWeights
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.trainer import Trainer
from zoo.translation import load_run

WITH_TIMM = (
    "method.generator={name: timm_unet, encoder: resnet18, width: 4, num_levels: 2}",
    "train.images=4",
)


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """A folder with a file of ResNet-18 as timm publishes it, of other numbers."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "weights"))
    (tmp_path / "weights").mkdir()
    torch.manual_seed(5)
    save_file(
        timm.create_model("resnet18").state_dict(),
        tmp_path / "weights" / "resnet18.a1_in1k.safetensors",
    )
    return tmp_path / "weights"


@pytest.mark.parametrize(
    ("encoder", "multiple"),
    [
        ("resnet18", 32),  # batch norm, from half the size on
        ("mobilenetv3_small_050", 32),
        ("swin_tiny_patch4_window7_224", 32),  # channels last
        ("vit_tiny_patch16_224", 16),  # one size of features, one size of images
    ],
)
def test_families_of_encoders(encoder, multiple):
    net = create_generator("timm_unet", (3, 64, 64), encoder=encoder, width=4)
    assert net.size_multiple == multiple
    assert (net.fixed_size == (64, 64)) == ("patch" in encoder)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    image = net(x).image
    assert image.shape == x.shape
    image.square().sum().backward()
    untrained = [name for name, p in net.encoder.named_parameters() if p.grad is None]
    assert not [name for name in untrained if "norm" not in name]


def test_the_image_sees_every_level():
    net = create_generator("timm_unet", (3, 64, 64), encoder="resnet18", width=4).eval()
    assert net.resolved == {"num_levels": 5}
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        features, whole = net.encoder(x), net(x).image
        for level in range(5):
            changed = [h + (i == level) for i, h in enumerate(features)]
            hook = net.encoder.register_forward_hook(lambda *_, h=changed: h)
            assert not torch.equal(net(x).image, whole), level
            hook.remove()
        assert torch.equal(net(x).image, whole)


def test_batch_norm_is_that_of_its_mode():
    net = create_generator("timm_unet", (3, 32, 32), encoder="resnet18", width=4)
    pair = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        together, alone = net(pair).image[:1], net(pair[:1]).image
        assert not torch.allclose(together, alone, atol=1e-4)
        net.eval()
        assert torch.allclose(net(pair).image[:1], net(pair[:1]).image, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "resnet81"}, r"no network 'resnet81'. Did you mean 'resnet\d+'\?"),
        ({"encoder": "resnet18.a1_in2k"}, r"Did you mean 'resnet18.a1_in1k'\? Weights: "),
        ({"encoder": "resnet18", "num_levels": 6}, "num_levels is 6, .* auto and 1 to 5"),
        ({"encoder": "resnet18", "num_levels": 5}, "32 x 32 .* at least 64"),
        ({"width": 0}, "width: 0 is too small; at least 1"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        create_generator("timm_unet", (3, 32, 32), **options)


def test_a_network_without_published_weights_is_refused():
    name = next(n for n in timm.list_models("resnet*") if not timm.is_model_pretrained(n))
    with pytest.raises(UserError, match=f"no weights of '{name}'; set pretrained to false"):
        create_generator("timm_unet", (3, 64, 64), encoder=name, pretrained=True)


def test_published_weights_are_read_when_training_starts(weights, tmp_path):
    recipe = recipe_of("cyclegan", *WITH_TIMM, "method.generator.pretrained=true")
    published = timm.create_model("resnet18", features_only=True, out_indices=(0, 1))
    torch.manual_seed(5)
    whole = timm.create_model("resnet18")
    published.load_state_dict(whole.state_dict(), strict=False)
    x = torch.rand(1, 3, 32, 32) * 2 - 1
    mean, std = (torch.tensor(whole.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    wanted = published.eval()(((x + 1) / 2 - mean) / std)

    method = Trainer(recipe, tmp_path / "run", None, cpu=True).method.eval()
    for net in (method.ab, method.ba):
        for ours, theirs in zip(net.encoder(x), wanted, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-5)

    plain = recipe_of("cyclegan", *WITH_TIMM)
    other = Trainer(plain, tmp_path / "run", None, cpu=True).method.eval()
    assert not torch.allclose(other.ab.encoder(x)[0], wanted[0], atol=1e-2)


def test_published_weights_of_grey_images(weights):
    net = create_generator("timm_unet", (1, 32, 32), encoder="resnet18", width=4, pretrained=True)
    net.prepare()
    summed = timm.create_model("resnet18")
    file = weights / "resnet18.a1_in1k.safetensors"
    timm.models.load_checkpoint(summed, str(file))
    first = summed.conv1.weight.sum(dim=1, keepdim=True)
    assert torch.equal(net.encoder.network.conv1.weight, first)


def test_missing_and_wrong_weights_are_refused(weights, tmp_path):
    recipe = recipe_of("cyclegan", *WITH_TIMM, "method.generator.pretrained=true")
    describe(recipe)  # needs none
    file = weights / "resnet18.a1_in1k.safetensors"
    save_file({"conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(UserError, match=r"resnet18.a1_in1k.safetensors does not hold"):
        Trainer(recipe, tmp_path / "run", None, cpu=True)
    file.write_text("<html>")
    with pytest.raises(UserError, match=r"resnet18.a1_in1k.safetensors does not hold"):
        Trainer(recipe, tmp_path / "run", None, cpu=True)
    file.unlink()
    with pytest.raises(MissingWeights) as missing:
        Trainer(recipe, tmp_path / "run", None, cpu=True)
    assert "https://huggingface.co/timm/resnet18.a1_in1k/resolve" in str(missing.value)
    assert f"as {file.name} into {weights}" in str(missing.value)


def test_cyclegan_trains_resumes_and_translates_with_it(weights, tmp_path):
    recipe = recipe_of("cyclegan", *WITH_TIMM, "method.generator.pretrained=true")
    whole = train_here(recipe, tmp_path / "whole")
    half = train_here(load_recipe(whole / "recipe.yaml", ["train.images=2"]), tmp_path / "half")
    train_here(load_recipe(half / "recipe.yaml", ["train.images=4"]), half, resume=True)
    assert_same_run(half, whole)
    (weights / "resnet18.a1_in1k.safetensors").unlink()
    run = load_run(whole)  # the weights are in the run
    image = run.dataset().domain("test", "a")[0]
    assert run.translate(image, "a2b").shape == image.shape
