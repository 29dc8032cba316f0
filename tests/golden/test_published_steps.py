"""The benchmark's baseline is the real thing: its steps do what the references' do."""

import re

import pytest
import torch

from benchmarks.published.cut import CUT
from benchmarks.published.cyclegan import CycleGAN
from benchmarks.published.pix2pix import Pix2Pix
from benchmarks.published.ugatit import UGATIT
from tests.golden.cases import DTYPES, Comparison, Net
from tests.golden.stepping import real_images
from tests.golden.test_cyclegan_step import Replay

FAMILIES = ("cyclegan_step", "pix2pix_step", "cut_step", "ugatit_step")


class Replayed(CUT):
    """The step with flips and positions from a list, in order."""

    def draw_flip(self):
        return self.flips.pop(0)

    def draw_positions(self, features):
        return [torch.tensor(row) for row in self.positions.pop(0)]


def build(case):
    """The published step of a case."""
    config = case.config
    if case.family == "cyclegan_step":
        step = CycleGAN(
            width=config["ngf"],
            num_blocks=config["n_blocks"],
            discriminator_width=config["ndf"],
            num_layers=config["n_layers"],
            gan_mode=config["gan_mode"],
            lambda_a=config["lambda_A"],
            lambda_b=config["lambda_B"],
            lambda_identity=config["lambda_identity"],
            pool_size=config["pool_size"],
        )
        step.fake_a_pool.rng = step.fake_b_pool.rng = Replay(case.facts["trace"]["pool_draws"])
        return step
    if case.family == "pix2pix_step":
        return Pix2Pix(
            width=config["ngf"],
            num_downs=config["num_downs"],
            discriminator_width=config["ndf"],
            num_layers=config["n_layers"],
            gan_mode=config["gan_mode"],
            lambda_l1=config["lambda_L1"],
        )
    if case.family == "cut_step":
        step = Replayed(
            width=config["ngf"],
            num_blocks=config["n_blocks"],
            discriminator_width=config["ndf"],
            nce_layers=config["nce_layers"],
            num_layers=config["n_layers"],
            antialias=config["antialias"],
            feature_width=int(re.search(r"Linear\(c, (\d+)\)", config["netF"])[1]),
            num_patches=config["num_patches"],
            temperature=config["nce_T"],
            lambda_nce=config["lambda_NCE"],
            nce_idt=config["nce_idt"],
            flip_equivariance=config["flip_equivariance"],
            gan_mode=config["gan_mode"],
        )
        decisions = case.facts["trace"]["decisions"]
        kinds = ("patch_ids_NCE", "patch_ids_NCE_Y")
        step.flips = [made["flipped"] for made in decisions if config["flip_equivariance"]]
        step.positions = [made[kind] for made in decisions for kind in kinds if kind in made]
        return step
    return UGATIT(
        width=config["ngf"],
        num_blocks=config["n_res"],
        size=config["img_size"],
        light=config["light"],
        discriminator_width=config["ndf"],
        global_layers=config["global_n_layers"],
        local_layers=config["local_n_layers"],
        **config["weights"],
    )


def run(case, step):
    """The comparison after all iterations of the case."""
    step.make_optimizers()
    dtype = next(step.parameters()).dtype
    names = {p: name.replace(".", "/", 1) for name, p in step.named_parameters()}
    gradients = {}

    def keep(optimizer, *_):
        for p in (p for group in optimizer.param_groups for p in group["params"]):
            gradients[names[p]] = None if p.grad is None else p.grad.clone()

    for optimizer in step.optimizers:
        optimizer.register_step_pre_hook(keep)
    comparison, losses = Comparison(case, dtype), {}
    rates = case.facts.get("trace", {}).get("learning_rates")
    for t in range(case.config["steps"]):
        for group in (group for optimizer in step.optimizers for group in optimizer.param_groups):
            group["lr"] = rates[t] if rates else group["lr"]
        result = step.step(*real_images(case, t, dtype))
        for name, value in result.outputs.items():
            if f"out/step{t}/{name}" in case.arrays:
                comparison.output(f"step{t}/{name}", value)
        for name, value in result.losses.items():
            losses.setdefault(name, []).append(value.item())
        if f"step{t}" in case.facts["grad_norms"]:
            comparison.gradients(f"step{t}", gradients)
    comparison.losses(losses)
    nets = {name: Net(f"{name}.", str) for name in case.facts["keys"]["nets"]}
    comparison.state_after(step, nets)
    if case.family == "pix2pix_step":
        with torch.no_grad():
            again = step.G.eval()(case.input("real_A_0", dtype))
        comparison.output("after_training/fake_B_eval", again)
    return comparison


def load(case, step):
    """The starting weights under the reference's own names, all of them and nothing else."""
    nets = case.facts["keys"]["nets"]
    state = {f"{net}.{key}": value for net in nets for key, value in case.under(net).items()}
    step.load_state_dict(state, strict=True)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_step(case, dtype):
    step = build(case).to(dtype)
    load(case, step)
    run(case, step).finish()


def test_the_comparison_notices_a_changed_step(case):
    """One weight of a loss is off by a hundredth."""
    step = build(case).double()
    load(case, step)
    attribute = {
        "cyclegan_step": "lambda_a",
        "pix2pix_step": "lambda_l1",
        "cut_step": "temperature",
        "ugatit_step": "cam",
    }[case.family]
    setattr(step, attribute, getattr(step, attribute) * 1.01)
    with pytest.raises(AssertionError, match="too far"):
        run(case, step).finish()
