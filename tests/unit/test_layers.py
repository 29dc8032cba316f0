"""Layers against closed forms, finite differences and plain re-statements."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zoo.layers.adversarial import frozen
from zoo.layers.cam import CAM, heat_colours
from zoo.layers.conv import ResidualBlock, SpectralConv2d, SpectralLinear, check_size
from zoo.layers.init import init_weights
from zoo.layers.norm import LIN, AdaLIN, adalin, instance_norm
from zoo.layers.skip import output_channels, output_image, prepare_skip
from zoo.protocols import Shape
from zoo.registry import UserError

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def published_adalin(x, gamma, beta, rho, eps=1e-5):
    """Equation 1 of the paper, word for word."""
    a_i = (x - x.mean((2, 3), True)) / torch.sqrt(x.var((2, 3), keepdim=True) + eps)
    a_l = (x - x.mean((1, 2, 3), True)) / torch.sqrt(x.var((1, 2, 3), keepdim=True) + eps)
    return gamma * (rho * a_i + (1 - rho) * a_l) + beta


def numeric_gradient(function, x, gradient, step=1e-6):
    """Gradient of (function(x) * gradient).sum() by central differences."""
    found = torch.zeros_like(x, memory_format=torch.contiguous_format)
    flat = found.view(-1)
    for i in range(x.numel()):
        shift = torch.zeros(x.numel(), dtype=x.dtype)
        shift[i] = step
        shift = shift.view(x.shape)
        ahead, behind = function(x + shift), function(x - shift)
        flat[i] = ((ahead - behind) * gradient).sum() / (2 * step)
    return found


class TestInstanceNorm:
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    def test_mean_zero_and_variance_one(self, layout):
        y = instance_norm((3 + 5 * normal(2, 3, 8, 9)).contiguous(memory_format=layout), eps=0)
        assert torch.allclose(y.mean((2, 3)), torch.zeros(2, 3).double(), atol=1e-12)
        assert torch.allclose(y.var((2, 3), correction=0), torch.ones(2, 3).double())

    @pytest.mark.parametrize("incoming", LAYOUTS.values(), ids=LAYOUTS)
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    @pytest.mark.parametrize("batch", [1, 2])
    def test_gradient_agrees_with_finite_differences(self, batch, layout, incoming):
        x = normal(batch, 3, 4, 5).contiguous(memory_format=layout).requires_grad_()
        gradient = normal(batch, 3, 4, 5, seed=1).contiguous(memory_format=incoming)
        (got,) = torch.autograd.grad(instance_norm(x), x, gradient)
        want = numeric_gradient(instance_norm, x.detach(), gradient)
        assert torch.allclose(got, want, atol=1e-8)

    def test_has_second_derivatives(self):
        x = normal(2, 2, 3, 3).requires_grad_()
        assert torch.autograd.gradgradcheck(instance_norm, x)

    def test_keeps_channels_last(self):
        x = normal(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
        assert instance_norm(x).is_contiguous(memory_format=torch.channels_last)

    def test_half_precision_statistics_are_float32(self):
        x = (300 + 100 * normal(1, 2, 32, 32)).to(torch.float16)  # squares overflow float16
        y = instance_norm(x)
        assert y.dtype == torch.float16
        assert torch.allclose(y.float(), instance_norm(x.float()), atol=2e-3)

    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    def test_autocast_does_not_widen_the_image(self, layout):
        """Else every norm hands on and keeps twice the memory. Statistics are in float32."""
        x = (10 + normal(2, 4, 32, 32)).bfloat16().contiguous(memory_format=layout)
        gamma, beta, rho = torch.ones(2, 4, 1, 1), torch.zeros(2, 4, 1, 1), torch.ones(1, 4, 1, 1)
        with torch.autocast("cpu", torch.bfloat16):
            made = [instance_norm(x), adalin(x, gamma, beta, rho)]
        for y in made:
            assert y.dtype == torch.bfloat16
            assert torch.allclose(y.float(), instance_norm(x.float()), atol=0.017)  # its rounding


class TestAdaLIN:
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    @pytest.mark.parametrize("images", [1, 3], ids=["lin", "adalin"])
    def test_is_the_published_equation(self, images, layout):
        x = (2 + normal(3, 4, 5, 6)).contiguous(memory_format=layout).requires_grad_()
        gamma, beta = (normal(images, 4, 1, 1, seed=s).requires_grad_() for s in (1, 2))
        rho = torch.rand(1, 4, 1, 1).double().requires_grad_()
        gradient = normal(3, 4, 5, 6, seed=3)
        results = []
        for function in (adalin, published_adalin):
            y = function(x, gamma, beta, rho)
            results.append([y, *torch.autograd.grad(y, (x, gamma, beta, rho), gradient)])
        for ours, theirs in zip(*results, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-10)

    def test_rho_one_is_instance_and_zero_is_layer_norm(self):
        x = normal(2, 3, 8, 8)
        one, nothing = torch.ones(1, 3, 1, 1).double(), torch.zeros(1, 3, 1, 1).double()
        by_instance = adalin(x, one, nothing, one, eps=0)
        assert torch.allclose(by_instance.std((2, 3)), torch.ones(2, 3).double())
        by_layer = adalin(x, one, nothing, nothing, eps=0)
        assert torch.allclose(by_layer.std((1, 2, 3)), torch.ones(2).double())
        assert not torch.allclose(by_layer.std((2, 3)), torch.ones(2, 3).double(), atol=1e-3)

    def test_images_have_their_own_gamma_and_beta(self):
        layer, x = AdaLIN(3).double(), normal(2, 3, 8, 8)
        gamma, beta = normal(2, 3, seed=1), normal(2, 3, seed=2)
        y = layer(x, gamma, beta)
        assert torch.allclose(y.mean((2, 3))[1], layer(x[1:], gamma[1:], beta[1:]).mean((2, 3))[0])
        assert torch.allclose(layer(x, 0 * gamma, beta), beta[:, :, None, None].expand_as(x))

    def test_published_start(self):
        assert (AdaLIN(2).rho == 0.9).all()
        layer = LIN(2)
        assert (layer.rho == 0).all()
        assert (layer.gamma == 1).all()
        assert (layer.beta == 0).all()

    def test_constrain_touches_rho_only(self):
        layers = nn.ModuleList([AdaLIN(2), LIN(2)])
        with torch.no_grad():
            for parameter in layers.parameters():
                parameter.fill_(1.5)
        layers[0].rho.data[:] = torch.tensor([-0.2, 0.3])[None, :, None, None]
        for layer in layers[:2]:
            layer.constrain()
        assert layers[0].rho.flatten().tolist() == pytest.approx([0, 0.3])
        assert (layers[1].rho == 1).all()
        assert (layers[1].gamma == 1.5).all()


class TestSpectralNorm:
    @pytest.fixture(params=["conv", "linear"])
    def layer(self, request):
        torch.manual_seed(0)
        conv = request.param == "conv"
        layer = SpectralConv2d(3, 5, 4, bias=False) if conv else SpectralLinear(6, 5, bias=False)
        self.x = normal(2, 3, 6, 6, dtype=torch.float32) if conv else normal(2, 6).float()
        return layer

    def test_iterations_approach_the_largest_singular_value(self, layer):
        for _ in range(200):
            layer(self.x)
        want = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert layer.eval().sigma().item() == pytest.approx(want.item(), rel=1e-4)

    def test_one_iteration_a_forward_v_first(self, layer):
        rows, u = layer.weight.detach().flatten(1), layer.u.clone()
        layer(self.x)
        v = F.normalize(rows.t() @ u, dim=0)
        u = F.normalize(rows @ v, dim=0)
        assert torch.allclose(layer.v, v, atol=1e-6)
        assert torch.allclose(layer.u, u, atol=1e-6)
        assert torch.allclose(layer.eval().sigma(), u @ rows @ v)

    def test_evaluation_and_reading_weight_do_not_iterate(self, layer):
        before = layer.u.clone()
        assert layer.weight is layer.weight
        layer.eval()(self.x)
        assert torch.equal(layer.u, before)

    @pytest.mark.parametrize("bias", [False, True])
    def test_is_the_layer_with_the_divided_weight(self, layer, bias):
        layer.double().eval()  # the vectors stand still
        layer.bias = nn.Parameter(normal(5)) if bias else None
        x = self.x.double()

        def published(weight):
            weight = weight / (layer.u @ weight.flatten(1) @ layer.v)
            function = F.conv2d if weight.ndim == 4 else F.linear
            return function(x, weight, layer.bias)

        ours, theirs = layer(x), published(layer.weight)
        assert torch.allclose(ours, theirs)
        gradient = normal(*ours.shape, seed=1)
        (got,) = torch.autograd.grad(ours, layer.weight, gradient)
        (want,) = torch.autograd.grad(theirs, layer.weight, gradient)
        assert torch.allclose(got, want)

    def test_autocast_leaves_the_vectors_in_float32(self, layer):
        twin = copy.deepcopy(layer)
        layer(self.x)
        with torch.autocast("cpu", torch.bfloat16):
            assert twin(self.x).dtype == torch.bfloat16
        assert torch.equal(layer.u, twin.u)
        assert torch.equal(layer.v, twin.v)

    def test_forwards_before_backward(self, layer):
        (layer(self.x).sum() + layer(self.x).sum() + layer.eval()(self.x).sum()).backward()
        layer.train()(self.x)
        assert layer.weight.grad is not None

    def test_deepcopy_with_a_graph_alive(self, layer):
        y = layer(self.x)
        twin = copy.deepcopy(layer)
        y.sum().backward()
        assert twin.weight.grad is None
        assert torch.equal(twin.u, layer.u)


class TestCAM:
    @pytest.mark.parametrize("spectral", [False, True])
    def test_is_the_published_graph(self, spectral):
        torch.manual_seed(0)
        cam, x = CAM(4, slope=0.2, spectral=spectral).double().eval(), normal(2, 4, 5, 6)
        features, logits, heatmap = cam(x)
        raw_average, raw_maximum = cam.average.weight, cam.maximum.weight
        average, maximum = (
            layer.weight / layer.sigma() if spectral else layer.weight
            for layer in (cam.average, cam.maximum)
        )
        want_logits = [x.mean((2, 3)) @ average.t(), x.amax((2, 3)) @ maximum.t()]
        assert torch.allclose(logits, torch.cat(want_logits, 1))
        scaled = [x * raw[0][None, :, None, None] for raw in (raw_average, raw_maximum)]
        want = F.leaky_relu(cam.mix(torch.cat(scaled, 1)), 0.2)
        assert torch.allclose(features, want)
        assert torch.allclose(heatmap, want.sum(1, keepdim=True))

    def test_colours(self):
        maps = torch.linspace(-3, 7, 2 * 16).view(2, 1, 4, 4)
        picture = heat_colours(maps, 8, 12)
        assert picture.shape == (2, 3, 8, 12)
        assert picture.min() >= -1
        assert picture.max() <= 1
        cold, hot = picture[0, :, 0, 0], picture[0, :, -1, -1]
        assert cold[2] > cold[0]
        assert hot[0] > hot[2]
        assert torch.isfinite(heat_colours(torch.ones(1, 1, 2, 2), 4, 4)).all()


class TestInit:
    @pytest.mark.parametrize(
        ("name", "deviation"),
        [
            ("normal", 0.02),
            ("xavier", 0.02 * (2 / (64 * 9 + 128 * 9)) ** 0.5),
            ("kaiming", (2 / (64 * 9)) ** 0.5),
        ],
    )
    def test_deviation(self, name, deviation):
        torch.manual_seed(0)
        layers = nn.Sequential(nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128))
        init_weights(layers, name)
        assert layers[0].weight.std().item() == pytest.approx(deviation, rel=0.02)
        assert (layers[0].bias == 0).all()
        assert layers[1].weight.mean().item() == pytest.approx(1, abs=0.01)
        assert layers[1].weight.std().item() == pytest.approx(0.02, rel=0.3)

    def test_orthogonal(self):
        layer = nn.Linear(40, 20)
        init_weights(layer, "orthogonal")
        product = layer.weight @ layer.weight.t()
        assert torch.allclose(product, 0.02**2 * torch.eye(20), atol=1e-7)

    def test_stock_changes_nothing(self):
        layer = nn.Conv2d(3, 4, 3)
        before = copy.deepcopy(layer.state_dict())
        init_weights(layer, "stock")
        assert all(torch.equal(before[key], value) for key, value in layer.state_dict().items())


class TestSkip:
    def test_zero_gives_the_input(self):
        x = torch.linspace(-1, 1, 300).view(1, 3, 10, 10)
        h = torch.zeros(1, 4, 10, 10)
        assert torch.allclose(output_image(h, x, True), 0.98 * x, atol=1e-6)

    def test_without_a_skip_it_is_tanh(self):
        x, h = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        assert torch.equal(output_image(h, x, False), torch.tanh(h))

    def test_closed_gate_lets_go_of_the_input(self):
        x, h = torch.rand(2, 3, 4, 4), torch.randn(2, 4, 4, 4)
        h[:, -1] = -30
        assert torch.allclose(output_image(h, x, True), torch.tanh(h[:, :3]), atol=1e-6)

    def test_white_can_become_black(self):
        h = torch.tensor([-6.0, 0.0]).view(1, 2, 1, 1)
        assert output_image(h, torch.ones(1, 1, 1, 1), True).item() < -0.99

    def test_untrained_network_is_nearly_the_identity(self):
        last = nn.Conv2d(16, 4, 7, padding=3)
        prepare_skip(last)
        x = torch.rand(1, 3, 16, 16) * 2 - 1
        image = output_image(last(torch.randn(1, 16, 16, 16)), x, True)
        assert (image - x).abs().max() < 0.05

    def test_channels_must_agree(self):
        one, three = Shape(1, 8, 8), Shape(3, 8, 8)
        with pytest.raises(UserError, match=r"3 channels .* 1; set input_skip"):
            output_channels(three, one, True)
        assert output_channels(three, one, False) == 1
        assert output_channels(three, three, True) == 4


class TestFrozen:
    def test_gradient_passes_through_but_not_into(self):
        judge, x = nn.Linear(3, 1), normal(2, 3).float().requires_grad_()
        with frozen(judge):
            loss = judge(x).sum()
        loss.backward()
        assert judge.weight.grad is None
        assert torch.allclose(x.grad, judge.weight.expand_as(x))

    def test_restores_what_was_trainable(self):
        judge = nn.Linear(3, 1)
        judge.bias.requires_grad_(False)

        def fail():
            with frozen(judge):
                assert not judge.weight.requires_grad
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert judge.weight.requires_grad
        assert not judge.bias.requires_grad


def test_residual_block_without_its_branch_is_the_identity():
    block, x = ResidualBlock(3, "none", "reflect", bias=True), normal(1, 3, 6, 6).float()
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    assert torch.equal(block(x), x)


def test_size_messages_name_the_owner_and_the_rule():
    with pytest.raises(UserError, match=r"generator g .* 30 x 32 .* multiples of 4"):
        check_size("generator g", 30, 32, multiple=4)
    with pytest.raises(UserError, match=r"32 x 8 .* at least 12"):
        check_size("generator g", 32, 8, multiple=4, least=12)
    check_size("generator g", 32, 12, multiple=4, least=12)
