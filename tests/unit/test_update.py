"""`update`: who is changed by what, weights of terms, groups of players, and faults."""

from dataclasses import dataclass, field

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from tests.training import recipe_of
from zoo.divergence import fault_in
from zoo.ema import Ema
from zoo.layers.norm import LIN, AdaLIN
from zoo.method import Method
from zoo.protocols import Batch
from zoo.registry import UserError
from zoo.runs import build_method
from zoo.schema import Optim, PerDirection, PerDomain, Player, Schedule
from zoo.update import Updater, seed_everything

NAN = float("nan")


@dataclass
class Weights:
    fool: PerDirection = field(default_factory=lambda: PerDirection(2))
    cycle: PerDomain = field(default_factory=lambda: PerDomain(10, 0))
    judge: float = 0.5


class Toy(Method):
    """Two players of one layer each; the judge has a buffer that its forward moves."""

    def __init__(self, passes=(("generators", "discriminators"),), order=("generators", "judge")):
        super().__init__()
        torch.manual_seed(0)
        self.passes, self.order = passes, order
        self.make, self.judge_net = nn.Linear(3, 3), nn.Linear(3, 1)
        self.norm = nn.BatchNorm1d(3)
        self.weights = Weights()
        self.spoil: dict[str, float] = {}  # term -> factor
        self.seen_at_judging = None

    def players(self):
        return {"generators": [self.make], "discriminators": [self.judge_net, self.norm]}

    def judge(self, x):
        return self.judge_net(self.norm(x)).mean()

    def step(self, batch, update):
        fake = self.make(batch.a)
        parts = {
            "generators": lambda: update(
                "generators",
                {
                    "fool/a2b": self.judge(fake) * self.spoil.get("fool", 1),
                    "cycle/a": (fake - batch.a).square().mean() * self.spoil.get("cycle", 1),
                },
            ),
            "judge": lambda: self.update_judge(batch, fake.detach(), update),
        }
        for name in self.order:
            parts[name]()

    def update_judge(self, batch, fake, update):
        self.seen_at_judging = self.make.weight.detach().clone()
        factor = self.spoil.get("judge", 1)
        parts = {"real": -self.judge(batch.b) * factor, "fake": self.judge(fake)}
        update("discriminators", {"judge": parts})


def batch(step=0):
    rng = torch.Generator().manual_seed(step)
    a, b = torch.randn(4, 3, generator=rng), torch.randn(4, 3, generator=rng)
    return Batch(a, b, step, 4 * step, tuple((f"{step}a{i}", f"{step}b{i}") for i in range(4)))


def run(updater, steps):
    for step in steps:
        updater.start(batch(step))
        updater.step(batch(step))


def everything(updater, method):
    """All that a step may change."""
    found = {name: t.clone() for name, t in method.state_dict().items()}
    for player, optimizer in updater.optimizers.items():
        for i, state in optimizer.state_dict()["state"].items():
            found |= {f"{player}.{i}.{k}": v.clone() for k, v in state.items() if v is not None}
    if updater.ema is not None:
        found |= {f"ema.{i}": t.clone() for i, t in enumerate(updater.ema.state())}
    return found


def assert_equal(one, other):
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


# Players and weights ----------------------------------------------------------------------------


def test_backward_reaches_the_player_only():
    method = Toy()
    updater = Updater(method, Optim())
    makers = list(method.make.parameters())
    judges = [*method.judge_net.parameters(), *method.norm.parameters()]
    fake = method.make(batch().a)
    updater("generators", {"fool/a2b": method.judge(fake)})
    assert all(p.grad is not None for p in makers)
    assert all(p.grad is None for p in judges)
    before = [p.detach().clone() for p in judges]
    updater("discriminators", {"judge": method.judge(method.make(batch().a))})
    assert not any(torch.equal(p, old) for p, old in zip(judges, before, strict=True))


@pytest.mark.parametrize("passes", [(), (("generators", "discriminators"),)])
def test_gradients_are_freed_when_their_players_have_stepped(passes):
    method = Toy(passes=passes)
    updater = Updater(method, Optim())
    updater("generators", {"cycle/a": method.make(batch().a).square().mean()})
    assert all((p.grad is None) == (passes == ()) for p in method.make.parameters())
    updater("discriminators", {"judge": method.judge(batch().b)})
    assert all(p.grad is None for p in method.parameters())


def test_gradient_is_that_of_the_weighted_sum():
    method = Toy().double()
    method.weights = Weights(PerDirection(2, 3), PerDomain(10, 20), 0.5)
    updater = Updater(method, Optim())
    x = batch().a.double()
    fool, cycle = method.make(x).sum(), method.make(x).square().sum()
    updater("generators", {"fool/b2a": fool, "cycle/b": cycle})
    expected = torch.autograd.grad(
        3 * method.make(x).sum() + 20 * method.make(x).square().sum(), method.make.weight
    )
    assert torch.allclose(method.make.weight.grad, expected[0], rtol=1e-12, atol=0)


def test_weights_by_side_shared_by_parts():
    updater = Updater(Toy(), Optim())
    updater.method.weights = None  # they were read when the updater was made
    keys = ["fool/a2b", "fool/b2a", "cycle/a", "cycle/b", "cycle/a/near", "judge", "judge/real"]
    assert [updater.weight(key) for key in keys] == [2, 2, 10, 0, 10, 0.5, 0.5]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("cycel/a", "cycle.a"), ("cycle", "cycle.b"), ("jugde", "judge")],
)
def test_unknown_term_is_named(key, nearest):
    method = Toy()
    updater = Updater(method, Optim())
    with pytest.raises(UserError) as error:
        updater("generators", {key: method.make(batch().a).sum()})
    assert str(error.value) == (
        f"term {key!r} of Toy has no weight. Did you mean {nearest!r}? "
        f"Weights: fool.a2b, fool.b2a, cycle.a, cycle.b, judge"
    )


def test_unknown_player_is_named():
    with pytest.raises(UserError, match=r"update\('generator'\).*Did you mean 'generators'\?"):
        Updater(Toy(), Optim())("generator", {})


def test_without_terms_a_player_is_left_alone():
    method = Toy()
    updater = Updater(method, Optim())
    run(updater, range(2))
    before = everything(updater, method)
    updater.start(batch(2))
    updater("generators", {})
    updater("discriminators", {})
    updater.finish(batch(2))
    assert_equal(everything(updater, method), before)


def test_networks_that_no_term_reaches_are_not_updated():
    method = Toy()
    updater = Updater(method, Optim(weight_decay=0.1))  # would shrink them
    before = method.judge_net.weight.detach().clone()
    updater.start(batch())
    updater("discriminators", {"judge": method.norm(batch().b).square().mean()})
    assert torch.equal(method.judge_net.weight, before)


def test_rates_by_player_and_images():
    schedule = Schedule(name="linear", constant_images=4, decay_images=8, last="zero")
    optim = Optim(lr=0.1, schedule=schedule, players={"discriminators": Player(lr=0.4)})
    updater = Updater(Toy(), optim)
    seen = []
    for step in range(4):
        updater.start(batch(step))
        seen.append([o.param_groups[0]["lr"] for o in updater.optimizers.values()])
    factors = [1, 7 / 8, 3 / 8, 0]  # s = images_seen + 1 images in
    assert seen == [pytest.approx([0.1 * f, 0.4 * f]) for f in factors]


# Groups -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("constrained", [True, False])
def test_rho_stays_within_0_and_1_whatever_the_method(constrained, monkeypatch):
    if not constrained:  # what the optimizer alone would do
        monkeypatch.delattr(AdaLIN, "constrain")
        monkeypatch.delattr(LIN, "constrain")
    torch.manual_seed(0)
    generator = "method.generator={name: ugatit, width: 4, num_blocks: 1}"
    method = build_method(recipe_of("cyclegan", generator), None)
    updater = Updater(method, Optim(lr=0.3))
    for step in range(2):
        a, b = torch.rand(2, 1, 3, 32, 32) * 2 - 1
        batch = Batch(a, b, step, step)
        updater.start(batch)
        updater.step(batch)
    layers = [m for net in (method.ab, method.ba) for m in net.modules()]
    rho = torch.cat([m.rho.flatten() for m in layers if isinstance(m, AdaLIN | LIN)])
    assert ((rho == 0) | (rho == 1)).any() == constrained
    assert ((rho < 0) | (rho > 1)).any() != constrained


def test_a_group_is_stepped_together():
    method = Toy(passes=(("generators", "discriminators"),))
    before = method.make.weight.detach().clone()
    run(Updater(method, Optim()), range(1))
    assert torch.equal(method.seen_at_judging, before)
    assert not torch.equal(method.make.weight, before)


@pytest.mark.parametrize("passes", [(), (("generators",), ("discriminators",))])
def test_later_groups_see_earlier_updates(passes):
    method = Toy(passes=passes)
    run(Updater(method, Optim()), range(1))
    assert torch.equal(method.seen_at_judging, method.make.weight)


def test_who_still_waits_is_stepped_at_the_end():
    method = Toy(order=("generators",))
    before = method.make.weight.detach().clone()
    run(Updater(method, Optim()), range(1))
    assert not torch.equal(method.make.weight, before)


def test_a_player_cannot_be_updated_twice_while_its_group_waits():
    method = Toy()
    updater = Updater(method, Optim())
    updater("generators", {"cycle/a": method.make(batch().a).square().mean()})
    with pytest.raises(UserError, match=r"'generators'.*twice.*Toy\.passes"):
        updater("generators", {"cycle/a": method.make(batch().a).square().mean()})


def test_a_player_without_a_group_can_be_updated_again():
    method = Toy(passes=())
    updater = Updater(method, Optim(name="sgd", lr=0.1))
    updater.start(batch())
    for _ in range(2):
        before = method.make.weight.detach().clone()
        updater("generators", {"cycle/a": method.make(batch().a).square().mean()})
        assert not torch.equal(method.make.weight, before)


# Steps that are not finite ----------------------------------------------------------------------

ORDERS = [
    ((("generators", "discriminators"),), ("generators", "judge")),
    ((("discriminators",), ("generators",)), ("judge", "generators")),
    ((), ("judge", "generators")),
    ((), ("generators", "judge")),
]


@pytest.mark.parametrize(("passes", "order"), ORDERS)
@pytest.mark.parametrize("term", ["fool", "judge"])
@pytest.mark.parametrize("at", [0, 1, 3])
def test_a_bad_step_is_recorded(passes, order, term, at):
    method = Toy(passes, order)
    updater = Updater(method, Optim(lr=0.1))
    run(updater, range(at))
    method.spoil = {term: NAN}
    run(updater, range(at, at + 1))
    records = updater.records()
    assert [record.bad for record in records] == [False] * at + [True]


def test_every_step_is_judged_by_itself():
    method = Toy()
    updater = Updater(method, Optim(lr=0.0))  # so that the weights stay
    for step in range(3):
        method.spoil = {"judge": float("inf")} if step == 1 else {}
        run(updater, range(step, step + 1))
    assert [record.bad for record in updater.records()] == [False, True, True]  # inf * 0 is NaN
    method = Toy()
    updater = Updater(method, Optim(lr=0.0), scaler=scaler())  # leaves out such a step
    for step in range(3):
        method.spoil = {"judge": float("inf")} if step == 1 else {}
        run(updater, range(step, step + 1))
    assert [record.bad for record in updater.records()] == [False, True, False]


def test_a_gradient_without_bound_is_a_fault():
    method = Toy()
    updater = Updater(method, Optim())
    updater.start(batch())
    zero = (method.make.weight - method.make.weight.detach()).sum()
    updater("generators", {"cycle/a": zero.sqrt()})  # 0, its derivative is not
    updater.finish(batch())
    (record,) = updater.records()
    assert record.bad
    assert record.terms == {"cycle/a": 0.0}
    assert fault_in(record).startswith("step 0 (after 0 images) is not finite: a gradient.")


def test_the_message_names_step_terms_and_files():
    method = Toy()
    updater = Updater(method, Optim())
    run(updater, range(2))
    method.spoil = {"judge": float("inf")}
    run(updater, range(2, 4))
    message = fault_in(updater.records()[2])
    assert message.startswith("step 2 (after 8 images) is not finite: judge/real.")
    assert "cycle/a = " in message
    assert "judge/real = -inf" in message or "judge/real = inf" in message
    assert "images: 2a0 with 2b0; 2a1 with 2b1; 2a2 with 2b2; 2a3 with 2b3" in message


def test_records_are_raw_terms_once():
    method = Toy()
    updater = Updater(method, Optim())
    run(updater, range(2))
    records = updater.records()
    assert [(r.step, r.images_seen, r.bad) for r in records] == [(0, 0, False), (1, 4, False)]
    assert list(records[0].terms) == ["fool/a2b", "cycle/a", "judge/real", "judge/fake"]
    fresh = Toy()
    fake = fresh.make(batch().a)
    assert records[0].terms["cycle/a"] == (fake - batch().a).square().mean().item()
    assert records[0].files == batch().files
    assert updater.records() == []


def test_summary_weighs_means():
    updater = Updater(Toy(), Optim(lr=0.25))
    updater.player_of = {"cycle/a": "generators", "fool/a2b": "generators", "judge/real": "d"}
    steps = [{"cycle/a": 1.0, "fool/a2b": 3.0}, {"cycle/a": 2.0, "judge/real": 8.0}]
    assert updater.summary(steps) == {
        "lr": {"generators": 0.25, "discriminators": 0.25},
        "terms": {"cycle/a": 1.5, "fool/a2b": 3.0, "judge/real": 8.0},
        "weighted": {"cycle/a": 15.0, "fool/a2b": 6.0, "judge/real": 4.0},
        "total": {"generators": 21.0, "d": 4.0},
    }


def test_unused_weights():
    updater = Updater(Toy(), Optim())
    run(updater, range(1))
    assert updater.unused_weights() == {"fool.b2a": 2.0}  # cycle.b is 0


# Half precision: the scaler, here on the CPU with its exact powers of two ------------------------


def scaler(**options):
    return torch.amp.GradScaler("cpu", init_scale=2.0**10, **options)


@pytest.mark.parametrize(("passes", "order"), ORDERS)
@pytest.mark.parametrize("optimizer", ["adam", "sgd", "rmsprop"])
def test_scaled_steps_are_unscaled_ones(passes, order, optimizer):
    """Also while the scale changes at every update: players of a group share one."""
    states = []
    for scaling in (None, scaler(growth_interval=1)):
        method = Toy(passes, order)
        updater = Updater(method, Optim(name=optimizer, lr=0.1), scaler=scaling)
        run(updater, range(3))
        assert not any(record.bad for record in updater.records())
        states.append(everything(updater, method))
    assert scaling.get_scale() > 2**12
    assert_equal(*states)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_overflow_skips_the_step_and_lowers_the_scale(optimizer):
    method = Toy(passes=())
    scaling = scaler()
    updater = Updater(method, Optim(name=optimizer), scaler=scaling)
    before = {name: t.clone() for name, t in method.make.state_dict().items()}
    updater.start(batch())
    zero = (method.make.weight - method.make.weight.detach()).sum()
    updater("generators", {"cycle/a": zero.sqrt()})
    updater.finish(batch())
    assert_equal(method.make.state_dict(), before)
    assert scaling.get_scale() == 2.0**9
    assert not updater.records()[0].bad


@pytest.mark.parametrize(("passes", "order"), ORDERS)
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
@pytest.mark.parametrize("term", ["fool", "judge"])
def test_a_bad_term_is_not_the_scalers_business(passes, order, optimizer, term):
    method = Toy(passes, order)
    updater = Updater(method, Optim(name=optimizer, lr=0.1), scaler=scaler())
    run(updater, range(2))
    method.spoil = {term: NAN}
    run(updater, range(2, 4))
    assert [record.bad for record in updater.records()] == [False, False, True, True]


def test_the_scale_is_saved():
    updater = Updater(Toy(), Optim(), scaler=scaler(growth_interval=1))
    run(updater, range(2))
    other = Updater(Toy(), Optim(), scaler=scaler())
    other.load(updater.state())
    assert other.scaler.get_scale() == updater.scaler.get_scale() > 2**10
    assert other.player_of == updater.player_of


class _Syncs(TorchDispatchMode):
    """Counts what makes the host wait for the device."""

    waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select")

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.__name__.partition(".")[0]
        if name in self.waits:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("method_name", ["cyclegan", "ugatit"])
def test_no_step_waits_for_the_device(method_name):
    recipe = recipe_of(method_name)
    method = build_method(recipe, None)
    updater = Updater(method, recipe.optim, Ema(method.translators(), 100))
    x = torch.zeros(2, 3, 32, 32)
    with _Syncs() as syncs:
        for step in range(2):
            data = Batch(x, x, step, 2 * step)
            updater.start(data)
            updater.step(data)
    assert syncs.found == []
    with _Syncs() as syncs:
        assert method.ab(x).image.sum().item() < float("inf")
    assert syncs.found == ["_local_scalar_dense"]  # the counter works


def test_random_numbers_are_keyed_by_the_step():
    class Noisy(Toy):
        def step(self, batch, update):
            drawn.append(torch.rand(1).item())
            super().step(batch, update)

    drawn = []
    method = Noisy()
    updater = Updater(method, Optim(), seed=3)
    for step in (0, 1, 0):
        torch.rand(step + 5)  # others draw too
        updater.start(batch(step))
        updater.step(batch(step))
    assert drawn[0] == drawn[2] != drawn[1]
    seed_everything(3, 0, 0)
    assert torch.rand(1).item() == drawn[0]
    assert len({tuple(seeded(*key)) for key in ((3, 0, 0), (3, 0, 1), (3, 1, 0), (4, 0, 0))}) == 4


def seeded(*key):
    seed_everything(*key)
    return torch.rand(3).tolist()
