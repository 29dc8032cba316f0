"""The pieces of UVCGANv2: heads over batches, the queue, the gradient penalty."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.golden.cases import DTYPES, Comparison, load_nets
from zoo.convert import uvcgan2
from zoo.convert.naming import Net
from zoo.layers import penalty as penalties
from zoo.layers.batch_head import batch_head, in_company
from zoo.layers.queue import FeatureQueue
from zoo.protocols import Judgement
from zoo.registry import LOSSES

FAMILIES = ("uvcgan2",)


class Body(nn.Module):
    """The small network of these cases."""

    def __init__(self, weight):
        super().__init__()
        self.conv1 = nn.Conv2d(weight.shape[1], len(weight), 4, stride=2, padding=1)
        self.conv2 = nn.Conv2d(len(weight), len(weight), 4, stride=2, padding=1)

    def forward(self, x):
        return F.leaky_relu(self.conv2(F.leaky_relu(self.conv1(x), 0.2)), 0.2)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_piece(case, dtype, monkeypatch):
    if case.name == "queue":
        check_queue(case)
    elif case.name == "gradient_penalty":
        check_penalty(case, dtype, monkeypatch)
    else:
        check_head(case, dtype)


def check_queue(case):
    queue = FeatureQueue(case.config["size"])
    for i, count in enumerate(case.config["pushes"]):
        pushed = case.arrays[f"input/push{i}"]
        assert len(pushed) == count
        queue.push(pushed.requires_grad_())
        content = queue.query()
        assert not content.requires_grad
        assert torch.equal(content, case.arrays[f"out/content_after{i}"])


def check_head(case, dtype):
    head = case.config["head"]
    kind, channels = head["name"], head["input_features"]
    model = nn.ModuleDict(
        {
            "body": Body(case.arrays["D/_body.conv1.weight"]),
            "head": batch_head(kind.replace("-", "_"), channels, head["mid_features"]),
        }
    )
    nets = {"D": Net("", partial(uvcgan2.batch_head, kind=kind))}
    load_nets(case, model, nets)
    model.to(dtype)
    comparison, losses = Comparison(case, dtype), {}
    for mode, others in (("alone", None), ("with_queue", case.input("extra_bodies", dtype))):
        model.zero_grad(set_to_none=True)
        features = model["body"](case.input("x", dtype))
        y = in_company(model["head"], features, others)
        loss = (y - 1).square().mean()
        loss.backward()
        comparison.output(f"y_{mode}", y)
        comparison.output(f"body_{mode}", features)
        comparison.gradients(mode, by_reference(case, model, nets["D"]))
        losses[f"mse_to_1_{mode}"] = [loss.item()]
    comparison.losses(losses)
    comparison.buffers_after(model, nets)
    comparison.finish()


def check_penalty(case, dtype, monkeypatch):
    body = Body(case.arrays["D/conv1.weight"])
    nets = {"D": Net("", lambda name: name)}
    load_nets(case, body, nets)
    body.to(dtype)
    real, fake = case.input("real", dtype), case.input("fake", dtype)
    alphas = iter(case.facts["trace"]["alpha"])
    monkeypatch.setattr(
        penalties.torch, "rand", lambda *_, **__: torch.tensor([next(alphas)], dtype=dtype)
    )
    comparison, losses = Comparison(case, dtype), {}
    comparison.output("y_real", body(real))

    judge = nn.Module()
    judge.forward = lambda x: Judgement((body(x),))
    for centre in (0, 1):
        for at in ("real", "fake", "real-fake"):
            loss = LOSSES["zero_centred"](
                LOSSES["zero_centred"].Config(
                    strength=case.config["lambda_gp"], at=at, centre=centre
                )
            )
            body.zero_grad(set_to_none=True)
            penalty = loss.judge(judge, real, fake)["penalty"]
            penalty.backward()
            mode = f"{at}_center{centre}"
            gradients = by_reference(case, body, nets["D"])
            for name in ("D/conv1.bias", "D/conv2.bias"):  # they do not move the gradient
                if gradients[name] is None:
                    gradients[name] = torch.zeros(1)
            comparison.gradients(mode, gradients)
            losses[mode] = [penalty.item()]
    assert next(alphas, None) is None
    comparison.losses(losses)
    comparison.finish()


def by_reference(case, module, net):
    gradients = {name: p.grad for name, p in module.named_parameters()}
    return {f"D/{key}": gradients[net(key)] for key in case.under("D") if net(key) in gradients}
