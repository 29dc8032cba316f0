"""The discriminator that remembers features, its queues, and the penalty of any GAN loss."""

import copy

import pytest
import torch
from torch import nn

from tests.training import assert_same_run, recipe_of, train_here
from zoo.create import create_discriminator
from zoo.layers.adversarial import frozen
from zoo.layers.batch_head import BatchStdevHead, batch_head, in_company
from zoo.layers.queue import FeatureQueue
from zoo.protocols import Batch, Judgement, Shape
from zoo.registry import DISCRIMINATORS, LOSSES, Part, UserError
from zoo.runs import build_method
from zoo.schema import Optim
from zoo.update import Updater

SHAPE = Shape(3, 32, 32)


def build(**options):
    torch.manual_seed(0)
    cls = DISCRIMINATORS["batch_head"]
    return cls(cls.Config(**{"width": 4, "num_layers": 2, "spectral": False, **options}), SHAPE)


def images(seed, n=1):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("head", ["batch_norm_2d", "batch_stdev"])
def test_earlier_reals_change_what_is_said_of_reals_alone(head):
    net = build(head=head)
    alone = net(images(0)).logits[0]
    net(images(1), "real")
    assert torch.equal(net(images(0)).logits[0], alone)
    assert torch.equal(net(images(0), "fake").logits[0], alone)  # an empty queue until then
    assert not torch.allclose(net(images(0), "real").logits[0], alone)


def test_queues_are_apart_and_filled_by_own_updates_only():
    net = build()
    with frozen(net):
        net(images(0), "fake")
    net.eval()(images(0), "fake")
    with torch.no_grad():
        net.train()(images(0), "fake")
    assert net.fake_queue.query() is None
    for seed in range(5):
        net(images(seed), "real")
    assert len(net.real_queue.query()) == 3
    assert net.fake_queue.query() is None
    with torch.no_grad():
        assert torch.allclose(net.real_queue.items[0], net.body(images(3))[0])


def test_no_gradient_flows_into_the_queue():
    net = build()
    first = images(0).requires_grad_()
    net(first, "real")
    net(images(1), "real").logits[0].sum().backward()
    assert first.grad is None


def test_gan_losses_say_what_is_real():
    net, loss = build(), LOSSES["lsgan"](LOSSES["lsgan"].Config())
    loss.judge(net, images(0), images(1))
    with torch.no_grad():
        assert torch.allclose(net.real_queue.query(), net.body(images(0)))
        assert torch.allclose(net.fake_queue.query(), net.body(images(1)))
    kept = net.fake_queue.query()
    loss.fool(net, images(2), images(0))
    assert torch.equal(net.fake_queue.query(), kept)


def test_queues_are_saved_with_the_method():
    recipe = recipe_of("cyclegan_batch_head")
    method, other = build_method(recipe, None), build_method(recipe, None)
    updater = Updater(method, Optim())
    data = Batch(images(0, 2), images(1, 2), 0, 0)
    updater.start(data)
    updater.step(data)
    state = method.extra_state()
    queues = {name for name in state if name.endswith("_queue")}
    assert queues == {
        f"discriminator_{side}.{kind}_queue" for side in "ab" for kind in ("real", "fake")
    }
    other.load_extra_state(copy.deepcopy(state))
    ours, theirs = method.discriminator_a.real_queue, other.discriminator_a.real_queue
    assert torch.equal(ours.query(), theirs.query())
    assert ours.next == theirs.next == 2


def test_resumed_run_is_the_same_run(tmp_path):
    recipe = recipe_of("cyclegan_batch_head", "train.images=12")
    whole = train_here(recipe, tmp_path / "whole")
    short = recipe_of("cyclegan_batch_head", "train.images=6")
    train_here(short, tmp_path / "cut")
    train_here(recipe, tmp_path / "cut", resume=True)
    assert_same_run(tmp_path / "cut", whole)


def test_a_queue_of_nothing():
    queue = FeatureQueue(0)
    queue.push(torch.ones(2, 3))
    assert queue.query() is None
    queue.load(queue.state())
    assert queue.items == []


def test_spread_of_identical_images_is_nearly_nothing():
    torch.manual_seed(0)
    head, seen = BatchStdevHead(2, 3), []
    head.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(1, 2, 4, 4)
    head(x.repeat(3, 1, 1, 1))
    head(torch.cat([x - 1, x + 1]))
    same, apart = (inputs[:, 2] for inputs in seen)
    assert torch.allclose(same, torch.full_like(same, 1e-3))  # the root of the 1e-6 inside
    assert torch.allclose(apart, torch.ones_like(apart), atol=1e-5)


def test_company_changes_statistics_and_no_rows():
    torch.manual_seed(0)
    head = batch_head("batch_norm_2d", 2, 3)
    x, others = torch.randn(2, 2, 4, 4), torch.randn(3, 2, 4, 4) + 2
    assert in_company(head, x, others).shape == (2, 1, 4, 4)
    assert torch.equal(in_company(head, x, None), head(x))
    assert not torch.allclose(in_company(head, x, others), head(x))


@pytest.mark.parametrize("options", [{"num_layers": 0}, {"queue_size": -1}])
def test_wrong_sizes_are_refused(options):
    with pytest.raises(UserError, match=next(iter(options))):
        create_discriminator("batch_head", **options)


class Linear(nn.Module):
    """Says w . x of an image, so that its gradient is w."""

    def __init__(self, norm):
        super().__init__()
        w = torch.ones(3 * 4 * 4)
        self.w = nn.Parameter(norm * w / w.norm())

    def forward(self, x):
        return Judgement((x.flatten(1) @ self.w[:, None],))


def penalised(**options):
    cls = LOSSES["zero_centred"]
    return cls(cls.Config(**options))


@pytest.mark.parametrize(("norm", "centre"), [(3.0, 0.0), (3.0, 1.0), (1.0, 1.0)])
def test_penalty_of_a_linear_judge(norm, centre):
    loss = penalised(strength=0.5, centre=centre)
    real, fake = torch.randn(2, 5, 3, 4, 4)
    terms = loss.judge(Linear(norm), real, fake)
    assert terms["penalty"].item() == pytest.approx(0.5 * (norm - centre) ** 2, rel=1e-5, abs=1e-9)


def test_penalty_alone_shrinks_the_gradient():
    judge, loss = Linear(2.0), penalised(strength=0.5)
    optimizer = torch.optim.SGD(judge.parameters(), lr=0.2)
    for _ in range(30):
        optimizer.zero_grad()
        loss.judge(judge, *torch.randn(2, 4, 3, 4, 4))["penalty"].backward()
        optimizer.step()
    assert judge.w.norm() < 0.01


def test_mixtures_share_one_alpha():
    loss, seen = penalised(strength=1.0), []
    judge = Linear(1.0)
    plain = judge.forward
    judge.forward = lambda x: (seen.append(x.detach()), plain(x))[1]
    real, fake = torch.ones(4, 3, 4, 4), torch.zeros(4, 3, 4, 4)
    loss.judge(judge, real, fake)
    mixed = seen[-1]
    assert mixed.unique().numel() == 1
    assert 0 < mixed.max() < 1


def test_penalty_reaches_every_weight_of_the_real_discriminator():
    net = build(spectral=True)
    terms = penalised(strength=1.0).judge(net, images(0, 2), images(1, 2))
    terms["penalty"].backward()
    for name, parameter in net.named_parameters():
        if name.endswith("weight"):
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_any_gan_loss_is_a_base_and_no_other():
    vanilla = penalised(base=Part(LOSSES, "gan", LOSSES["gan"].Config()))
    logits = torch.tensor([0.3])
    assert vanilla.real_term(logits) == LOSSES["gan"](None).real_term(logits)
    with pytest.raises(UserError, match="'cycle', which is not a GAN loss"):
        penalised(base=LOSSES.default("cycle"))
    with pytest.raises(UserError, match="strength is 0"):
        penalised(strength=0.0)
