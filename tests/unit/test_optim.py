"""Learning rates and optimizers. The published rates themselves are in tests/golden."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from zoo.optim import build_optimizers, learning_rate_factor, parameters_of
from zoo.registry import UserError
from zoo.schema import Optim, Player, Schedule


def linear(constant, decay, every=1, last="nonzero"):
    return Schedule(
        name="linear", constant_images=constant, decay_images=decay, every_images=every, last=last
    )


def test_constant_is_constant():
    assert {learning_rate_factor(Schedule(), seen) for seen in (0, 1, 10**9)} == {1.0}


@pytest.mark.parametrize(
    ("last", "expected"),
    [("nonzero", [1, 1, 1, 0.75, 0.5, 0.25, 0, 0]), ("zero", [1, 1, 1, 2 / 3, 1 / 3, 0, 0, 0])],
)
def test_both_rules_by_hand(last, expected):
    """Three epochs at the full rate, three down; an epoch has 10 images."""
    schedule = linear(30, 30, every=10, last=last)
    for offset in (0, 9):
        rates = [learning_rate_factor(schedule, 10 * epoch + offset) for epoch in range(8)]
        assert rates == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("last", "after"), [("nonzero", 0), ("zero", 0)])
def test_nothing_to_decay(last, after):
    schedule = linear(4, 0, last=last)
    assert [learning_rate_factor(schedule, seen) for seen in (0, 3, 4, 100)] == [1, 1, after, after]


@given(
    st.integers(0, 50), st.integers(0, 50), st.integers(1, 7), st.sampled_from(["nonzero", "zero"])
)
def test_rate_falls_from_one_to_zero_and_never_below(constant, decay, every, last):
    rates = [learning_rate_factor(linear(constant, decay, every, last), i) for i in range(200)]
    assert all(0 <= after <= before <= 1 for before, after in itertools.pairwise(rates))
    assert rates[-1] == 0
    assert rates[: constant // every * every] == [1] * (constant // every * every)


def players():
    torch.manual_seed(0)
    return {"generators": [nn.Linear(3, 4)], "discriminators": [nn.Linear(3, 2), nn.Linear(2, 1)]}


def test_players_may_differ():
    optim = Optim(
        lr=0.1,
        betas=(0.5, 0.9),
        players={"discriminators": Player(lr=0.4, betas=(0.0, 0.9), weight_decay=0.01)},
    )
    built = build_optimizers(optim, players())
    seen = {
        name: [optimizer.param_groups[0][key] for key in ("lr", "betas", "weight_decay")]
        for name, optimizer in built.items()
    }
    assert seen == {
        "generators": [0.1, (0.5, 0.9), 0],
        "discriminators": [0.4, (0.0, 0.9), 0.01],
    }


def test_unknown_player_is_named():
    optim = Optim(players={"discriminator": Player(lr=1.0)})
    with pytest.raises(UserError, match=r"Did you mean 'discriminators'\?.*generators"):
        build_optimizers(optim, players())


def test_shared_parameters_count_once():
    shared = nn.Linear(2, 2)
    assert parameters_of([shared, nn.Sequential(shared)]) == list(shared.parameters())


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("adam", lambda p: torch.optim.Adam(p, 0.1, (0.5, 0.999), weight_decay=0.01, fused=True)),
        ("sgd", lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.01, fused=True)),
        ("rmsprop", lambda p: torch.optim.RMSprop(p, 0.1, weight_decay=0.01)),
    ],
)
def test_steps_are_those_of_a_fresh_torch_optimizer(name, reference):
    ours, theirs = nn.Linear(3, 4), nn.Linear(3, 4)
    theirs.load_state_dict(ours.state_dict())
    optimizer = build_optimizers(Optim(name=name, lr=0.1, weight_decay=0.01), {"p": [ours]})["p"]
    expected = reference(theirs.parameters())
    assert all(p.grad is None for p in ours.parameters())
    for net in (ours, theirs):
        assert torch.equal(net.weight, theirs.weight)
    x = torch.randn(5, 3)
    for _ in range(3):
        for net, opt in ((ours, optimizer), (theirs, expected)):
            opt.zero_grad()
            net(x).square().mean().backward()
            opt.step()
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.bias, theirs.bias)
