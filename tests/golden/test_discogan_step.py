"""DiscoGAN's step does what the reference's does, one side an iteration."""

import pytest

from tests.golden.cases import DTYPES
from tests.golden.stepping import Recorder, adam, run_case
from zoo.convert import discogan
from zoo.convert.naming import Net
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, METHODS, Part
from zoo.schema import Schedule

FAMILIES = ("discogan_step",)


def build(config: dict):
    """Our method for a configuration, and where the reference's networks are in it."""
    shape = Shape(3, *config["image"])
    generator = GENERATORS["disco"].Config(
        width=config["width"], num_layers=4, extra_layers=config["extra_layers"]
    )
    discriminator = DISCRIMINATORS["disco"].Config(width=config["width"], num_layers=4)
    cls = METHODS["discogan"]
    method = cls(
        cls.Config(
            generator=Part(GENERATORS, "disco", generator),
            discriminator=Part(DISCRIMINATORS, "disco", discriminator),
            arch=config["model_arch"],
            curriculum=cls.Config.Curriculum(
                images=config["gan_curriculum"] * config["batch"],
                starting_rate=config["starting_rate"],
                rate=config["default_rate"],
            ),
            update_interval=config["update_interval"],
        ),
        shape,
        shape,
    )
    nets = {
        "generator_A": Net("ba.", discogan.generator),
        "generator_B": Net("ab.", discogan.generator),
        "discriminator_A": Net("discriminator_a.", discogan.discriminator),
        "discriminator_B": Net("discriminator_b.", discogan.discriminator),
    }
    return method, nets


def images(case, t, dtype):
    return [2 * case.input(f"{side}_{t}", dtype) - 1 for side in "AB"]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    config = case.config
    method, nets = build(config)
    method.to(dtype)
    judges = {"A": method.discriminator_a, "B": method.discriminator_b}
    recorder = Recorder(method.ab, method.ba, *judges.values())
    updated = []

    def observe(batch, terms):
        turn = "generators" if batch.step % config["update_interval"] else "discriminators"
        updated.append(turn)
        ways = {
            "AB": recorder.translation(method.ab, batch.a).image,
            "BA": recorder.translation(method.ba, batch.b).image,
        }
        ways["ABA"] = recorder.translation(method.ba, ways["AB"]).image
        ways["BAB"] = recorder.translation(method.ab, ways["BA"]).image
        outputs = {name: (image + 1) / 2 for name, image in ways.items()}
        fake = recorder.calls[method.discriminator_b][1].output
        outputs["dis_B_fake"] = fake.logits[0].sigmoid()
        found = losses(method, judges, recorder, batch, ways)
        gan_share, cycle_share = method._shares(batch.images_seen)
        expected = {
            "cycle/a": 4 * cycle_share * found["recon_A"],
            "feature_match/a2b": gan_share * found["fm_B"],
            "adversarial/a2b": gan_share * found["gen_B"],
            "cycle/b": 4 * cycle_share * found["recon_B"],
            "feature_match/b2a": gan_share * found["fm_A"],
            "adversarial/b2a": gan_share * found["gen_A"],
        }
        if turn == "generators":
            assert {key: terms[key] for key in expected if key in terms} == {
                key: pytest.approx(expected[key], rel=1e-5) for key in expected if key in terms
            }
            found_terms = {key for key in terms if not key.startswith("discriminator")}
            left_out = (
                set()
                if config["model_arch"] == "discogan"
                else {"cycle/b", "feature_match/b2a", "adversarial/b2a"}
            )
            assert found_terms == set(expected) - left_out
        return outputs, totals(config, found, cycle_share)

    optim = adam(config["optimizer"], Schedule())
    comparison, _ = run_case(case, method, nets, optim, recorder, observe, images)
    assert updated == case.facts["trace"]["updated"]
    comparison.finish()


def losses(method, judges, recorder, batch, ways) -> dict[str, float]:
    """Every single loss that the reference reports, from what the networks returned."""
    found = {}
    for side, real, back in (("A", batch.a, ways["ABA"]), ("B", batch.b, ways["BAB"])):
        judged_real, judged_fake = (call.output for call in recorder.calls[judges[side]])
        (on_real,), (on_fake,) = judged_real.logits, judged_fake.logits
        gan = method.adversarial
        found[f"recon_{side}"] = 0.25 * method.cycle(back, real).item()
        found[f"dis_{side}"] = 0.5 * (gan.real_term(on_real) + gan.fake_term(on_fake)).item()
        found[f"gen_{side}"] = gan.generator_term(on_fake).item()
        pairs = zip(judged_real.features, judged_fake.features, strict=True)
        found[f"fm_{side}"] = sum(method.feature_match(*pair).item() for pair in pairs)
    return found


def totals(config, found, rate) -> dict[str, float]:
    """The single losses and the reference's sums of them."""
    sums = {
        f"gen_total_{to}": (0.1 * found[f"gen_{of}"] + 0.9 * found[f"fm_{of}"]) * (1 - rate)
        + rate * found[f"recon_{to}"]
        for to, of in ("AB", "BA")
    }
    both = config["model_arch"] == "discogan"
    sums["gen"] = sums["gen_total_A"] + (sums["gen_total_B"] if both else 0)
    sums["dis"] = found["dis_B"] + (found["dis_A"] if both else 0)
    return found | sums
