"""The references' weights, in files as they publish them, become runs that compute the same."""

import pytest
import torch
from typer.testing import CliRunner

from tests.golden.cases import Case
from zoo.cli import app
from zoo.convert import nicegan, ugatit
from zoo.translation import load_run

FAMILIES = (
    "cut_nets",
    "cut_step",
    "cyclegan_nets",
    "cyclegan_step",
    "discogan_nets",
    "discogan_step",
    "nicegan_step",
    "pix2pix_step",
    "ugatit_step",
)
ONE_FILE = {  # kind, and the networks whose state dicts are files: A to B, B to A
    "cut_step": ("cut", ["G"]),
    "cyclegan_step": ("resnet_9", ["G_A", "G_B"]),
    "discogan_step": ("discogan", ["generator_B", "generator_A"]),
    "pix2pix_step": ("unet_256", ["G"]),
}
SEVERAL_IN_ONE = {
    "nicegan_step": ("nicegan_light", [*nicegan.GENERATORS, *nicegan.DISCRIMINATORS]),
    "ugatit_step": ("ugatit", [*ugatit.GENERATORS, *ugatit.DISCRIMINATORS]),
}
OUTPUTS = {"a2b": ("fake_B", "fake_A2B", "AB"), "b2a": ("fake_A", "fake_B2A", "BA")}


def wants(case: Case) -> bool:
    """Cases with a generator, but for the padding that a file does not tell."""
    generators = [n for n in case.facts["keys"]["nets"] if n[0] in "Gg"]
    return bool(generators) and "replicate" not in str(case.config)


def write_files(case: Case, folder) -> list[str]:
    """The published files of a case; the words for the command line."""
    if case.family in SEVERAL_IN_ONE:
        kind, nets = SEVERAL_IN_ONE[case.family]
        torch.save({net: case.under(net) for net in nets}, folder / "params_latest.pt")
        return [str(folder / "params_latest.pt"), "--as", kind]
    if case.family in ONE_FILE:
        kind, nets = ONE_FILE[case.family]
    else:
        what = case.config["network"]
        kind = {"ResNet": "resnet_9", "U-Net": "unet_128", "DiscoGAN": "discogan"}[what.split()[0]]
        nets = ["G"]
    files = [str(folder / f"latest_net_{net}.pth") for net in nets]
    for net, file in zip(nets, files, strict=True):
        torch.save(case.under(net), file)
    other = ["--other", files[1]] if len(files) == 2 else []
    return [files[0], "--as", kind, *other]


def inputs(case: Case, direction: str):
    """What the reference translated first, and whether flipped."""
    names = {"a2b": ("x", "real_A_0", "A_0"), "b2a": ("real_B_0", "B_0")}[direction]
    (x,) = (case.arrays[f"input/{name}"] for name in names if f"input/{name}" in case.arrays)
    decisions = case.facts.get("trace", {}).get("decisions", [{}])
    return x.flip(3) if decisions[0].get("flipped") else x


def expected(case: Case, direction: str):
    """The reference's translation with its tolerance, None where it is not stored."""
    names = [f"step0/{name}" for name in OUTPUTS[direction]]
    names += ["y_train"] if direction == "a2b" else []
    for name in names:
        if f"out/{name}" in case.arrays:
            return case.arrays[f"out/{name}"], case.facts["tolerance"]["outputs"][name]
    return None


def imported(case: Case, folder):
    """The run of a case's files, in training mode, as the references computed."""
    size = str(inputs(case, "a2b").shape[2])
    words = ["import", *write_files(case, folder), "--out", str(folder / "run"), "--size", size]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    run = load_run(folder / "run", device="cpu")
    run.method.train()
    return run


def check_nicegan(method, case: Case):
    """The discriminators' losses: its images are stored only behind their first update."""
    with torch.no_grad():
        real_a = method.discriminator_a(inputs(case, "a2b"))
        real_b = method.discriminator_b(inputs(case, "b2a"))
        fake_a = method.discriminator_a(method.ba(real_b.features[0]).image)
        fake_b = method.discriminator_b(method.ab(real_a.features[0]).image)
    for side, real, fake in (("A", real_a, fake_a), ("B", real_b, fake_b)):
        for head, name in enumerate(("ad_loss_L", "ad_loss_G", "ad_cam_loss_")):
            key = f"D_{name}{side}"
            loss = (real.logits[head] - 1).square().mean() + fake.logits[head].square().mean()
            assert loss.item() == pytest.approx(case.facts["losses"][key][0], rel=1e-5), key


def test_an_imported_file_translates_as_its_reference(case, tmp_path):
    run = imported(case, tmp_path)
    if run.recipe.method.name == "pix2pix":
        run.method.noise_at_test = False  # which translates image by image
    for module in run.method.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0  # as in the references
    if case.family == "nicegan_step":
        check_nicegan(run.method, case)
        return
    disco = case.family.startswith("discogan")  # images in [0, 1], blue first
    for direction in run.directions:
        if expected(case, direction) is None:
            continue
        want, tolerance = expected(case, direction)
        x = inputs(case, direction)
        with torch.no_grad():
            y = run.method.translate(2 * x.flip(1) - 1 if disco else x, direction)
        got = (y.flip(1) + 1) / 2 if disco else y
        assert (got - want).abs().max() <= tolerance
    assert expected(case, "a2b"), "nothing was compared"
