"""The step of CUT and FastCUT does what the reference's does."""

import re
from functools import partial

import pytest
import torch

from tests.golden.cases import DTYPES
from tests.golden.stepping import Recorder, adam, image_shapes, run_case
from zoo.convert import junyanz
from zoo.convert.naming import Net
from zoo.protocols import Shape
from zoo.registry import DISCRIMINATORS, GENERATORS, LOSSES, METHODS, Part
from zoo.schema import PerDomain, Schedule

FAMILIES = ("cut_step",)

LOSS = {"lsgan": "lsgan", "vanilla": "gan"}


class Replayed(METHODS["cut"]):
    """The method with flips and positions from a list, in order."""

    def draw_flip(self):
        return self.flips.pop(0)

    def draw_positions(self, features):
        return [torch.tensor(row) for row in self.positions.pop(0)]


def build(case, a: Shape, b: Shape):
    """Our method for a case, and where the reference's networks are in it."""
    config = case.config
    blurred = {"down": "blurred", "up": "blurred"} if config["antialias"] else {}
    generator = GENERATORS["resnet"].Config(
        width=config["ngf"], num_blocks=config["n_blocks"], **blurred
    )
    discriminator = DISCRIMINATORS["patch"].Config(
        width=config["ndf"],
        num_layers=config["n_layers"],
        down="blurred" if config["antialias"] else "strided",
    )
    share, twice = config["lambda_NCE"], config["nce_idt"]
    method = Replayed(
        Replayed.Config(
            generator=Part(GENERATORS, "resnet", generator),
            discriminator=Part(DISCRIMINATORS, "patch", discriminator),
            adversarial=LOSSES.default(LOSS[config["gan_mode"]]),
            nce=Part(LOSSES, "patch_nce", LOSSES["patch_nce"].Config(temperature=config["nce_T"])),
            weights=Replayed.Config.Weights(
                adversarial=config["lambda_GAN"],
                nce=PerDomain(share / 2, share / 2) if twice else PerDomain(share, 0),
            ),
            taps=tuple(config["nce_layers"]),
            num_patches=config["num_patches"],
            sampler_width=int(re.search(r"Linear\(c, (\d+)\)", config["netF"])[1]),
            flip_equivariance=config["flip_equivariance"],
        ),
        a,
        b,
    )
    decisions = case.facts["trace"]["decisions"]
    method.flips = [made["flipped"] for made in decisions if config["flip_equivariance"]]
    kinds = ("patch_ids_NCE", "patch_ids_NCE_Y")
    method.positions = [made[kind] for made in decisions for kind in kinds if kind in made]
    nets = {
        "G": Net("ab.", partial(junyanz.resnet, padding="reflect")),
        "D": Net("discriminator_b.", junyanz.patch),
        "F": Net("sampler.", junyanz.sampler),
    }
    return method, nets


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    method, nets = build(case, *image_shapes(case))
    method.to(dtype)
    recorder = Recorder(method.ab, method.discriminator_b)
    sampled = []
    method.sampler.register_forward_hook(lambda *call: sampled.append(call[-1]))
    config, w = case.config, method.weights

    def observe(batch, terms):
        image = recorder.calls[method.ab][0].output.image
        fake_b, same_b = image.split(len(batch.a)) if w.nce.b else (image, None)
        outputs = {"fake_B": fake_b, "idt_B": same_b}
        calls = zip(("NCE", "NCE_Y"), zip(sampled[::2], sampled[1::2], strict=True), strict=False)
        for name, (keys, queries) in calls:
            for layer, k, q in zip(config["nce_layers"], keys, queries, strict=True):
                row = method.nce.per_patch(q, k).flatten()
                outputs[f"{name}_per_patch_layer{layer}"] = row
                if name == "NCE":
                    outputs[f"k_pooled_layer{layer}"] = k.flatten(0, 1)
                    outputs[f"q_pooled_layer{layer}"] = q.flatten(0, 1)
        sampled.clear()
        judged = terms["discriminator"]
        losses = {
            "G_GAN": w.adversarial * terms["adversarial"],
            "D_fake": judged["fake"],
            "D_real": judged["real"],
            "D": w.discriminator * sum(judged.values()),
            "NCE": config["lambda_NCE"] * terms["nce/a"],
        }
        losses["G"] = losses["G_GAN"] + w.nce.a * terms["nce/a"]
        if w.nce.b:
            losses["NCE_Y"] = config["lambda_NCE"] * terms["nce/b"]
            losses["G"] += w.nce.b * terms["nce/b"]
        return outputs, losses

    optim = adam(config["optimizer"], Schedule())
    comparison, _ = run_case(case, method, nets, optim, recorder, observe)
    assert not method.flips
    assert not method.positions
    comparison.finish()
