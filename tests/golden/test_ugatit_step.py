"""U-GAT-IT's step does what the reference's does."""

import re

import pytest
import torch
import torch.nn.functional as F

from tests.golden.cases import DTYPES
from tests.golden.stepping import Recorder, adam, image_shapes, run_case
from zoo.convert import ugatit
from zoo.convert.naming import Net
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, METHODS, Part
from zoo.schema import PerDirection, PerDomain, Schedule

FAMILIES = ("ugatit_step",)


def build(config: dict, a: Shape, b: Shape):
    """Our method for a configuration, and where the reference's networks are in it."""
    generator = GENERATORS["ugatit"].Config(
        width=config["ngf"], num_blocks=config["n_res"], light=config["light"]
    )
    discriminator = DISCRIMINATORS["ugatit"].Config(
        width=config["ndf"],
        num_layers={"global": config["global_n_layers"], "local": config["local_n_layers"]},
    )
    given = config["weights"]
    cls = METHODS["ugatit"]
    method = cls(
        cls.Config(
            generator=Part(GENERATORS, "ugatit", generator),
            discriminator=Part(DISCRIMINATORS, "ugatit", discriminator),
            weights=cls.Config.Weights(
                adversarial=PerDirection(given["adv"]),
                cycle=PerDomain(given["cycle"]),
                identity=PerDomain(given["identity"]),
                cam=PerDirection(given["cam"]),
                discriminator=PerDomain(given["adv"]),
            ),
        ),
        a,
        b,
    )
    nets = {
        "genA2B": Net("ab.", ugatit.generator),
        "genB2A": Net("ba.", ugatit.generator),
    }
    for reach, branch in (("G", "global"), ("L", "local")):
        for side in "AB":
            prefix = f"discriminator_{side.lower()}.branches.{branch}."
            nets[f"dis{reach}{side}"] = Net(prefix, ugatit.branch)
    return method, nets


def schedule(config: dict) -> Schedule:
    """Constant for the first half of the iterations and down to 0 in the second, or constant."""
    total = re.match(r"on, iteration=(\d+)", config["learning_rate_decay"])
    if not total:
        return Schedule()
    batch = config["batch"]
    half = int(total[1]) // 2 * batch
    return Schedule(
        name="linear", constant_images=half, decay_images=half, every_images=batch, last="zero"
    )


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    method, nets = build(case.config, *image_shapes(case))
    method.to(dtype)
    recorder = Recorder(method.ab, method.ba, method.discriminator_a, method.discriminator_b)

    def observe(batch, terms):
        ways = {
            "fake_A2B": recorder.translation(method.ab, batch.a),
            "fake_B2A": recorder.translation(method.ba, batch.b),
            "fake_A2A": recorder.translation(method.ba, batch.a),
            "fake_B2B": recorder.translation(method.ab, batch.b),
        }
        ways["fake_A2B2A"] = recorder.translation(method.ba, ways["fake_A2B"].image)
        ways["fake_B2A2B"] = recorder.translation(method.ab, ways["fake_B2A"].image)
        outputs = {}
        for name, way in ways.items():
            outputs[name] = way.image
            outputs[f"{name}_cam_logit"] = way.cam_logits
            outputs[f"{name}_heatmap"] = way.heatmap
        return outputs, losses(method, recorder, terms, ways)

    optim = adam(case.config["optimizer"], schedule(case.config))
    comparison, step = run_case(case, method, nets, optim, recorder, observe)
    rates = case.facts["trace"]["learning_rates"]
    assert step.rates == pytest.approx([rate for rate in rates for _ in range(2)], abs=1e-12)
    comparison.finish()


def losses(method, recorder, terms, ways) -> dict[str, float]:
    """Every loss that the reference reports, head by head from the logits, sums from our terms."""
    w, found = method.weights, {}
    for side, network in (("A", method.discriminator_a), ("B", method.discriminator_b)):
        real, fake = recorder.logits(network, frozen=False)
        (fooled,) = recorder.logits(network, frozen=True)
        for i, head in enumerate(("ad_loss_G", "ad_cam_loss_G", "ad_loss_L", "ad_cam_loss_L")):
            key = f"{head}{side}"
            found[f"D_{key}_real"] = method.adversarial.real_term(real[i]).item()
            found[f"D_{key}_fake"] = method.adversarial.fake_term(fake[i]).item()
            found[f"D_{key}"] = found[f"D_{key}_real"] + found[f"D_{key}_fake"]
            found[f"G_{key}"] = method.adversarial.generator_term(fooled[i]).item()
        domain, way = side.lower(), {"A": "b2a", "B": "a2b"}[side]
        weight = getattr(w.discriminator, domain)
        found[f"D_loss_{side}"] = weight * sum(terms[f"discriminator/{domain}"].values())

        source = ways["fake_B2A" if side == "A" else "fake_A2B"].cam_logits
        target = ways[f"fake_{side}2{side}"].cam_logits
        cross_entropy = F.binary_cross_entropy_with_logits
        found[f"G_cam_loss_{side}_fake"] = cross_entropy(source, torch.ones_like(source)).item()
        found[f"G_cam_loss_{side}_identity"] = cross_entropy(
            target, torch.zeros_like(target)
        ).item()
        found[f"G_cam_loss_{side}"] = terms[f"cam/{way}"]
        found[f"G_recon_loss_{side}"] = terms[f"cycle/{domain}"]
        found[f"G_identity_loss_{side}"] = terms[f"identity/{domain}"]
        found[f"G_loss_{side}"] = (
            getattr(w.adversarial, way) * terms[f"adversarial/{way}"]
            + getattr(w.cycle, domain) * terms[f"cycle/{domain}"]
            + getattr(w.identity, domain) * terms[f"identity/{domain}"]
            + getattr(w.cam, way) * terms[f"cam/{way}"]
        )
    found["Discriminator_loss"] = found["D_loss_A"] + found["D_loss_B"]
    found["Generator_loss"] = found["G_loss_A"] + found["G_loss_B"]
    return found
