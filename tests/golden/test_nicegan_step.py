"""NICE-GAN's step does what the reference's does."""

import pytest

from tests.golden.cases import DTYPES
from tests.golden.stepping import Recorder, adam, image_shapes, run_case
from zoo.convert import nicegan
from zoo.convert.naming import Net
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, METHODS, Part
from zoo.schema import PerDirection, PerDomain, Schedule

FAMILIES = ("nicegan_step",)


def build(config: dict, a: Shape, b: Shape):
    """Our method for a configuration, and where the reference's networks are in it."""
    generator = GENERATORS["nicegan"].Config(
        width=config["ngf"], num_blocks=config["n_res"], light=config["light"]
    )
    discriminator = DISCRIMINATORS["nicegan"].Config(
        width=config["ndf"], num_layers=config["n_layers"]
    )
    given, cls = config["weights"], METHODS["nicegan"]
    method = cls(
        cls.Config(
            generator=Part(GENERATORS, "nicegan", generator),
            discriminator=Part(DISCRIMINATORS, "nicegan", discriminator),
            weights=cls.Config.Weights(
                adversarial=PerDirection(given["adv"]),
                cycle=PerDomain(given["cycle"]),
                reconstruction=PerDomain(given["recon"]),
                discriminator=PerDomain(given["adv"]),
            ),
        ),
        a,
        b,
    )
    nets = {
        "gen2B": Net("ab.", nicegan.generator),
        "gen2A": Net("ba.", nicegan.generator),
        "disA": Net("discriminator_a.", nicegan.discriminator),
        "disB": Net("discriminator_b.", nicegan.discriminator),
    }
    return method, nets


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    method, nets = build(case.config, *image_shapes(case))
    method.to(dtype)
    recorder = Recorder(method.ab, method.ba, method.discriminator_a, method.discriminator_b)

    def observe(batch, terms):
        fakes = {}  # of the generators' update: frozen judges saw them
        for name, judge in (
            ("fake_A2B", method.discriminator_b),
            ("fake_B2A", method.discriminator_a),
        ):
            assert [call.frozen for call in recorder.calls[judge]] == [False, False, True, True]
            fakes[name] = recorder.calls[judge][3].input
        return fakes, losses(method, recorder, terms)

    optim = adam(case.config["optimizer"], Schedule())
    comparison, _ = run_case(case, method, nets, optim, recorder, observe)
    comparison.finish()


def losses(method, recorder, terms) -> dict[str, float]:
    """Every loss that the reference reports, head by head from the logits, sums from our terms."""
    w, gan, found, total = method.weights, method.adversarial, {}, 0.0
    heads = ("ad_loss_L{}", "ad_loss_G{}", "ad_cam_loss_{}")
    for side, way, judge in (
        ("A", "b2a", method.discriminator_a),
        ("B", "a2b", method.discriminator_b),
    ):
        real, fake, _, fooled = (call.output.logits for call in recorder.calls[judge])
        for i, head in enumerate(heads):
            judged = gan.real_term(real[i]) + gan.fake_term(fake[i])
            found[f"D_{head.format(side)}"] = judged.item()
            found[f"G_{head.format(side)}"] = gan.generator_term(fooled[i]).item()
        domain = side.lower()
        found[f"G_cycle_loss_{side}"] = terms[f"cycle/{domain}"]
        found[f"G_recon_loss_{side}"] = terms[f"reconstruction/{domain}"]
        total += getattr(w.adversarial, way) * terms[f"adversarial/{way}"]
        total += getattr(w.cycle, domain) * terms[f"cycle/{domain}"]
        total += getattr(w.reconstruction, domain) * terms[f"reconstruction/{domain}"]
    found["Discriminator_loss"] = sum(
        getattr(w.discriminator, domain) * sum(terms[f"discriminator/{domain}"].values())
        for domain in "ab"
    )
    found["Generator_loss"] = total
    return found
