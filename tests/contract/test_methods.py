"""What every registered method must do, with the real updater."""

from dataclasses import fields, replace

import pytest
import torch

from tests.contract.variants import SHAPE, awake, small
from tests.training import count_inputs
from zoo.create import create_method
from zoo.layers.adversarial import Adversarial
from zoo.layers.penalty import Penalised
from zoo.protocols import Batch, Shape
from zoo.registry import LOSSES, METHODS, UserError, slot_registry
from zoo.schema import Optim, PerDirection, PerDomain
from zoo.update import Updater


def build(name, a=SHAPE, b=SHAPE, **weights):
    torch.manual_seed(0)
    cls = METHODS[name]
    config = small(cls.Config())
    return awake(cls(replace(config, weights=replace(config.weights, **weights)), a, b))


def batch(a=SHAPE, b=SHAPE, n=2, step=0):
    rng = torch.Generator().manual_seed(step)
    x, y = (torch.rand(n, *shape, generator=rng) * 2 - 1 for shape in (a, b))
    return Batch(x, y, step, n * step)


def enough(name, n=2, step=0):
    """A batch of which every update in a step gets n images."""
    cls = METHODS[name]
    return batch(n=n * cls.samples_per_step(small(cls.Config())), step=step)


def one_step(method, data=None):
    """Raw terms by player, and the gradients that the optimizers saw, by parameter name."""
    updater, terms, gradients = Updater(method, Optim()), {}, {}
    names = {p: name for name, p in method.named_parameters()}

    def keep(optimizer, *_):
        for group in optimizer.param_groups:
            gradients.update({names[p]: p.grad for p in group["params"]})

    for optimizer in updater.optimizers.values():
        optimizer.register_step_pre_hook(keep)

    def update(player, named):
        terms[player] = {**named, **terms.get(player, {})}  # the first update's, of several
        updater(player, named)

    data = data or enough(next(n for n in METHODS.names() if METHODS[n] is type(method)))
    updater.start(data)
    method.step(data, update)
    updater.finish(data)
    return terms, gradients


def weights_of(name):
    return [field.name for field in fields(METHODS[name].Config.Weights)]


def with_zero(value, side):
    kind = type(value)
    return kind(**{f.name: 0 if f.name == side else getattr(value, f.name) for f in fields(kind)})


@pytest.fixture(params=METHODS.names())
def name(request):
    return request.param


def test_players_own_every_parameter_once(name):
    method = build(name)
    owned = [p for nets in method.players().values() for net in nets for p in net.parameters()]
    assert len(owned) == len(set(owned))
    assert set(owned) == set(method.parameters())


def test_passes_name_every_player_once(name):
    method = build(name)
    if method.passes:
        assert sorted(p for group in method.passes for p in group) == sorted(method.players())


def test_a_step_updates_every_player_with_every_term(name):
    method = build(name)
    before = {key: p.detach().clone() for key, p in method.named_parameters()}
    terms, gradients = one_step(method)
    assert set(terms) == set(method.players())
    used = {key.partition("/")[0] for named in terms.values() for key in named}
    assert used == set(weights_of(name))
    for key, parameter in method.named_parameters():
        assert gradients[key] is not None, key
        if not key.endswith("bias"):
            assert not torch.equal(parameter, before[key]), key


def test_terms_are_finite_and_raw(name):
    method = build(name)
    terms, _ = one_step(method)
    heavier = build(name, **{w: _scaled(getattr(method.weights, w), 3) for w in weights_of(name)})
    again, _ = one_step(heavier)
    first = _flat(next(iter(terms.values())))
    second = _flat(next(iter(again.values())))
    assert all(torch.isfinite(value) for value in first.values())
    for key, value in first.items():  # of the first player, before anything was updated
        assert value.item() == pytest.approx(second[key].item(), rel=1e-6), key


def test_each_weight_can_be_zero(name):
    for weight in weights_of(name):
        value = getattr(build(name).weights, weight)
        if not isinstance(value, PerDomain | PerDirection):
            continue
        for side in (f.name for f in fields(value)):
            method = build(name, **{weight: with_zero(value, side)})
            terms, _ = one_step(method)
            keys = {key for named in terms.values() for key in named}
            assert f"{weight}/{side}" not in keys


OFF = {"adversarial": 0, "l1": 0, "discriminator": 0}

ONE_WAY = {
    "adversarial": PerDirection(1, 0),
    "nce": PerDomain(1, 0),
    "cycle": PerDomain(10, 0),
    "identity": PerDomain(0),
    "cam": PerDirection(0),
    "feature_match": PerDirection(0),
    "reconstruction": PerDomain(0),
    "discriminator": PerDomain(0),
}


@pytest.mark.parametrize(
    ("name", "weights", "generators", "discriminators"),
    [
        ("cyclegan", [], 6, 6),
        ("cyclegan", ["identity"], 4, 6),
        ("cyclegan", ["adversarial", "cycle", "identity"], 2, 3),
        ("cyclegan", ["discriminator"], 6, 2),
        ("ugatit", [], 6, 6),
        ("ugatit", ["identity"], 6, 6),  # the CAM loss needs the same images
        ("ugatit", ["identity", "cam"], 4, 6),
        ("ugatit", ["adversarial", "cycle", "identity", "cam"], 2, 3),
        ("ugatit", ["discriminator"], 6, 2),
        ("pix2pix", [], 1, 3),
        ("pix2pix", ["l1"], 1, 3),
        ("pix2pix", ["adversarial"], 1, 0),
        ("pix2pix", ["discriminator"], 1, 1),
        ("cut", [], 8, 3),  # 4 of the generator, 4 of the sampler
        ("cut", ["nce"], 4, 3),
        ("cut", ["adversarial"], 8, 0),
        ("cut", ["discriminator"], 8, 1),
        ("discogan", [], 4, 8),  # features of reals in the generators' update too
        ("discogan", ["feature_match"], 4, 6),
        ("discogan", ["adversarial", "cycle", "feature_match"], 2, 3),
        ("discogan", ["discriminator"], 4, 4),
        ("nicegan", [], 8, 8),  # fakes are decoded for each player, the cycle's features judged
        ("nicegan", ["reconstruction"], 6, 8),
        ("nicegan", ["adversarial", "cycle", "reconstruction"], 3, 5),
        ("nicegan", ["discriminator"], 6, 4),  # encoders of reals, which fakes are made from
        ("bigan", [], 2, 4),
        ("bigan", ["discriminator"], 2, 2),
        ("cogan", [], 1, 6),
        ("cogan", ["discriminator"], 1, 2),
        ("dualgan", [], 10, 14),
        ("dualgan", ["discriminator"], 4, 2),
        ("simgan", [], 3, 4),
        ("simgan", ["discriminator"], 2, 2),
        ("featureloss", [], 1, 3),
        ("featureloss", ["discriminator"], 1, 1),
    ],
)
def test_a_weight_of_zero_costs_no_forward(name, weights, generators, discriminators):
    default = METHODS[name].Config().weights
    sided = {w: isinstance(getattr(default, w), PerDomain | PerDirection) for w in weights}
    method = build(name, **{w: (ONE_WAY if sided[w] else OFF)[w] for w in weights})
    count = count_inputs(method, images=2)
    one_step(method)
    assert (count["generators"], count["discriminators"]) == (generators, discriminators)


def test_identical_runs_are_identical(name):
    states = []
    for _ in range(2):
        method = build(name)
        one_step(method)
        states.append(method.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_generators_update_computes_no_gradient_of_a_discriminator(name):
    method = build(name)
    judges = [p for net in method.players()["discriminators"] for p in net.parameters()]

    def update(player, terms):
        if player == "generators":
            sum(_flat(terms).values()).backward()  # without `inputs=`
            assert all(p.grad is None for p in judges)

    method.step(enough(name), update)


def test_discriminators_update_reaches_no_generator(name):
    method = build(name)

    def update(player, terms):
        if player == "discriminators":
            sum(_flat(terms).values()).backward()
            translators = [p for net in method.players()["generators"] for p in net.parameters()]
            assert all(p.grad is None for p in translators)

    method.step(enough(name), update)


SAME_CHANNELS = {"identity", "self_regularisation"}  # weights of terms that mix the domains


ONE_NUMBER_OF_CHANNELS = {"cut"}  # their generators also see what they made


def test_domains_may_differ_in_channels(name):
    a, b = Shape(3, 32, 32), Shape(1, 32, 32)
    if name in ONE_NUMBER_OF_CHANNELS:
        with pytest.raises(UserError, match=r"3 channels .* 1;"):
            build(name, a, b)
        return
    weights, off = build(name).weights, {}
    if SAME_CHANNELS & set(weights_of(name)):
        with pytest.raises(UserError, match=r"3 channels .* 1;") as refused:
            build(name, a, b)
        named = [w for w in weights_of(name) if f"weights.{w}" in str(refused.value)]
        off = {w: _scaled(getattr(weights, w), 0) for w in named}
    method = build(name, a, b, **off)
    samples = METHODS[name].samples_per_step(small(METHODS[name].Config()))
    terms, _ = one_step(method, batch(a, b, n=2 * samples))
    assert terms
    assert method.translate(batch(a, b).a, "a2b").shape[1] == 1


def test_translates_in_its_directions(name):
    method = build(name).eval()
    for direction in method.directions:
        assert method.translate(batch().a, direction).shape == batch().a.shape


def test_pictures_are_images(name):
    method = build(name).eval()
    with torch.no_grad():
        pictures = method.pictures(batch())
    assert next(iter(pictures)) == "real_a"
    for picture in pictures.values():
        assert picture.shape == (2, 3, 32, 32)
        assert picture.abs().max() <= 1


def test_extra_state_returns(name):
    method, other = build(name), build(name)
    one_step(method)
    other.load_extra_state(method.extra_state())
    ours, theirs = method.extra_state(), other.extra_state()
    assert ours.keys() == theirs.keys()
    for key, images in ours.items():
        assert all(torch.equal(*pair) for pair in zip(images, theirs[key], strict=True))


def test_bf16_step_is_finite(name):
    method = build(name)
    updater = Updater(method, Optim())
    data = enough(name)
    updater.start(data)
    with torch.autocast("cpu", torch.bfloat16):
        method.step(data, updater)
    updater.finish(data)
    (record,) = updater.records()
    assert not record.bad


def adversarial_slots(name):
    """Names of a method's fields that hold GAN losses."""
    slots = [slot for slot in fields(METHODS[name].Config) if slot_registry(slot) is LOSSES]
    return [
        slot.name for slot in slots if issubclass(LOSSES[slot.metadata["default"]], Adversarial)
    ]


GAN_LOSSES = [name for name in LOSSES.names() if issubclass(LOSSES[name], Adversarial)]


@pytest.mark.parametrize("loss", GAN_LOSSES)
def test_any_gan_loss_trains_two_steps(name, loss):
    torch.manual_seed(0)
    cls = METHODS[name]
    method = cls(
        replace(
            small(cls.Config()), **dict.fromkeys(adversarial_slots(name), LOSSES.default(loss))
        ),
        SHAPE,
        SHAPE,
    )
    updater, shown = Updater(method, Optim()), set()
    before = {key: p.detach().clone() for key, p in method.named_parameters()}
    for step in range(2):
        data = enough(name, step=step)
        updater.start(data)
        updater.step(data)
        shown |= {key.rpartition("/")[2] for key in updater.player_of}
    assert not any(record.bad for record in updater.records())
    assert {"real", "fake"} <= shown
    penalised = issubclass(LOSSES[loss], Penalised) or loss == "zero_centred"
    assert ("penalty" in shown) == penalised
    for key, parameter in method.named_parameters():
        if not key.endswith("bias"):
            assert not torch.equal(parameter, before[key]), key
    if loss == "wgan":
        for net in method.players()["discriminators"]:
            assert max(p.abs().max() for p in net.parameters()) <= 0.01


def test_a_loss_that_is_no_gan_loss_is_refused(name):
    for slot in adversarial_slots(name):
        with pytest.raises(UserError, match="does not offer"):
            create_method(name, SHAPE, SHAPE, **{slot: "cycle"})


def _flat(terms):
    flat = {}
    for key, term in terms.items():
        parts = term if isinstance(term, dict) else {"": term}
        flat.update({f"{key}/{part}": value for part, value in parts.items()})
    return flat


def _scaled(value, factor):
    if not isinstance(value, PerDomain | PerDirection):
        return value * factor
    return type(value)(*(factor * getattr(value, f.name) for f in fields(value)))
