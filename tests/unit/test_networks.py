"""Published sizes of the published networks."""

import pytest
import torch
import torch.nn.functional as F

from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, METHODS, UserError


def build(registry, name, *shapes, **options):
    cls = registry[name]
    return cls(cls.Config(**options), *shapes)


def millions(module):
    return sum(p.numel() for p in module.parameters()) / 1e6


LARGE = Shape(3, 256, 256)


def test_parameters_of_cyclegan():
    with torch.device("meta"):
        assert millions(build(GENERATORS, "resnet", LARGE, LARGE)) == pytest.approx(
            11.378, abs=1e-3
        )
        assert millions(build(DISCRIMINATORS, "patch", LARGE)) == pytest.approx(2.765, abs=1e-3)


def test_parameters_of_ugatit():
    cls = METHODS["ugatit"]
    with torch.device("meta"):
        method = cls(cls.Config(), LARGE, LARGE)
    assert millions(method) == pytest.approx(670.8, abs=0.05)


@pytest.mark.parametrize(("num_layers", "pixels"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_a_patch_logit_sees_that_many_pixels(num_layers, pixels):
    shape = Shape(1, 2 * pixels + 20, 2 * pixels + 20)
    net = build(DISCRIMINATORS, "patch", shape, width=2, num_layers=num_layers, norm="none")
    x = torch.randn(1, *shape, requires_grad=True)
    (logits,) = net(x).logits
    middle = logits.shape[2] // 2
    logits[0, 0, middle, middle].backward()
    rows = x.grad[0, 0].abs().sum(dim=1).nonzero()
    assert (rows.max() - rows.min() + 1).item() == pixels


@pytest.mark.parametrize(
    ("side", "depths"),
    [(256, (7, 5)), (96, (7, 5)), (95, (6, 5)), (64, (6, 5)), (48, (6, 5)), (32, (5, 5))],
)
def test_depth_of_the_ugatit_discriminator(side, depths):
    net = build(DISCRIMINATORS, "ugatit", Shape(3, side, side), width=1)
    assert net.resolved == {"num_layers": {"global": depths[0], "local": depths[1]}}
    assert all(torch.isfinite(h).all() for h in net(torch.zeros(1, 3, side, side)).logits)


def test_the_shorter_side_decides_the_depth():
    net = build(DISCRIMINATORS, "ugatit", Shape(3, 256, 48), width=1)
    assert net.resolved["num_layers"]["global"] == 6
    net(torch.zeros(1, 3, 256, 48))


@pytest.mark.parametrize("num_layers", range(3, 8))
def test_smallest_size_is_the_smallest(num_layers):
    least = 3 * 2 ** (num_layers - 2)
    depths = {"global": num_layers, "local": 3}
    net = build(DISCRIMINATORS, "ugatit", Shape(1, least, least), width=1, num_layers=depths)
    assert net(torch.zeros(1, 1, least, least)).logits[0].shape == (1, 1, 1, 1)
    smaller = Shape(1, least - 1, least - 1)
    with pytest.raises(UserError, match=f"num_layers.global {num_layers} .* at least {least} "):
        build(DISCRIMINATORS, "ugatit", smaller, width=1, num_layers=depths)


@pytest.mark.parametrize(
    ("num_layers", "message"),
    [
        ({"globl": 4}, "no 'globl'. Did you mean 'global'"),
        ({"local": 2}, "num_layers.local is 2; accepted are auto and whole numbers from 3"),
        ({"local": "deep"}, "num_layers.local is 'deep'"),
    ],
)
def test_wrong_depths_are_refused(num_layers, message):
    with pytest.raises(UserError, match=message):
        DISCRIMINATORS["ugatit"].Config(num_layers=num_layers)


def test_one_depth_given_leaves_the_other_automatic():
    config = DISCRIMINATORS["ugatit"].Config(num_layers={"local": 4})
    assert config.num_layers == {"global": "auto", "local": 4}


def test_heads_follow_attention():
    shape = Shape(3, 32, 32)
    assert build(DISCRIMINATORS, "ugatit", shape, width=1).heads == (
        "global/logits",
        "global/cam",
        "local/logits",
        "local/cam",
    )
    plain = build(DISCRIMINATORS, "ugatit", shape, width=1, cam=False)
    assert plain.heads == ("global/logits", "local/logits")


def test_full_ugatit_is_built_for_one_size():
    full = build(GENERATORS, "ugatit", Shape(3, 32, 48), Shape(3, 32, 48), width=2, num_blocks=1)
    assert full.fixed_size == (32, 48)
    with pytest.raises(UserError, match="built for 32 x 48 pixels and got 48 x 32"):
        full(torch.zeros(1, 3, 48, 32))


def test_multiscale_judges_a_pyramid():
    net = build(DISCRIMINATORS, "multiscale", Shape(3, 64, 64), width=4, num_layers=1)
    assert net.heads == ("patches/1", "patches/2", "patches/4")
    x = torch.randn(2, 3, 64, 64)
    x[0, :, 0, 0] = 5  # a corner, whose neighbours beyond the border do not count
    smaller = [x]
    for _ in range(2):
        ones, kernel = torch.ones(1, 1, *smaller[-1].shape[2:]), torch.ones(3, 1, 3, 3)
        counts = F.conv2d(ones, kernel[:1], stride=2, padding=1)
        sums = F.conv2d(smaller[-1], kernel, stride=2, padding=1, groups=3)
        smaller.append(sums / counts)
    for judged, layers, logits in zip(smaller, net.scales, net(x).logits, strict=True):
        assert torch.allclose(layers(judged), logits, atol=1e-5)


def test_scales_of_multiscale_have_weights_of_their_own():
    net = build(DISCRIMINATORS, "multiscale", Shape(3, 64, 64), width=4, num_layers=1)
    patch = build(DISCRIMINATORS, "patch", Shape(3, 64, 64), width=4, num_layers=1)
    assert millions(net) == pytest.approx(3 * millions(patch))
    x = torch.randn(1, 3, 64, 64)
    before = net(x).logits
    with torch.no_grad():
        net.scales[1][0].weight.zero_()
    changed = [not torch.equal(*pair) for pair in zip(before, net(x).logits, strict=True)]
    assert changed == [False, True, False]


@pytest.mark.parametrize(
    ("side", "scales"), [(256, 3), (93, 3), (92, 2), (47, 2), (46, 1), (24, 1)]
)
def test_scales_that_fit(side, scales):
    net = build(DISCRIMINATORS, "multiscale", Shape(3, side, side), width=1)
    assert len(net.heads) == net.resolved["num_scales"] == scales
    assert min(net(torch.zeros(1, 3, side, side)).logits[-1].shape[2:]) >= 1


def test_more_scales_than_fit_are_refused():
    with pytest.raises(UserError, match=r"num_scales 3 and num_layers 3 .* 92 x 99 .* least 93"):
        build(DISCRIMINATORS, "multiscale", Shape(3, 92, 99), width=1, num_scales=3)
