"""What every registered generator must do."""

import copy

import pytest
import torch
from safetensors.torch import load, save

from tests.contract.variants import SHAPE, from_images, small, variants
from zoo.layers import compiled
from zoo.protocols import Shape, Translation
from zoo.registry import GENERATORS, UserError

FROM_IMAGES = [
    n for n in GENERATORS.names() if getattr(GENERATORS[n], "reads", "image") != "latent"
]
ALL = {n: v for n, v in variants(GENERATORS).items() if n.partition("-")[0] in FROM_IMAGES}


@pytest.fixture(params=ALL.values(), ids=ALL)
def built(request):
    cls, config = request.param
    torch.manual_seed(0)
    return from_images(cls)(config, SHAPE, SHAPE)


@pytest.fixture(params=FROM_IMAGES)
def plain(request):
    torch.manual_seed(0)
    cls = from_images(GENERATORS[request.param])
    return cls(small(cls.Config()), SHAPE, SHAPE)


def images(n=2, shape=SHAPE):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, *shape, generator=generator) * 2 - 1


def test_image_has_the_target_shape_and_range(built):
    image = built(images()).image
    assert image.shape == (2, *SHAPE)
    assert image.abs().max() <= 1
    assert torch.isfinite(image).all()


def test_returns_what_it_offers(plain):
    made = plain(images())
    assert isinstance(made, Translation)
    assert ("cam" in plain.offers) == (made.cam_logits is not None)
    assert ("taps" in plain.offers) == hasattr(plain, "tap_channels")
    if made.cam_logits is not None:
        assert made.cam_logits.ndim == 2
        assert made.heatmap.shape[:2] == (2, 1)


def test_taps_are_features_on_the_way_to_the_image(built):
    if "taps" not in built.offers:
        return
    taps = (0, 2, 4, 5)
    channels = built.tap_channels(taps)
    whole, part = built(images(), taps), built(images(), taps, decode=False)
    assert torch.equal(whole.image, built(images()).image)
    assert part.image is None
    assert tuple(f.shape[1] for f in whole.features) == channels
    for one, other in zip(whole.features, part.features, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("taps", [(), (4, 0), (0, 0), (-1,), (0, 99)])
def test_taps_that_are_no_layers_are_refused(plain, taps):
    if "taps" in plain.offers:
        with pytest.raises(UserError, match="rising order"):
            plain.tap_channels(taps)


def test_gradient_reaches_every_parameter(built):
    made = built(images())
    loss = (made.image * torch.randn_like(made.image)).sum()
    if made.cam_logits is not None:
        loss = loss + made.cam_logits.square().sum()
    loss.backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if not name.endswith("bias"):  # in front of a norm a bias has no influence
            assert parameter.grad.abs().max() > 0, name


def test_channels_may_differ(plain):
    cls, source, target = type(plain), Shape(1, 32, 32), Shape(4, 32, 32)
    image = cls(small(cls.Config()), source, target)(images(shape=source)).image
    assert image.shape == (2, *target)


def test_saved_weights_give_the_same_image(built, request):
    built.train()(images())  # moves buffers
    cls, config = request.node.callspec.params["built"]
    torch.manual_seed(1)
    other = from_images(cls)(config, SHAPE, SHAPE)
    other.load_state_dict(load(save(built.state_dict())))
    with torch.no_grad():
        assert torch.equal(built.eval()(images()).image, other.eval()(images()).image)


def test_deepcopy_after_a_forward_is_independent(built):
    built(images()).image.sum().backward()
    twin = copy.deepcopy(built).eval()
    with torch.no_grad():
        before = built.eval()(images()).image
        assert torch.equal(before, twin(images()).image)
        for parameter in built.parameters():
            parameter.zero_()
        assert torch.equal(before, twin(images()).image)


def test_bf16_autocast_is_finite_and_close(built):
    built.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = built(images()).image
    with torch.no_grad():
        exact = built(images()).image
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().mean() < 0.05


def test_bf16_gradients_are_finite(built):
    with torch.autocast("cpu", torch.bfloat16):
        loss = built(images()).image.square().mean()
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in built.parameters() if p.grad is not None)


@pytest.mark.parametrize("size", [(33, 32), (30, 50), (36, 64), (4, 4), (6, 32)])
def test_other_sizes_are_handled_or_refused(built, size):
    x = torch.zeros(1, 3, *size)
    try:
        image = built(x).image
    except UserError as error:
        image, complaint = None, str(error)
    if image is None:
        assert f"{size[0]} x {size[1]}" in complaint
    else:
        assert image.shape == x.shape


def test_multiples_are_handled_unless_the_size_is_fixed(plain):
    n = plain.size_multiple
    x = torch.zeros(1, 3, 8 * n, 11 * n)
    if plain.fixed_size is None:
        assert plain(x).image.shape == x.shape
    else:
        with pytest.raises(UserError, match="built for"):
            plain(x)


def test_size_is_refused_before_any_forward(plain):
    with pytest.raises(UserError, match="multiples of"):
        type(plain)(small(plain.Config()), Shape(3, 33, 32), Shape(3, 33, 32))


def test_layout_does_not_change_the_image(built):
    built.eval().double()
    with torch.no_grad():
        straight = built(images().double()).image
        built.to(memory_format=torch.channels_last)
        turned = built(images().double().contiguous(memory_format=torch.channels_last)).image
    assert torch.allclose(straight, turned, atol=1e-9)


def test_images_of_a_batch_do_not_mix(plain):
    plain.eval()
    with torch.no_grad():
        together = plain(images(2)).image
        alone = torch.cat([plain(image[None]).image for image in images(2)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_is_one_graph_for_the_compiler(plain):
    torch.compiler.reset()
    compiled = torch.compile(plain.eval(), backend="eager", fullgraph=True)
    with torch.no_grad():
        assert torch.allclose(compiled(images()).image, plain(images()).image, atol=1e-4)


def test_its_regions_are_graphs_that_compute_the_same(plain, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "_backend", "eager")
    twin = copy.deepcopy(plain)
    regions = compiled.regions_of(twin)
    assert compiled.compile_regions([twin]) == len(regions) == len(set(regions))
    inside = [module for region in regions for module in list(region.modules())[1:]]
    assert not set(inside) & set(regions)
    for network in (twin, plain):
        torch.manual_seed(0)  # of dropout
        network(images()).image.square().mean().backward()
    assert [r for r in caplog.records if r.name == "zoo.compile"] == []  # nothing fell back
    for (name, ours), theirs in zip(twin.named_parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5), name
