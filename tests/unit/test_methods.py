"""What single methods promise beyond the contract."""

import random
from dataclasses import replace
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from tests.contract.variants import SHAPE, small
from tests.training import count_inputs
from zoo.create import create_loss, create_method
from zoo.downloads import FOLDER_VARIABLE, MissingWeights
from zoo.layers.pool import HistoryBuffer
from zoo.protocols import Batch, Shape
from zoo.recipe import RecipeError, load_recipe
from zoo.registry import METHODS, UserError
from zoo.runs import build_method
from zoo.schema import Optim, PerDomain
from zoo.update import Updater


def build(name, **changes):
    torch.manual_seed(0)
    cls = METHODS[name]
    return cls(replace(small(cls.Config()), **changes), SHAPE, SHAPE)


def batch(n, step=0, images_seen=0, shape=SHAPE):
    rng = torch.Generator().manual_seed(step)
    a, b = (torch.rand(n, *shape, generator=rng) * 2 - 1 for _ in range(2))
    return Batch(a, b, step, images_seen)


def updates(method, data):
    """Players and their terms in order."""
    updater, seen = Updater(method, Optim()), []

    def update(player, terms):
        seen.append((player, set(terms)))
        updater(player, terms)

    updater.start(data)
    method.step(data, update)
    updater.finish(data)
    return seen


# BiGAN --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("discriminator", ["joint", "patch"])
def test_bigan_judges_pairs(discriminator):
    method = create_method(
        "bigan",
        SHAPE,
        Shape(1, 32, 32),
        generator={"width": 6, "num_blocks": 1},
        discriminator={"name": discriminator, "width": 6},
    )
    a, b = batch(2).a, batch(2).b[:, :1]
    seen = []
    method.discriminator.register_forward_hook(
        lambda _, inputs, __: seen.extend(inputs[0].split(2))
    )
    method.step(Batch(a, b, 0, 0), lambda *_: None)
    fake_b, fake_a = method.translate(a, "a2b"), method.translate(b, "b2a")
    for with_b, with_a in (seen[:2], seen[2:]):
        assert torch.equal(with_b, torch.cat([a, fake_b], dim=1))
        assert torch.equal(with_a, torch.cat([fake_a, b], dim=1))


def test_joint_discriminator_splits_unequal_pairs_where_the_images_meet():
    method = create_method("bigan", (3, 32, 32), (1, 32, 32), discriminator={"width": 6})
    assert method.discriminator.first[0].in_channels == 3
    assert method.discriminator.second[0].in_channels == 1


def test_bigan_generators_exchange_the_sides():
    method = build("bigan")
    terms = {}
    method.step(batch(2), lambda player, named: terms.update({player: named}))
    with_b = torch.cat([batch(2).a, method.translate(batch(2).a, "a2b")], dim=1)
    with_a = torch.cat([method.translate(batch(2).b, "b2a"), batch(2).b], dim=1)
    real, fake = (method.discriminator(x).logits[0] for x in (with_b, with_a))
    want = real.square().mean() + (fake - 1).square().mean()
    assert terms["generators"]["adversarial"].item() == pytest.approx(want.item(), rel=1e-5)


# DualGAN ------------------------------------------------------------------------------------------


def test_dualgan_updates_its_critics_several_times_on_new_images():
    method = build("dualgan", discriminator_steps=3)
    seen = []
    method.discriminator_b.register_forward_hook(
        lambda _, inputs, __: seen.extend(inputs[0].split(2))
    )
    data = batch(6)
    players = [player for player, _ in updates(method, data)]
    assert players == ["discriminators"] * 3 + ["generators"]
    for k in range(3):
        assert torch.equal(seen[2 * k], data.b[2 * k : 2 * k + 2])
    assert METHODS["dualgan"].samples_per_step(small(METHODS["dualgan"].Config())) == 3


def test_dualgan_recipe_is_the_published_training():
    recipe = load_recipe("facades/dualgan")
    assert recipe.optim.name == "rmsprop"
    assert recipe.method.config.adversarial.name == "wgan"
    modern = load_recipe("facades/dualgan_gp")
    assert modern.optim.name == "adam"
    assert modern.method.config.adversarial.name == "wgan_gp"


# SimGAN -------------------------------------------------------------------------------------------


def test_simgan_updates_and_warm_up():
    method = build(
        "simgan",
        generator_steps=2,
        generator_warmup_images=12,
        discriminator_warmup_images=6,
    )
    refine = ("generators", {"self_regularisation"})
    both = ("generators", {"adversarial", "self_regularisation"})
    judge = ("discriminators", {"discriminator"})
    assert updates(method, batch(6, images_seen=6)) == [refine] * 3
    assert updates(method, batch(6, images_seen=12)) == [judge] * 3
    assert updates(method, batch(6, images_seen=18)) == [both, both, judge]


def keep(terms, player, named):
    """An `update` that only takes down the terms."""
    terms.update(named)


def test_history_changes_the_discriminators_gradient():
    method = build("simgan", history_size=8, generator_steps=1)
    for step in range(3):
        random.seed(step)
        updates(method, batch(8, step))
    gradients = []
    for size in (8, 0):
        method.history.size = size
        terms: dict = {}
        method._judge(batch(4, 9), partial(keep, terms))
        gradients.append(
            torch.autograd.grad(
                terms["discriminator"]["fake"], list(method.discriminator.parameters())
            )
        )
    with_history, without = gradients
    assert all(not torch.allclose(x, y) for x, y in zip(with_history, without, strict=True))


def test_half_of_a_batch_comes_from_the_history():
    history = HistoryBuffer(6, random.Random(0))
    assert torch.equal(history(torch.zeros(4, 3, 2, 2)), torch.zeros(4, 3, 2, 2))  # nothing yet
    for value in range(1, 30):
        images = torch.full((4, 3, 2, 2), float(value), requires_grad=True)
        mixed = history(images)
        assert not mixed.requires_grad
        values = mixed[:, 0, 0, 0].tolist()
        assert values[:2] == [value, value]
        assert all(old < value for old in values[2:])
        assert len(history.images) == min(2 * (value + 1), 6)


def test_history_at_batch_one_returns_an_old_image_half_of_the_time():
    history = HistoryBuffer(5, random.Random(0))
    old = sum(
        history(torch.full((1, 1, 1, 1), float(value))).item() < value for value in range(1, 401)
    )
    assert 150 < old < 250


# Feature loss -------------------------------------------------------------------------------------


def test_features_without_weights_say_which_file_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    method = build_method(
        load_recipe("debug/featureloss", ["method.features.backbone=vgg16"]), None
    )
    with pytest.raises(MissingWeights, match=r"vgg16-397923af\.pth"):
        method.prepare()
    load_recipe("maps/featureloss")  # without a look at the weights


def test_feature_network_is_no_part_of_a_checkpoint():
    method = build("featureloss")
    method.prepare()
    assert not [key for key in method.state_dict() if "features" in key]


def test_features_are_relu4_2_of_normalised_colours():
    torchvision = pytest.importorskip("torchvision")
    loss = create_loss("vgg_features", backbone="random-vgg16")
    loss.prepare()
    theirs = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:21]
    ours = loss._network[0]
    assert [type(x) for x in theirs] == [type(x) for x in ours]
    theirs[:21].load_state_dict(ours.state_dict())
    x, y = torch.rand(2, 1, 3, 16, 16)  # colours in [0, 1]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    normal = [(image - mean[:, None, None]) / std[:, None, None] for image in (x, y)]
    with torch.no_grad():
        want = F.l1_loss(*(theirs(image) for image in normal))
        got = loss(2 * x - 1, 2 * y - 1)
    assert got.item() == pytest.approx(want.item(), rel=1e-4)


def test_features_give_the_image_a_gradient_and_take_grey_images():
    loss = create_loss("vgg_features", backbone="random-vgg16")
    x = torch.zeros(1, 1, 16, 16, requires_grad=True)
    loss(x, torch.ones(1, 1, 16, 16)).backward()
    assert x.grad.abs().max() > 0
    same = torch.rand(1, 3, 16, 16)
    assert loss(same, same).item() == 0


# CoGAN --------------------------------------------------------------------------------------------

TINY = {
    "generator": {"width": 4, "latent_size": 4},
    "discriminator": {"width": 4},
    "encoder_width": 4,
}


def test_cogan_search_beats_a_random_vector():
    torch.manual_seed(0)
    shape = Shape(3, 64, 64)
    method = create_method("cogan", shape, shape, **TINY, search_steps=40, search_restarts=3)
    updater = Updater(method, Optim(lr=1e-2))
    shades = torch.linspace(-0.9, 0.9, 64)[:, None, None, None].expand(-1, 3, 64, 64)
    for step in range(40):
        x = shades[torch.randperm(64)[:4]]
        data = Batch(x, -x, step, 4 * step)
        updater.start(data)
        updater.step(data)
    method.eval()
    x = shades[::20]
    with torch.no_grad():
        error = {
            "random": (method.image(method.random_vectors(x)[0], "a") - x).square().mean(),
            "search": (method.image(method.search(x, "a"), "a") - x).square().mean(),
        }
        more = method.search_restarts
        method.search_restarts = 1
        error["once"] = (method.image(method.search(x, "a"), "a") - x).square().mean()
        method.search_restarts = more
    assert error["search"] < 0.7 * error["random"]
    assert error["search"] <= error["once"]
    assert method.translate(x, "b2a").shape == x.shape


def test_cogan_search_leaves_no_trace():
    method = build("cogan").eval()
    state = torch.get_rng_state()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    with torch.no_grad():
        one, other = (method.translate(batch(2).a, "a2b") for _ in range(2))
    assert torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None and p.requires_grad for p in method.parameters())
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())


def test_cogan_shares_high_level_layers():
    method = build("cogan")
    own = set(method.generator.free.parameters())
    shared = [p for p in method.generator.parameters() if p not in own]
    grads = [
        torch.autograd.grad(made.image.square().sum(), shared, retain_graph=True)
        for made in method.generator(torch.rand(2, 5))
    ]
    assert all(g.abs().max() > 0 for side in grads for g in side)
    judge_a, judge_b = method.discriminator.sides
    assert judge_a.back is judge_b.back
    assert judge_a.front is not judge_b.front


def test_cogan_encoder_guesses_and_needs_a_weight():
    method = build("cogan", translation="encoder").eval()
    assert method.encoder_a in method.translators()
    assert method.translate(batch(2).a, "a2b").shape == (2, *SHAPE)
    weights = METHODS["cogan"].Config.Weights(encoder=PerDomain(1, 0))
    with pytest.raises(UserError, match=r"weights\.encoder"):
        build("cogan", translation="encoder", weights=weights)


def test_cogan_refuses_other_sizes_and_other_generators():
    with pytest.raises(UserError, match="built for 32 x 32"):
        build("cogan").translate(torch.zeros(1, 3, 48, 48), "a2b")
    with pytest.raises(UserError, match=r"hands over latent vectors.*coupled"):
        create_method("cogan", generator="resnet")
    with pytest.raises(UserError, match="reads latent vectors"):
        create_method("cyclegan", generator="coupled")
    with pytest.raises(RecipeError, match="does not offer"):
        load_recipe("debug/cogan", ["method.discriminator.name=patch"])


# Ablations ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "generators", "discriminators"),
    [
        ("gan_alone", 2, 6),
        ("cycle_alone", 4, 0),
        ("gan_forward", 3, 6),
        ("gan_backward", 3, 6),
        ("full", 4, 6),
    ],
)
def test_rows_of_cyclegans_ablation_cost_what_they_use(row, generators, discriminators):
    small_nets = [
        "data.size=32",
        "data.load_size=36",
        "method.generator={width: 6, num_blocks: 1}",
        "method.discriminator={width: 6, num_layers: 2}",
    ]
    method = build_method(load_recipe(f"ablation/cyclegan_{row}", small_nets), None)
    count = count_inputs(method, images=2)
    updates(method, batch(2))
    assert count == {"generators": generators, "discriminators": discriminators}


@pytest.mark.parametrize("norm", ["adain", "instance", "layer", "group"])
def test_ugatit_decoder_with_another_norm(norm):
    torch.manual_seed(0)
    plain = {"width": 6, "num_blocks": 1, "light": True}
    method = create_method(
        "ugatit",
        SHAPE,
        SHAPE,
        generator={**plain, "norm": norm},
        discriminator={"width": 6, "cam": False},
    )
    updates(method, batch(2))
    assert not [key for key in method.state_dict() if key.endswith("rho")]


def test_ugatit_without_attention():
    off = {"width": 6, "num_blocks": 1, "light": True, "cam": False}
    with pytest.raises(UserError, match=r"weights\.cam to 0"):
        create_method("ugatit", SHAPE, SHAPE, generator=off, discriminator={"width": 6})
    method = create_method(
        "ugatit", SHAPE, SHAPE, generator=off, discriminator={"width": 6}, weights={"cam": 0}
    )
    updates(method, batch(2))
    assert method.heatmap(batch(2).a, "a2b") is None
    assert "cam_a" not in method.eval().pictures(batch(2))
