"""Every form of a convolution has the values and the gradients of the plain one."""

import pytest
import torch
import torch.nn.functional as F

from tests.training import recipe_of
from zoo.generators.resnet import ResnetGenerator
from zoo.layers.blur import BlurDown, BlurUp
from zoo.layers.conv_forms import ConvTranspose2d, UpConv2d, conv2d, is_matrix_product
from zoo.layers.layout import for_convolutions
from zoo.layers.norm import InstanceNorm
from zoo.protocols import Shape
from zoo.runs import build_method

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def images(*shape, layout=torch.contiguous_format):
    x = torch.randn(*shape, dtype=torch.float64).contiguous(memory_format=layout)
    return x.requires_grad_()


def assert_same(form, plain, *inputs):
    """Values and the gradients of all inputs."""
    ours, theirs = form(*inputs), plain(*inputs)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    incoming = torch.randn_like(theirs)
    pairs = zip(*(torch.autograd.grad(y, inputs, incoming) for y in (ours, theirs)), strict=True)
    for got, want in pairs:
        assert torch.allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("channels", "outputs", "size", "side", "stride", "padding", "product"),
    [
        (128, 256, 4, (4, 6), 2, 1, True),
        (128, 256, 4, (5, 5), 1, 1, True),
        (128, 256, 4, (32, 32), 1, 1, False),
        (8, 3, 7, (12, 15), 1, 0, False),
        (8, 1, 5, (9, 9), 1, 0, False),
    ],
)
def test_of_one_image_or_several(channels, outputs, size, side, stride, padding, product):
    x = images(2, channels, *side)
    weight, bias = images(outputs, channels, size, size), images(outputs)
    assert is_matrix_product(x, weight, stride, padding) == product
    assert_same(
        lambda *inputs: conv2d(*inputs, stride, padding),
        lambda *inputs: F.conv2d(*inputs, stride, padding),
        *(x, weight, bias),
    )


def test_of_doubled_pixels():
    layer = UpConv2d(3, 4, bias=True).double()

    def plain(x, weight):
        doubled = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.conv2d(F.pad(doubled, (1,) * 4, mode="reflect"), weight, layer.bias)

    assert_same(lambda x, weight: layer(x), plain, images(2, 3, 5, 4), layer.weight)


@pytest.mark.parametrize(("count", "side"), [(1, (1, 1)), (2, (3, 2)), (1, (8, 8)), (2, (8, 8))])
def test_transposed(count, side):
    layer = ConvTranspose2d(256, 128, 4, stride=2, padding=1).double()

    def plain(x, weight):
        return F.conv_transpose2d(x, weight, layer.bias, stride=2, padding=1)

    assert_same(lambda x, weight: layer(x), plain, images(count, 256, *side), layer.weight)


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("side", [(8, 8), (7, 10), (2, 3)])
def test_blurs(side, layout):
    x = images(2, 3, *side, layout=layout)
    down, up = BlurDown(3).double(), BlurUp(3).double()

    def plain_down(x):
        padded = F.pad(x, (1,) * 4, mode="reflect")
        return F.conv2d(padded, down.kernel, stride=2, groups=3)

    def plain_up(x):
        padded = F.pad(x, (1,) * 4, mode="replicate")
        y = F.conv_transpose2d(padded, up.kernel, stride=2, padding=2, groups=3)
        return y[:, :, 1:-1, 1:-1]

    assert_same(down, plain_down, x)
    assert_same(up, plain_up, x)


def test_blurs_have_second_derivatives():
    down, up = BlurDown(1).double(), BlurUp(1).double()
    assert torch.autograd.gradgradcheck(lambda x: up(down(x)).square(), images(1, 1, 4, 3))


# Layout -----------------------------------------------------------------------------------------


def test_bfloat16_goes_channels_last_and_float32_stays():
    x = torch.randn(2, 3, 8, 8)
    assert for_convolutions(x) is x
    with torch.autocast("cpu", torch.bfloat16):
        y = for_convolutions(x)
    assert y.dtype == torch.bfloat16
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_every_norm_of_a_generator_meets_the_layout_forward_and_backward():
    config = ResnetGenerator.Config(width=8, num_blocks=2)
    shape = Shape(3, 16, 16)
    network, seen = ResnetGenerator(config, shape, shape), []

    def note(tensor):
        seen.append(tensor.is_contiguous(memory_format=torch.channels_last))

    def follow(_, inputs, output):
        for tensor in (*inputs, output):
            note(tensor)
            tensor.register_hook(note)

    for layer in network.modules():
        if isinstance(layer, InstanceNorm):
            layer.register_forward_hook(follow)
    with torch.autocast("cpu", torch.bfloat16):
        image = network(torch.randn(2, 3, 16, 16)).image
    assert image.is_contiguous()
    assert image.dtype == torch.float32
    image.square().sum().backward()
    assert len(seen) == 4 * 9  # norms: three, two for each block, two
    assert all(seen)


@pytest.mark.parametrize("name", ["cyclegan", "cut"])
def test_the_layout_changes_no_value_beyond_rounding(name, monkeypatch):
    method = build_method(recipe_of(name), None)
    x = torch.rand(2, 3, 32, 32) * 2 - 1
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        ours = method.ab(x).image
        monkeypatch.setattr("zoo.generators.resnet.for_convolutions", lambda x: x)
        plain = method.ab(x).image
    with torch.no_grad():
        exact = method.ab(x).image
    far = (plain - exact).norm()
    assert 0 < (ours - exact).norm() < 2 * far
