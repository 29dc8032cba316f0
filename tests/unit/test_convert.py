"""Published checkpoints become runs: layouts, what is read off, what is refused, what is left."""

import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import nn
from typer.testing import CliRunner

from tests.golden.cases import FIXTURES, Case
from zoo.cli import app
from zoo.convert import discogan, nicegan, ugatit
from zoo.convert.kinds import KINDS
from zoo.images import to_uint8
from zoo.recipe import load_recipe
from zoo.registry import UserError
from zoo.translation import load_run

ROOT = Path(__file__).parents[2]
FACES = ("data.name=toonfaces", "data.num_train=4", "data.num_test=4")


def fixture(family: str, name: str) -> Case:
    return Case(FIXTURES / family / f"{name}.json", family, name)


@pytest.fixture(scope="module")
def cyclegan() -> Case:
    return fixture("cyclegan_step", "vanilla")


@pytest.fixture(scope="module")
def pix2pix() -> Case:
    return fixture("pix2pix_step", "vanilla")


@pytest.fixture(scope="module")
def ugatit_nets() -> dict[str, dict[str, torch.Tensor]]:
    case = fixture("ugatit_step", "light_decay")
    return {net: case.under(net) for net in (*ugatit.GENERATORS, *ugatit.DISCRIMINATORS)}


@pytest.fixture(scope="module")
def nicegan_nets() -> dict[str, dict[str, torch.Tensor]]:
    """The fixture's generator twice, and discriminators of ours by published names."""
    generator = fixture("nicegan_nets", "generator_light").under("G")
    shapes = {"model.1": (4, 3), "model.4": (8, 4), "Dis0_0.1": (16, 8), "Dis0_1.1": (32, 16)}
    shapes |= {"Dis1_0.1": (32, 16), "Dis1_0.4": (64, 32), "Dis1_1.1": (128, 64)}
    torch.manual_seed(0)
    judge = {"lamda": torch.tensor([0.5]), "conv1x1.weight": torch.randn(8, 16, 1, 1)}
    judge["conv1x1.bias"] = torch.randn(8)
    for name, (outputs, inputs) in shapes.items():
        judge |= spectral(name, outputs, inputs, 4, 4) | {f"{name}.bias": torch.randn(outputs)}
    judge |= spectral("conv0", 1, 32, 4, 4) | spectral("conv1", 1, 128, 4, 4)
    judge |= spectral("fc", 1, 16)
    return {"gen2B": generator, "gen2A": dict(generator), "disA": judge, "disB": dict(judge)}


def spectral(name: str, *shape: int) -> dict[str, torch.Tensor]:
    weight = torch.randn(shape)
    u, v = torch.randn(shape[0]), torch.randn(weight[0].numel())
    return {f"{name}.weight_orig": weight, f"{name}.weight_u": u, f"{name}.weight_v": v}


def zoo(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


def imported(folder: Path, content, kind: str, *words: str | Path):
    """The run made of a file with this content."""
    torch.save(content, folder / "latest_net_G.pth")
    result = zoo(
        "import", folder / "latest_net_G.pth", "--as", kind, "--out", folder / "run", *words
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["run"]
    return load_run(folder / "run", device="cpu")


def refused(folder: Path, file: Path, kind: str, *words: str | Path) -> str:
    """The message of an import that leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    result = zoo("import", file, "--as", kind, "--out", folder / "run", *words)
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert sorted(folder.rglob("*")) == before
    return result.stderr


def origin(run) -> dict:
    return run.recipe.provenance["imported"]


# Layouts.


def wrapped(state):
    return {f"module.{name}": value for name, value in state.items()}


def with_statistics(state):
    """As PyTorch before 0.4 saved instance norms."""
    norms = {"model.2": 6, "model.5": 12, "model.8": 24, "model.10.conv_block.2": 24}
    for name, channels in norms.items():
        state[f"{name}.running_mean"] = torch.full((channels,), 7.0)
        state[f"{name}.running_var"] = torch.full((channels,), 9.0)
    state["model.2.num_batches_tracked"] = torch.tensor(3)
    return state


def ordered(state):
    """As `state_dict()` returns it, with kernels in another memory layout."""
    state = OrderedDict(state)
    state["model.4.weight"] = state["model.4.weight"].to(memory_format=torch.channels_last)
    state._metadata = OrderedDict({"": {"version": 1}})
    return state


@pytest.mark.parametrize("layout", [dict, wrapped, with_statistics, ordered])
def test_layouts_of_one_state_dict(layout, cyclegan, tmp_path):
    run = imported(tmp_path, layout(cyclegan.under("G_A")), "resnet_9", "--size", "32")
    got = run.translate_batch(cyclegan.arrays["input/real_A_0"])
    assert (got - cyclegan.arrays["out/step0/fake_B"]).abs().max() < 1e-5
    said = any("running statistics of 4 instance norms" in note for note in origin(run)["notes"])
    assert said == (layout is with_statistics)


def test_files_before_the_zip_format(cyclegan, tmp_path):
    file = tmp_path / "old.pth"
    torch.save(cyclegan.under("G_A"), file, _use_new_zipfile_serialization=False)
    result = zoo("import", file, "--as", "resnet_9", "--out", tmp_path / "run", "--size", "32")
    assert result.exit_code == 0, result.output
    got = load_run(tmp_path / "run").translate_batch(cyclegan.arrays["input/real_A_0"])
    assert (got - cyclegan.arrays["out/step0/fake_B"]).abs().max() < 1e-5


def test_an_image_by_the_command_line(ugatit_nets, tmp_path):
    """Several state dicts in one file, `zoo import`, `zoo translate`, and the fixture's image."""
    run = imported(tmp_path, ugatit_nets, "ugatit_light", "--size", "32")
    assert origin(run)["untrained"] == []
    arrays = fixture("ugatit_step", "light_decay").arrays
    for direction, real, fake in (("a2b", "real_A_0", "fake_A2B"), ("b2a", "real_B_0", "fake_B2A")):
        source = to_uint8(arrays[f"input/{real}"])[0]
        Image.fromarray(source).save(tmp_path / "in.png")
        words = (tmp_path / "in.png", tmp_path / f"{direction}.png", "--direction", direction)
        assert zoo("translate", tmp_path / "run", *words).exit_code == 0
        got = np.asarray(Image.open(tmp_path / f"{direction}.png")).astype(float)
        want = to_uint8(arrays[f"out/step0/{fake}"])[0].astype(float)
        assert np.abs(got - want).mean() < 2  # the input was rounded
        assert np.abs(got - source).mean() > 20


def test_batch_norms_without_counts(pix2pix, tmp_path):
    state = pix2pix.under("G")
    old = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    run = imported(tmp_path, old, "unet_256")
    got = run.method.ab.train()(pix2pix.arrays["input/real_A_0"]).image
    assert (got - pix2pix.arrays["out/step0/fake_B"]).abs().max() < 1e-5
    assert "missing counts" in origin(run)["notes"][0]


def test_nicegan(nicegan_nets, tmp_path):
    content = {**nicegan_nets, "D_optimizer": {"state": {}, "param_groups": []}, "start_iter": 7}
    run = imported(tmp_path, content, "nicegan", "--size", "96")
    case = fixture("nicegan_nets", "generator_light")
    for generator in (run.method.ab, run.method.ba):
        got = generator(case.arrays["input/x"]).image
        assert (got - case.arrays["out/y_train"]).abs().max() < 1e-5
    stored = load_file(tmp_path / "run" / "weights.safetensors")
    for name, value in nicegan_nets["disB"].items():
        assert torch.equal(stored[f"discriminator_b.{nicegan.discriminator(name)}"], value)
    assert run.directions == ("a2b", "b2a")
    assert "light is true in the file, which counts, and false by the name nicegan" in str(
        origin(run)["notes"]
    )


@pytest.mark.parametrize(("nets", "side"), [("ugatit_nets", 32), ("nicegan_nets", 96)])
def test_the_size_of_full_versions_is_read_off(nets, side, request, tmp_path):
    content = {name: dict(state) for name, state in request.getfixturevalue(nets).items()}
    for name, state in content.items():
        if name.startswith("gen"):
            channels = len(state["FC.0.weight"])
            state["FC.0.weight"] = torch.randn(channels, channels * (side // 4) ** 2)
    run = imported(tmp_path, content, nets.removesuffix("_nets"))
    assert run.recipe.data.config.size == side
    assert run.recipe.method.config.generator.config.light is False
    assert run.translate_batch(torch.zeros(1, 3, side, side)).shape == (1, 3, side, side)
    (tmp_path / "again").mkdir()
    message = refused(
        tmp_path / "again", tmp_path / "latest_net_G.pth", origin(run)["kind"], "--size", "64"
    )
    assert f"for {side} x {side} pixels alone, not for 64" in message


@pytest.mark.parametrize("extra", [False, True])
def test_discogan_sees_blue_first(extra, tmp_path):
    from zoo.create import create_generator

    torch.manual_seed(1)
    options = {"width": 16, "num_layers": 3, "extra_layers": extra}
    net = create_generator("disco", (3, 64, 64), **options).eval()
    state = {k.replace("layers.", "main."): v for k, v in net.state_dict().items()}
    assert all(discogan.generator(name) in net.state_dict() for name in state)
    run = imported(tmp_path, state, "discogan")
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    want = net(x.flip(1)).image.flip(1)
    assert (run.translate_batch(x) - want).abs().max() < 1e-6
    assert (run.translate_batch(x) - net(x).image).abs().max() > 1e-4
    read = run.recipe.method.config.generator.config
    assert {name: getattr(read, name) for name in options} == options


def test_what_is_read_off_a_resnet(tmp_path):
    case = fixture("cyclegan_nets", "resnet_2blocks_bn_zeropad")
    moved = case.under("G") | case.under("after/G")  # statistics after one forward
    run = imported(tmp_path, moved, "cut", "--size", "32")
    read = run.recipe.method.config.generator.config
    assert (read.width, read.num_blocks, read.norm, read.padding) == (8, 2, "batch", "zero")
    assert (read.down, read.up) == ("strided", "transposed")
    got = run.translate_batch(case.arrays["input/x"])
    assert (got - case.arrays["out/y_eval"]).abs().max() < 1e-5


def test_what_is_read_off_cut(tmp_path):
    case = fixture("cut_step", "cut_antialias")
    run = imported(tmp_path, case.under("G"), "fastcut", "--size", "32", *FACES)
    config = run.recipe.method.config
    assert (config.generator.config.down, config.generator.config.up) == ("blurred", "blurred")
    assert config.taps == (0, 4, 8, 12)
    assert config.flip_equivariance
    got = run.translate_batch(case.arrays["input/real_A_0"])
    assert (got - case.arrays["out/step0/fake_B"]).abs().max() < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_its_recipes(kind):
    for name in {KINDS[kind].recipe, KINDS[kind].both} - {None}:
        assert load_recipe(name).method.name in name or name == "_base/fastcut"


def test_the_page_names_every_kind():
    page = (ROOT / "docs" / "how-to" / "import_a_checkpoint.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert set(KINDS) <= set(re.findall(r"`(\w+)`", " ".join(rows)))


# One direction.


@pytest.fixture(scope="module")
def one_way(cyclegan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("one_way")
    return imported(folder, cyclegan.under("G_A"), "resnet_9", "--size", "32", *FACES)


def test_a_run_has_what_its_file_has(one_way):
    assert one_way.directions == ("a2b",)
    stored = load_file(one_way.folder / "weights.safetensors")
    assert {name.partition(".")[0] for name in stored} == {"ab"}
    assert origin(one_way)["untrained"] == ["ba", "discriminator_a", "discriminator_b"]
    assert "num_blocks is 1 in the file" in str(origin(one_way)["notes"])
    (digest,) = origin(one_way)["files"].values()
    assert len(digest) == 64
    assert one_way.images_seen == 0


def test_the_other_direction_is_refused(one_way, tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
    words = (tmp_path / "x.png", tmp_path / "y.png", "--direction", "b2a")
    result = zoo("translate", one_way.folder, *words)
    assert result.exit_code == 2
    assert "translates a2b, not 'b2a'" in result.stderr
    assert not (tmp_path / "y.png").exists()
    with pytest.raises(UserError, match="holds no generator for b2a"):
        one_way.method.translate(torch.zeros(1, 3, 32, 32), "b2a")


def test_it_is_packed_in_one_direction_too(one_way, tmp_path):
    assert zoo("pack", one_way.folder, "--out", tmp_path / "packed").exit_code == 0
    packed = load_run(tmp_path / "packed")
    assert packed.directions == ("a2b",)
    x = torch.rand(1, 3, 32, 32)
    assert (packed.translate_batch(x) - one_way.translate_batch(x)).abs().max() < 1e-2


def test_it_is_scored_in_one_direction(one_way, tmp_path):
    result = zoo("eval", one_way.folder, "--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "translated").iterdir()) == ["a2b"]


def test_training_starts_from_it(one_way, cyclegan, tmp_path):
    words = (f"train.init.run={one_way.folder}", "train.images=1", "samples.every_images=0")
    words += ("method.discriminator.width=8",)
    recipe = one_way.folder / "recipe.yaml"
    result = zoo("train", recipe, *words, "--cpu", "--out", tmp_path / "tuned")
    assert result.exit_code == 0, result.output
    first = load_file(
        tmp_path / "tuned" / "checkpoints" / "images_000000000" / "weights.safetensors"
    )
    assert torch.equal(first["ab.layers.1.weight"], cyclegan.under("G_A")["model.1.weight"])
    assert {name.partition(".")[0] for name in first} > {"ab", "ba", "discriminator_a"}
    assert load_run(tmp_path / "tuned").directions == ("a2b", "b2a")
    provenance = yaml.safe_load((tmp_path / "tuned" / "recipe.yaml").read_text())["provenance"]
    assert "weights.safetensors" in provenance["starting_weights"]
    assert "imported" not in provenance


def test_it_cannot_be_resumed(one_way):
    result = zoo("train", "--resume", one_way.folder, "--cpu")
    assert result.exit_code == 2
    assert f"start a new run with train.init.run={one_way.folder}" in result.stderr


def test_both_directions_from_two_files(cyclegan, tmp_path):
    torch.save(cyclegan.under("G_B"), tmp_path / "latest_net_G_B.pth")
    other = ("--other", tmp_path / "latest_net_G_B.pth", "--size", "32")
    run = imported(tmp_path, cyclegan.under("G_A"), "resnet_9", *other)
    assert run.directions == ("a2b", "b2a")
    got = run.translate_batch(cyclegan.arrays["input/real_B_0"], "b2a")
    assert (got - cyclegan.arrays["out/step0/fake_A"]).abs().max() < 1e-5
    assert len(origin(run)["files"]) == 2


# What is refused.


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.main = nn.Conv2d(3, 3, 1)


def test_a_pickled_module(tmp_path):
    torch.save(Whole(), tmp_path / "model_gen_B-1")
    message = refused(tmp_path, tmp_path / "model_gen_B-1", "discogan")
    assert "besides tensors it needs" in message
    assert "test_convert.Whole" in message
    assert "loading that runs code from the file" in message


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a checkpoint", "no file of tensors"),
        (b"", "torch cannot read it"),
        (None, "cannot be read: No such file"),
    ],
)
def test_no_checkpoint_at_all(content, says, tmp_path):
    if content is not None:
        (tmp_path / "x.pth").write_bytes(content)
    assert says in refused(tmp_path, tmp_path / "x.pth", "resnet_9")


@pytest.mark.parametrize("content", [{}, [], {"epoch": 3}, torch.zeros(2)])
def test_no_state_dict(content, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    assert "holds no state dict" in refused(tmp_path, tmp_path / "x.pth", "resnet_9")


def test_a_file_cut_short(cyclegan, tmp_path):
    torch.save(cyclegan.under("G_A"), tmp_path / "x.pth")
    data = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(data[: len(data) // 2])
    assert "is refused: torch cannot read it" in refused(tmp_path, tmp_path / "x.pth", "resnet_9")


def test_mismatches_are_all_named(cyclegan, tmp_path):
    state = cyclegan.under("G_A")
    state["model.99.weight"] = state.pop("model.4.weight")
    state["model.7.bias"] = torch.zeros(5)
    del state["model.10.conv_block.5.bias"]
    torch.save(state, tmp_path / "x.pth")
    lines = refused(tmp_path, tmp_path / "x.pth", "resnet_9").splitlines()
    assert lines[0].endswith("tensors do not fit: 2 missing, 1 unexpected, 1 wrongly shaped")
    assert lines[1:] == [
        "  missing: ab.layers.4.weight (our name)",
        "  missing: ab.layers.10.conv2.bias (our name)",
        "  unexpected: model.99.weight",
        "  wrongly shaped: model.7.bias (ours: ab.layers.7.bias): (5,), not (24,)",
    ]


def test_one_of_several_state_dicts_does_not_fit(ugatit_nets, tmp_path):
    content = {name: dict(state) for name, state in ugatit_nets.items()}
    content["disLB"]["extra"] = torch.zeros(1)
    torch.save(content, tmp_path / "x.pt")
    lines = refused(tmp_path, tmp_path / "x.pt", "ugatit").splitlines()
    assert lines[1:] == ["  unexpected: disLB: extra"]
    del content["disGB"]
    torch.save(content, tmp_path / "x.pt")
    assert "lacks the state dicts disGB" in refused(tmp_path, tmp_path / "x.pt", "ugatit")


@pytest.mark.parametrize(
    ("net", "kind", "says"),
    [
        ("G_A", "unet_256", "holds a ResNet generator (--as resnet_9 or resnet_6 or cut"),
        ("D_A", "resnet_9", "holds a patch discriminator"),
        ("G_A", "nicegan", "holds a ResNet generator"),
    ],
)
def test_another_kind_is_named(net, kind, says, cyclegan, tmp_path):
    torch.save(cyclegan.under(net), tmp_path / "x.pth")
    assert says in refused(tmp_path, tmp_path / "x.pth", kind)


def test_one_network_of_a_file_that_has_several(ugatit_nets, tmp_path):
    torch.save(ugatit_nets["genA2B"], tmp_path / "x.pt")
    assert "one generator of U-GAT-IT" in refused(tmp_path, tmp_path / "x.pt", "ugatit")
    torch.save(ugatit_nets, tmp_path / "x.pt")
    message = refused(tmp_path, tmp_path / "x.pt", "resnet_9")
    assert "the networks of U-GAT-IT (--as ugatit or ugatit_light)" in message


def test_wrong_words(cyclegan, ugatit_nets, tmp_path):
    torch.save(cyclegan.under("G_A"), tmp_path / "x.pth")
    torch.save(ugatit_nets, tmp_path / "u.pt")
    file = tmp_path / "x.pth"
    assert "Did you mean 'resnet_9'?" in refused(tmp_path, file, "resnet9")
    assert "leave it out" in refused(tmp_path, file, "resnet_9", "method.generator.width=3")
    assert "multiples of 4" in refused(tmp_path, file, "resnet_9", "--size", "33")
    message = refused(tmp_path, tmp_path / "u.pt", "ugatit", "--other", file)
    assert "for kinds with a file for each direction" in message
    (tmp_path / "run").mkdir()
    assert "exists; choose another --out" in refused(tmp_path, file, "resnet_9")
