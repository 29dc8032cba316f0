"""NICE-GAN: decoupled training, encoders that translate, and who fits into its slots."""

import pytest
import torch

from tests.training import recipe_of
from zoo.create import create_method
from zoo.layers.softlin import SoftAdaLIN, SoftLIN
from zoo.protocols import Batch, Shape
from zoo.recipe import load_recipe
from zoo.registry import GENERATORS, METHODS, UserError
from zoo.runs import build_method
from zoo.schema import Optim
from zoo.update import Updater

SHAPE = Shape(3, 32, 32)


@pytest.fixture
def method():
    torch.manual_seed(0)
    made = build_method(recipe_of("nicegan"), None)
    with torch.no_grad():
        for judge in (made.discriminator_a, made.discriminator_b):
            judge.encoder.lamda.fill_(0.1)
    return made


def batch():
    torch.manual_seed(1)
    a, b = torch.rand(2, 2, *SHAPE) * 2 - 1
    return Batch(a, b, 0, 0)


def test_a_generator_update_leaves_the_encoder_untouched(method):
    updater, changed = Updater(method, Optim()), {}

    def weights():
        return {name: p.detach().clone() for name, p in method.named_parameters()}

    def update(player, terms):
        before = weights()
        updater(player, terms)
        after = weights()
        changed[player] = {name for name in before if not torch.equal(before[name], after[name])}

    data = batch()
    updater.start(data)
    method.step(data, update)
    updater.finish(data)
    judges = ("discriminator_a.", "discriminator_b.")
    assert changed["generators"]
    assert not any(name.startswith(judges) for name in changed["generators"])
    encoders = {n for n, _ in method.named_parameters() if ".encoder." in n}
    assert encoders
    assert encoders <= changed["discriminators"]
    assert all(name.startswith(judges) for name in changed["discriminators"])


def test_the_generators_gradient_goes_through_the_frozen_encoder(method):
    found = {}

    def update(player, terms):
        if player == "generators":
            found["cycle"] = torch.autograd.grad(
                terms["cycle/a"], list(method.ab.parameters()), allow_unused=True
            )

    method.step(batch(), update)
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in found["cycle"])


def test_encoders_belong_to_what_translates(method):
    x = batch().a
    translating = {id(p) for net in method.translators() for p in net.parameters()}
    method.eval()
    expected = method.translate(x, "a2b")
    with torch.no_grad():
        for parameter in method.parameters():
            if id(parameter) not in translating:
                parameter.fill_(float("nan"))
    assert torch.equal(method.translate(x, "a2b"), expected)


def test_attention_is_off_at_the_start():
    torch.manual_seed(0)
    encoder = build_method(recipe_of("nicegan"), None).discriminator_a.encoder.eval()
    x = batch().a
    z, _, heatmap = encoder(x)
    assert torch.allclose(z, torch.nn.functional.leaky_relu(encoder.layers(x), 0.2))
    assert heatmap.shape == (2, 1, 8, 8)


def test_image_generators_do_not_fit_and_decoders_fit_nowhere_else():
    with pytest.raises(
        UserError, match=r"over features of an encoder, .* 'resnet' reads images; .* nicegan"
    ):
        create_method("nicegan", generator="resnet")
    with pytest.raises(
        UserError, match=r"over images, .* 'nicegan' reads features of an encoder; .*: .*resnet"
    ):
        create_method("cyclegan", generator="nicegan")
    with pytest.raises(UserError, match=r"needs 'encoder'.* those that do: nicegan"):
        load_recipe("debug/nicegan", ["method.discriminator.name=patch"])


def test_parameters_of_the_published_networks():
    large = Shape(3, 256, 256)
    cls = METHODS["nicegan"]
    with torch.device("meta"):
        made = cls(cls.Config(), large, large)
    generators = sum(p.numel() for net in (made.ab, made.ba) for p in net.parameters()) / 1e6
    judges = made.players()["discriminators"]
    assert generators == pytest.approx(16.2, abs=0.05)
    assert sum(p.numel() for net in judges for p in net.parameters()) / 1e6 == pytest.approx(
        93.7, abs=0.1
    )
    assert made.discriminator_a.resolved == {"num_layers": 7}


@pytest.mark.parametrize(("side", "depth"), [(256, 7), (96, 7), (95, 6), (32, 5), (12, 4)])
def test_depth_follows_the_size(side, depth):
    cls = METHODS["nicegan"].Config().discriminator.owner
    net = cls(cls.Config(width=1), Shape(3, side, side))
    assert net.resolved == {"num_layers": depth}
    assert all(torch.isfinite(head).all() for head in net(torch.zeros(1, 3, side, side)).logits)


def test_full_version_is_built_for_one_size():
    cls = GENERATORS["nicegan"]
    config = cls.Config(width=2, num_blocks=1, light=False)
    net = cls(config, Shape(4, 8, 8), SHAPE)
    assert net(torch.zeros(1, 4, 8, 8)).image.shape == (1, *SHAPE)
    with pytest.raises(UserError, match="built for 32 x 32 pixels and got 32 x 48"):
        net(torch.zeros(1, 4, 8, 12))


def test_softmaxed_shares():
    published = torch.tensor([3.2, 1.0]).softmax(0).tolist()
    assert SoftAdaLIN(2).instance_share().flatten().tolist() == pytest.approx([published[0]] * 2)
    assert SoftLIN(2).instance_share().flatten().tolist() == pytest.approx([published[1]] * 2)
