"""What every registered discriminator must do."""

import copy

import pytest
import torch
from safetensors.torch import load, save

from tests.contract.variants import SHAPE, awake, small, variants
from zoo.layers import compiled
from zoo.protocols import Judgement, Shape
from zoo.registry import DISCRIMINATORS, UserError

ALL = variants(DISCRIMINATORS)


@pytest.fixture(params=ALL.values(), ids=ALL)
def built(request):
    cls, config = request.param
    torch.manual_seed(0)
    return awake(cls(config, SHAPE))


@pytest.fixture(params=DISCRIMINATORS.names())
def plain(request):
    torch.manual_seed(0)
    cls = DISCRIMINATORS[request.param]
    return cls(small(cls.Config()), SHAPE)


def images(n=2, shape=SHAPE):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(n, *shape, generator=generator) * 2 - 1


def test_one_entry_of_logits_per_head(built):
    judgement = built(images())
    assert isinstance(judgement, Judgement)
    assert len(judgement.logits) == len(built.heads)
    for logits in judgement.logits:
        assert len(logits) == 2
        assert torch.isfinite(logits).all()


def test_no_sigmoid(built):
    torch.manual_seed(0)
    logits = torch.cat([head.flatten() for head in built(10 * images(8)).logits])
    assert logits.min() < 0 or logits.max() > 1


def test_gradient_reaches_every_parameter_and_the_image(built):
    x = images().requires_grad_()
    sum(head.square().sum() for head in built(x).logits).backward()
    assert x.grad.abs().max() > 0
    for name, parameter in built.named_parameters():
        if not parameter.requires_grad:  # fixed on purpose
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        if not name.endswith("bias"):
            assert parameter.grad.abs().max() > 0, name


def test_two_forwards_before_one_backward(built):
    logits = [built(x).logits[0] for x in (images(), images() / 2, images() / 3)]
    sum(head.sum() for head in logits).backward()


def test_takes_the_channels_of_the_data(plain):
    cls, shape = type(plain), Shape(6, 48, 40)
    assert cls(small(cls.Config()), shape)(images(shape=shape)).logits[0].shape[0] == 2


def test_saved_weights_give_the_same_judgement(built, request):
    built.train()(images())  # moves buffers
    cls, config = request.node.callspec.params["built"]
    torch.manual_seed(1)
    other = cls(config, SHAPE)
    other.load_state_dict(load(save(built.state_dict())))
    with torch.no_grad():
        pairs = zip(built.eval()(images()).logits, other.eval()(images()).logits, strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_deepcopy_after_a_forward_is_independent(built):
    sum(head.sum() for head in built(images()).logits).backward()
    twin = copy.deepcopy(built).eval()
    with torch.no_grad():
        before = built.eval()(images()).logits
        for parameter in built.parameters():
            parameter.zero_()
        pairs = zip(before, twin(images()).logits, strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_bf16_autocast_is_finite_and_close(built):
    x = images()
    with torch.autocast("cpu", torch.bfloat16):
        loss = sum(head.float().square().mean() for head in built(x).logits)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in built.parameters() if p.requires_grad)
    built.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = built(x).logits
    with torch.no_grad():
        exact = built(x).logits
    for r, e in zip(rough, exact, strict=True):
        assert (r - e).abs().mean() < 0.05 + 0.05 * e.abs().mean()


@pytest.mark.parametrize("size", [(33, 32), (30, 50), (71, 64), (4, 4), (8, 32)])
def test_other_sizes_are_handled_or_refused(built, size):
    try:
        logits = built(torch.zeros(1, 3, *size)).logits
    except UserError as error:
        logits, complaint = None, str(error)
    if logits is None:
        assert "at least" in complaint
    else:
        assert all(torch.isfinite(head).all() for head in logits)


def test_size_is_refused_before_any_forward(plain):
    if getattr(plain, "least", 4) < 4:  # judges even smaller images
        return
    with pytest.raises(UserError, match="at least"):
        type(plain)(small(plain.Config()), Shape(3, 4, 4))


def test_is_one_graph_for_the_compiler(plain):
    torch.compiler.reset()
    compiled = torch.compile(plain.eval(), backend="eager", fullgraph=True)
    with torch.no_grad():
        pairs = zip(compiled(images()).logits, plain(images()).logits, strict=True)
        assert all(torch.allclose(ours, theirs, atol=1e-4) for ours, theirs in pairs)


def test_its_regions_are_graphs_that_compute_the_same(plain, monkeypatch, caplog):
    monkeypatch.setattr(compiled, "_backend", "eager")
    twin = copy.deepcopy(plain)
    regions = compiled.regions_of(twin)
    assert compiled.compile_regions([twin]) == len(regions) == len(set(regions))
    inside = [module for region in regions for module in list(region.modules())[1:]]
    assert not set(inside) & set(regions)
    for network in (twin, plain):
        sum(head.square().mean() for head in network(images()).logits).backward()
    assert [r for r in caplog.records if r.name == "zoo.compile"] == []  # nothing fell back
    for (name, ours), theirs in zip(twin.named_parameters(), plain.parameters(), strict=True):
        if theirs.grad is not None:
            assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5), name
    for (name, ours), theirs in zip(twin.named_buffers(), plain.buffers(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6), name
