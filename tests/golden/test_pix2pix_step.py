"""The step of pix2pix does what the reference's does."""

from functools import partial

import pytest
import torch

from tests.golden.cases import DTYPES
from tests.golden.stepping import Recorder, adam, image_shapes, run_case
from zoo.convert import junyanz
from zoo.convert.naming import Net
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part
from zoo.schema import Schedule

FAMILIES = ("pix2pix_step",)

LOSS = {"lsgan": "lsgan", "vanilla": "gan"}


def build(config: dict, a: Shape, b: Shape):
    """Our method for a configuration, and where the reference's networks are in it."""
    generator = GENERATORS["unet"].Config(
        width=config["ngf"], num_downs=config["num_downs"], norm="batch", dropout=0
    )
    if config["discriminator"].startswith("pixel"):
        discriminator = Part(
            DISCRIMINATORS,
            "pixel",
            DISCRIMINATORS["pixel"].Config(width=config["ndf"], norm="batch"),
        )
        judge = junyanz.pixel
    else:
        options = DISCRIMINATORS["patch"].Config(
            width=config["ndf"], num_layers=config["n_layers"], norm="batch"
        )
        discriminator, judge = Part(DISCRIMINATORS, "patch", options), junyanz.patch
    cls = METHODS["pix2pix"]
    method = cls(
        cls.Config(
            generator=Part(GENERATORS, "unet", generator),
            discriminator=discriminator,
            adversarial=LOSSES.default(LOSS[config["gan_mode"]]),
            weights=cls.Config.Weights(l1=config["lambda_L1"]),
        ),
        a,
        b,
    )
    unet = partial(junyanz.unet, num_downs=config["num_downs"])
    return method, {"G": Net("ab.", unet), "D": Net("discriminator_b.", judge)}


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    method, nets = build(case.config, *image_shapes(case))
    method.to(dtype)
    recorder = Recorder(method.ab, method.discriminator_b)
    w = method.weights

    def observe(batch, terms):
        (fake,), (real,) = recorder.logits(method.discriminator_b, frozen=False)
        outputs = {
            "fake_B": recorder.translation(method.ab, batch.a).image,
            "pred_fake": fake,
            "pred_real": real,
        }
        judged = terms["discriminator"]
        losses = {
            "D_fake": judged["fake"],
            "D_real": judged["real"],
            "D": w.discriminator * sum(judged.values()),
            "G_GAN": w.adversarial * terms["adversarial"],
            "G_L1": w.l1 * terms["l1"],
        }
        losses["G"] = losses["G_GAN"] + losses["G_L1"]
        return outputs, losses

    optim = adam(case.config["optimizer"], Schedule())
    comparison, _ = run_case(case, method, nets, optim, recorder, observe)
    with torch.no_grad():
        again = method.ab.eval()(case.input("real_A_0", dtype)).image
    comparison.output("after_training/fake_B_eval", again)
    comparison.finish()
