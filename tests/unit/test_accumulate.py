"""`train.accumulate`: k micro-batches are the whole batch, or are refused."""

import pytest
import torch
from safetensors.torch import load_file

from tests.training import CASES as RUNS
from tests.training import assert_same_run, recipe_of, run_several, train_here
from zoo import checkpoint, update
from zoo.accumulate import Accumulation, refuse_inexact
from zoo.describe import describe
from zoo.ema import Ema
from zoo.layers.batch_values import BatchValues, once_a_batch
from zoo.protocols import Batch
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.runs import build_method
from zoo.update import Updater

IMAGES, STEPS = 4, 3
EXACT, OFF = 1e-12, 1e-5  # largest difference of any number after so many steps
TINY = ("method.generator.width=2", "method.discriminator.width=2")
INSTANCE = ("method.generator.norm=instance", "method.discriminator.norm=instance")
# Plain gradient descent: Adam would divide gradients that are 0 but for rounding by themselves.
CASES = {
    "cyclegan": ("method.pool_size=3",),
    "cyclegan, other losses": (
        "method.pool_size=3",
        "method.adversarial={name: r1, interval: 2}",
        "method.discriminator={name: ugatit, width: 2}",
    ),
    "cyclegan, penalty between": ("method.adversarial={name: zero_centred, strength: 1}",),
    "cyclegan, clipped": ("method.adversarial={name: wgan, clip: 0.02}",),
    "ugatit": ("optim.lr=0.0001",),
    "ugatit, other losses": (
        "optim.lr=0.0001",
        "method.adversarial={name: r1, interval: 2}",
    ),
    "cut": (
        "method.num_patches=9",
        "method.flip_equivariance=true",
        "method.weights.nce=0.0001",  # its first gradients are huge
    ),
    "pix2pix": (*INSTANCE, "method.generator.dropout=0"),
    "pix2pix, clipped": (
        *INSTANCE,
        "method.generator.dropout=0",
        "method.adversarial={name: wgan, clip: 0.02}",
    ),
    "nicegan": (),
}


def prepared(case, passes=None):
    """A method in float64 and its updater."""
    name = case.partition(",")[0]
    recipe = recipe_of(name, "data.size=32", *TINY, "optim={name: sgd, lr: 0.01}", *CASES[case])
    torch.manual_seed(0)
    method = build_method(recipe, None).double()
    method.passes = passes or method.passes
    with torch.no_grad():  # shut attention gates would hide what their layers do
        for key, parameter in method.named_parameters():
            if key.endswith("lamda"):
                parameter.fill_(0.1)
    return method, Updater(method, recipe.optim, Ema(method.translators(), 5), seed=7)


def batch_of(step):
    rng = torch.Generator().manual_seed(step)
    a, b = torch.rand(2, IMAGES, 3, 32, 32, generator=rng, dtype=torch.float64) * 2 - 1
    files = tuple((f"a{step}{i}", f"b{step}{i}") for i in range(IMAGES))
    return Batch(a, b, step, IMAGES * step, files)


def train(updater, k, steps):
    stepper = Accumulation(updater, k) if k > 1 else updater
    for step in steps:
        updater.start(batch_of(step))
        stepper.step(batch_of(step))
    return updater.records()


def state_of(method, updater):
    """All that a step may change."""
    found = {key: value.detach().clone() for key, value in method.state_dict().items()}
    for memory, items in method.extra_state().items():
        found |= {f"{memory}.{i}": item for i, item in enumerate(items)}
    for player, optimizer in updater.optimizers.items():
        for i, moments in optimizer.state_dict()["state"].items():
            found |= {f"{player}.{i}.{k}": v.clone() for k, v in moments.items() if v is not None}
    return found | {f"ema.{i}": v.clone() for i, v in enumerate(updater.ema.state())}


def trained(case, k, passes=None):
    """What `STEPS` steps left behind, and their records."""
    method, updater = prepared(case, passes)
    records = train(updater, k, range(STEPS))
    return state_of(method, updater), records


def furthest(one, other):
    """The largest difference of two states."""
    assert one.keys() == other.keys()
    return max((value - other[key]).abs().max().item() for key, value in one.items())


@pytest.fixture(scope="module")
def whole():
    """Steps on the whole batch, by case."""
    kept = {}

    def of(case):
        if case not in kept:
            kept[case] = trained(case, 1)
        return kept[case]

    return of


# Equality ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "k"),
    [
        *((case, 2) for case in CASES),
        *((case, 4) for case in ("cyclegan", "ugatit", "cut", "pix2pix")),
    ],
)
def test_micro_batches_are_the_whole_batch(case, k, whole):
    (expected, records), (found, others) = whole(case), trained(case, k)
    assert furthest(found, expected) < EXACT
    untrained = dict(prepared(case)[0].named_parameters())
    assert furthest(untrained, {key: expected[key] for key in untrained}) > 100 * OFF
    for record, other in zip(records, others, strict=True):
        assert not other.bad
        assert (other.step, other.images_seen) == (record.step, record.images_seen)
        assert other.files == record.files
        assert list(other.terms) == list(record.terms)
        assert list(other.terms.values()) == pytest.approx(list(record.terms.values()), rel=1e-5)


@pytest.mark.parametrize("case", ["ugatit", "cut", "pix2pix"])
def test_one_pass_for_both_players_would_be_off(case, whole):
    """The generators would meet discriminators that have not learnt yet."""
    found, _ = trained(case, 2, passes=(("discriminators", "generators"),))
    assert furthest(found, whole(case)[0]) > OFF


@pytest.mark.parametrize("case", ["ugatit", "cut", "nicegan"])
def test_values_made_for_every_micro_batch_would_be_off(case, whole, monkeypatch):
    """Power iterations of spectral norm, the positions of patches."""
    monkeypatch.setattr(BatchValues, "next", lambda self, make: make())
    assert furthest(trained(case, 2)[0], whole(case)[0]) > OFF


def test_power_iterations_of_an_earlier_pass_are_kept(whole, monkeypatch):
    """Made anew, they would be those of the updated weights from the first forward on."""
    iterate = BatchValues.next

    def anew(self, make):
        if self._first:
            del self.made[self.asked :]
        return iterate(self, make)

    monkeypatch.setattr(BatchValues, "next", anew)
    assert furthest(trained("ugatit", 2)[0], whole("ugatit")[0]) > 100 * EXACT


def test_pools_that_begin_anew_would_be_off(whole, monkeypatch):
    """One stream of random numbers for both pools is another order of draws."""
    monkeypatch.setattr(Updater, "seed_pools", lambda self, step: None)
    pools = furthest(trained("cyclegan", 2)[0], trained("cyclegan", 1)[0])
    assert pools > OFF


def test_a_loss_counts_steps(whole):
    method, updater = prepared("ugatit, other losses")
    train(updater, 4, range(STEPS))
    assert method.adversarial.steps == STEPS


@pytest.mark.parametrize("case", ["cyclegan", "ugatit"])
def test_scaled_gradients_are_summed_alike(case, whole):
    """As in fp16, while the scale, a power of two, changes at every update."""
    method, updater = prepared(case)
    updater.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=1)
    train(updater, 2, range(STEPS))
    assert updater.scaler.get_scale() == 2.0 ** (10 + STEPS * len(method.passes))
    assert furthest(state_of(method, updater), whole(case)[0]) < EXACT


def test_values_are_handed_out_in_order():
    values, numbers = BatchValues(), iter(range(10))

    def ask(count):
        return [once_a_batch(lambda: next(numbers)) for _ in range(count)]

    with values.for_micro_batch(0):
        assert ask(2) == [0, 1]
    with values.for_micro_batch(1):
        assert ask(2) == [0, 1]
    with values.for_micro_batch(0):  # of the next pass: random numbers are drawn as before
        assert ask(3) == [0, 1, 4]
    assert ask(1) == [5]


# Steps that are not finite ------------------------------------------------------------------------


@pytest.mark.parametrize("micro_batch", [0, 1])
@pytest.mark.parametrize(
    ("case", "player"),
    [("cyclegan", "generators"), ("ugatit", "generators"), ("ugatit", "discriminators")],
)
def test_a_bad_micro_batch_is_noted(case, player, micro_batch):
    _, updater = prepared(case)
    assert not any(record.bad for record in train(updater, 2, range(2)))
    backward, calls = updater.backward, []

    def spoil(name, terms, **options):
        calls.append(name)
        if calls.count(player) == micro_batch + 1 and name == player:
            terms = {key: _spoilt(term) for key, term in terms.items()}
        return backward(name, terms, **options)

    updater.backward = spoil
    assert train(updater, 2, range(2, 3))[0].bad  # which the trainer answers by a replay


def _spoilt(term):
    if isinstance(term, dict):
        return {key: value * float("nan") for key, value in term.items()}
    return term * float("nan")


# What is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "overrides", "reason"),
    [
        ("pix2pix", ("method.discriminator.norm=instance",), "ab.*statistics of the batch"),
        ("pix2pix", ("method.generator.norm=instance",), "discriminator_b.*norm: instance"),
        ("discogan", (), "statistics of the batch"),
        ("cyclegan", ("method.adversarial=relativistic",), "adversarial.*mean over the batch"),
        ("cyclegan", ("method.discriminator={name: batch_head}",), "head.*statistics"),
        (
            "cyclegan",
            ("method.discriminator={name: batch_head, head: batch_stdev}",),
            "head.*spread of the batch",
        ),
        ("featureloss", (), "history.*half of every batch"),
        ("simgan", (), "`passes`.*several updates"),
        ("dualgan", (), "`passes`.*several updates"),
    ],
)
def test_refused_with_the_reason(method, overrides, reason, tmp_path):
    settings = ("train.batch=4", "train.accumulate=2", *overrides)
    with pytest.raises(UserError, match=f"train.accumulate is 2, .*{reason}"):
        describe(recipe_of(method, *settings))
    run = tmp_path / "run"
    with pytest.raises(UserError, match=reason):
        train_here(recipe_of(method, *settings), run)
    assert not run.exists()
    describe(recipe_of(method, *settings, "train.accumulate=1"))


def test_a_loss_that_counts_nothing_is_no_reason():
    nothing = "method.weights={feature_match: 0, adversarial: 1}"
    norms = "method.generator=resnet", "method.discriminator=patch"
    recipe = recipe_of("discogan", "train.batch=4", "train.accumulate=2", nothing, *norms)
    describe(recipe)


def test_a_batch_that_does_not_divide():
    with pytest.raises(UserError, match=r"train\.batch is 6, which train\.accumulate 4 does not"):
        recipe_of("cyclegan", "train.batch=6", "train.accumulate=4")
    method = build_method(recipe_of("cyclegan", "train.batch=6"), None)
    refuse_inexact(method, 6, 3, processes=2)
    with pytest.raises(UserError, match=r"6, which 2 processes with train\.accumulate 2 .* of 4"):
        refuse_inexact(method, 6, 2, processes=2)


def test_the_price_is_told():
    settings = ("train.batch=4", "train.accumulate=2")
    assert "1 x over 2 micro-batches of 2; no forward" in describe(recipe_of("cyclegan", *settings))
    told = describe(recipe_of("ugatit", *settings))
    assert "2 x over 2 micro-batches of 2; each pass repeats" in told
    assert "discriminators then generators" in told


# A run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["cyclegan", "cut"])
def test_a_resumed_run_is_the_whole_one(method, tmp_path):
    settings = (*TINY, *RUNS[method], "train.batch=4", "train.accumulate=2")
    whole = train_here(recipe_of(method, *settings, "train.images=16"), tmp_path / "whole")
    run = train_here(recipe_of(method, *settings, "train.images=8"), tmp_path / "run")
    train_here(load_recipe(run / "recipe.yaml", ["train.images=16"]), run, resume=True)
    assert_same_run(run, whole)


@pytest.mark.parametrize("method", ["cyclegan", "ugatit"])
def test_processes_average_once_a_player(method, tmp_path):
    """Two processes of two micro-batches of one image are one process with the batch of four."""
    settings = (*TINY, "train.batch=4", "train.images=8", "optim={name: sgd, lr: 0.001}")
    if method == "cyclegan":
        settings += ("method.pool_size=0",)  # pools are each process's own
    whole = train_here(recipe_of(method, *settings), tmp_path / "whole")

    def work(rank):
        average, calls = update.average_gradients, []
        update.average_gradients = lambda *args: (calls.append(1), average(*args))
        train_here(recipe_of(method, *settings, "train.accumulate=2"), tmp_path / "run")
        assert len(calls) == 2 * 2  # steps and players

    run_several(2, work, tmp_path / "logs")
    expected, found = (
        load_file(checkpoint.find(run) / "weights.safetensors") for run in (whole, tmp_path / "run")
    )
    torch.manual_seed(0)
    untrained = dict(build_method(recipe_of(method, *settings), None).named_parameters())
    moved = furthest(untrained, {key: expected[key] for key in untrained})
    assert furthest(found, expected) < 1e-3 * moved
