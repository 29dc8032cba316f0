"""CycleGAN's step does what the reference's does."""

import re
from functools import partial

import pytest

from tests.golden.cases import DTYPES
from tests.golden.stepping import Recorder, adam, image_shapes, run_case
from zoo.convert import junyanz
from zoo.convert.naming import Net
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part
from zoo.schema import PerDomain, Schedule

FAMILIES = ("cyclegan_step",)

LOSS = {"lsgan": "lsgan", "vanilla": "gan"}


class Replay:
    """Random draws from a list, in order."""

    def __init__(self, draws):
        self.left = list(draws)

    def uniform(self, low, high):
        return self.left.pop(0)

    randint = uniform


def build(config: dict, a: Shape, b: Shape):
    """Our method for a configuration, and where the reference's networks are in it."""
    padding = re.search("(reflect|replicate|zero) padding", config["generators"])[1]
    generator = GENERATORS["resnet"].Config(
        width=config["ngf"],
        num_blocks=config["n_blocks"],
        norm=re.search("(instance|batch) norm", config["generators"])[1],
        padding=padding,
    )
    discriminator = DISCRIMINATORS["patch"].Config(
        width=config["ndf"],
        num_layers=config["n_layers"],
        norm=re.search("(instance|batch) norm", config["discriminators"])[1],
    )
    cycle = PerDomain(config["lambda_A"], config["lambda_B"])
    share = config["lambda_identity"]
    cls = METHODS["cyclegan"]
    method = cls(
        cls.Config(
            generator=Part(GENERATORS, "resnet", generator),
            discriminator=Part(DISCRIMINATORS, "patch", discriminator),
            adversarial=LOSSES.default(LOSS[config["gan_mode"]]),
            weights=cls.Config.Weights(
                cycle=cycle, identity=PerDomain(cycle.a * share, cycle.b * share)
            ),
            pool_size=config["pool_size"],
        ),
        a,
        b,
    )
    resnet = partial(junyanz.resnet, padding=padding)
    nets = {
        "G_A": Net("ab.", resnet),
        "G_B": Net("ba.", resnet),
        "D_A": Net("discriminator_b.", junyanz.patch),
        "D_B": Net("discriminator_a.", junyanz.patch),
    }
    return method, nets


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    method, nets = build(case.config, *image_shapes(case))
    method.to(dtype)
    draws = Replay(case.facts["trace"]["pool_draws"])
    method.pool_a.rng = method.pool_b.rng = draws
    recorder = Recorder(method.ab, method.ba, method.discriminator_a, method.discriminator_b)
    w = method.weights

    def observe(batch, terms):
        outputs = {
            "fake_B": recorder.translation(method.ab, batch.a).image,
            "fake_A": recorder.translation(method.ba, batch.b).image,
        }
        again = {
            "rec_A": recorder.translation(method.ba, outputs["fake_B"]),
            "rec_B": recorder.translation(method.ab, outputs["fake_A"]),
            "idt_A": recorder.translation(method.ab, batch.b),
            "idt_B": recorder.translation(method.ba, batch.a),
        }
        outputs |= {name: made.image for name, made in again.items() if made is not None}
        # the second image of a discriminator's own update comes from the pool
        judged = {
            side: [call.input for call in recorder.calls[network] if not call.frozen]
            for side, network in (("A", method.discriminator_a), ("B", method.discriminator_b))
        }
        for side, (_, pooled) in judged.items():
            outputs[f"fake_{side}_pooled"] = pooled
        losses = {
            "G_A": w.adversarial.a2b * terms["adversarial/a2b"],
            "G_B": w.adversarial.b2a * terms["adversarial/b2a"],
            "cycle_A": w.cycle.a * terms.get("cycle/a", 0.0),
            "cycle_B": w.cycle.b * terms.get("cycle/b", 0.0),
            "idt_A": w.identity.b * terms.get("identity/b", 0.0),
            "idt_B": w.identity.a * terms.get("identity/a", 0.0),
        }
        losses["G"] = sum(losses.values())
        losses["D_A"] = w.discriminator.b * sum(terms["discriminator/b"].values())
        losses["D_B"] = w.discriminator.a * sum(terms["discriminator/a"].values())
        return outputs, losses

    optim = adam(case.config["optimizer"], Schedule())
    comparison, _ = run_case(case, method, nets, optim, recorder, observe)
    assert not draws.left, "the pools drew less often than the reference"
    comparison.finish()
