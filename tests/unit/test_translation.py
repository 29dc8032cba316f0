"""From a run to translated images: kinds, sizes, files, weights."""

import logging
import os
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from eval.runner import evaluate_run
from tests.training import recipe_of, untrained
from tests.unit.odd_images import OK, SKIP, write_odd_images
from zoo.checkpoint import CheckpointError
from zoo.cli import app
from zoo.images import read_image, to_tensor, to_uint8, write_image
from zoo.registry import UserError
from zoo.translation import from_pretrained, load_run, output_names

SIDE = 32


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Fresh weights: what comes out looks like noise, but always the same."""
    return load_run(untrained(recipe_of("cyclegan"), tmp_path_factory.mktemp("runs") / "plain"))


@pytest.fixture(scope="module")
def same(tmp_path_factory):
    """A run whose networks return their input, but for a few levels."""
    recipe = recipe_of("cyclegan", "method.generator.input_skip=true")
    return load_run(untrained(recipe, tmp_path_factory.mktemp("runs") / "same"))


def ramp(height, width, channels=3):
    """Smooth, and different along each axis and in each channel."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (255 * y / max(1, height - 1), 255 * x / max(1, width - 1), 0 * x + 90)
    return np.stack(planes[:channels], axis=-1).round().astype(np.uint8)


def zoo(*words):
    return CliRunner().invoke(app, list(map(str, words)))


# Kinds and sizes --------------------------------------------------------------------------------

SIZES = [(SIDE, SIDE), (33, 47), (61, 20), (1, 1), (1, 90), (200, 128)]


@pytest.mark.parametrize("size", SIZES)
def test_every_kind_comes_back_as_it_was(run, tmp_path, size):
    array = ramp(*size)
    write_image(tmp_path / "x.png", array)
    out = run.translate(array)
    assert isinstance(out, np.ndarray)
    assert (out.shape, out.dtype) == (array.shape, np.uint8)
    for given_image in (Image.fromarray(array), tmp_path / "x.png", str(tmp_path / "x.png")):
        image = run.translate(given_image)
        assert isinstance(image, Image.Image)
        assert (image.mode, image.size) == ("RGB", size[::-1])
        assert np.array_equal(np.asarray(image), out)
    tensor = torch.cat([to_tensor(array)] * 2).double()
    back = run.translate(tensor)
    assert (back.shape, back.dtype, back.device) == (tensor.shape, tensor.dtype, tensor.device)
    assert back.abs().max() <= 1
    assert torch.equal(back[0], back[1])


@pytest.mark.parametrize("size", SIZES)
def test_geometry_is_kept(same, size):
    """The image comes back upright, whatever its proportions."""
    array = ramp(*size)
    assert np.abs(same.translate(array).astype(int) - array).max() <= 16
    tensor = to_tensor(array)
    assert (same.translate(tensor) - tensor).abs().max() <= 0.16


def test_the_networks_own_size_is_passed_through(run):
    x = torch.rand(3, 3, SIDE, SIDE) * 2 - 1
    with torch.no_grad():
        expected = run.method.ab(x).image, run.method.ba(x).image
    assert torch.equal(run.translate(x, "a2b"), expected[0])
    assert torch.equal(run.translate(x, "b2a"), expected[1])
    assert torch.equal(run.translate_batch(x, "b2a"), expected[1])
    assert not torch.equal(*expected)
    array = ramp(SIDE, SIDE)
    with torch.no_grad():
        image = to_uint8(run.method.ab(to_tensor(array)).image)[0]
    assert np.array_equal(run.translate(array), image)


def test_native_size(run):
    array = ramp(40, 64)
    with torch.no_grad():
        expected = to_uint8(run.method.ab(to_tensor(array)).image)[0]
    assert np.array_equal(run.translate(array, size="native"), expected)
    assert not np.array_equal(run.translate(array), expected)
    assert torch.equal(
        run.translate(to_tensor(array), size="native"), run.method.ab(to_tensor(array)).image
    )


@pytest.mark.parametrize("size", [(33, 40), (40, 42), (4, 8)])
def test_native_size_that_the_network_does_not_take(run, size):
    with pytest.raises(UserError, match=rf"resnet .*{size[0]} x {size[1]} .*(multiples of 4|8)"):
        run.translate(ramp(*size), size="native")


def test_full_ugatit_has_one_size(tmp_path):
    full = recipe_of("ugatit", "method.generator.light=false")
    fixed = load_run(untrained(full, tmp_path / "full"))
    assert fixed.translate(ramp(50, 40)).shape == (50, 40, 3)
    with pytest.raises(UserError, match="32"):
        fixed.translate(ramp(40, 40), size="native")


def test_transparency_is_laid_on_white(same):
    image = Image.new("RGBA", (SIDE, SIDE), (10, 20, 30, 0))
    assert np.asarray(same.translate(image)).min() > 245


def test_grey_domains(tmp_path):
    recipe = recipe_of("cyclegan", "data.channels=[1, 3]", "method.weights.identity=0")
    run = load_run(untrained(recipe, tmp_path / "grey"))
    assert run.translate(ramp(20, 30, 1), "a2b").shape == (20, 30, 3)
    assert run.translate(ramp(20, 30), "b2a").shape == (20, 30, 1)
    colour = Image.fromarray(ramp(20, 30))
    assert run.translate(colour, "a2b").mode == "RGB"
    assert run.translate(colour, "b2a").mode == "L"
    with pytest.raises(UserError, match=r"uint8 H W 1, not uint8 \(20, 30, 3\)"):
        run.translate(ramp(20, 30), "a2b")
    write_image(tmp_path / "in.png", ramp(20, 30))
    run.translate_path(tmp_path / "in.png", tmp_path / "out.png", "b2a")
    with Image.open(tmp_path / "out.png") as written:
        assert written.mode == "L"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3, "a path, a PIL image, a uint8 array or a float tensor, not int"),
        (np.zeros((4, 4, 3)), r"uint8 H W 3, not float64 \(4, 4, 3\)"),
        (np.zeros((4, 4), np.uint8), r"uint8 H W 3, not uint8 \(4, 4\)"),
        (torch.zeros(3, 8, 8), r"float N 3 H W, not torch.float32 \(3, 8, 8\)"),
        (torch.zeros(1, 1, 8, 8), r"float N 3 H W, not torch.float32 \(1, 1, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "float N 3 H W, not torch.uint8"),
        (Image.new("F", (4, 4)), "floating-point pixels"),
        ("nowhere.png", "nowhere.png: No such file"),
    ],
)
def test_other_inputs_are_refused(run, x, message):
    with pytest.raises(UserError, match=message):
        run.translate(x)


def test_unknown_choices_are_refused(run):
    with pytest.raises(UserError, match="translates a2b and b2a, not 'a2c'"):
        run.translate(ramp(8, 8), "a2c")
    with pytest.raises(UserError, match=r"size is 'naitive'. Did you mean 'native'\?"):
        run.translate(ramp(8, 8), size="naitive")
    for words in ({"weights": "emma"}, {"checkpoint": "newest"}):
        with pytest.raises(UserError, match=f"{next(iter(words))} is "):
            load_run(run.folder, **words)


def test_results_can_be_trained_on(run):
    """They are ordinary tensors, which autograd takes."""
    x = run.translate(torch.zeros(1, 3, SIDE, SIDE))
    weight = torch.ones((), requires_grad=True)
    (x * weight).sum().backward()
    assert weight.grad == x.sum()


# Files and folders ------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path):
    """Two good images and a bad one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    write_image(folder / "wide.png", ramp(20, 44))
    Image.fromarray(ramp(45, 31)).save(folder / "tall.jpg", quality=95)
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.mark.parametrize("batch", [1, 2, 8])
def test_a_folder(run, photos, tmp_path, batch, caplog):
    out = tmp_path / "new/folder"
    with caplog.at_level(logging.WARNING, "zoo"):
        summary = run.translate_path(photos, out, "a2b", batch=batch)
    assert sorted(path.name for path in out.iterdir()) == ["tall.png", "wide.png"]
    assert sorted(summary.written) == [out / "tall.png", out / "wide.png"]
    assert list(summary.skipped) == [photos / "broken.png"]
    (record,) = caplog.records
    assert record.getMessage().startswith(f"skipped {photos / 'broken.png'}: ")
    for name in ("tall.jpg", "wide.png"):
        expected = run.translate(photos / name)
        got = read_image(out / name.replace("jpg", "png"))
        assert np.abs(got.astype(int) - np.asarray(expected)).max() <= 1


def test_native_sizes_in_a_folder(run, photos, tmp_path):
    """45 x 31 is no multiple of 4: left out, counted, and the reason says so."""
    summary = run.translate_path(photos, tmp_path / "out", size="native", batch=2)
    assert [path.name for path in summary.written] == ["wide.png"]
    assert "multiples of 4" in summary.skipped[photos / "tall.jpg"]
    assert read_image(tmp_path / "out/wide.png").shape == (20, 44, 3)


def test_equal_stems_do_not_collide(run, tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("face.jpg", "face.png", "face.jpg.png", "other.PNG"):
        Image.fromarray(ramp(8, 8)).save(source / name)
    run.translate_path(source, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["face.jpg.png", "face.jpg.png.png", "face.png.png", "other.png"]


@given(st.lists(st.from_regex(r"\A[ab]{1,2}(\.(png|jpg)){1,2}\Z"), unique=True, max_size=8))
def test_output_names_never_collide(names):
    outputs = output_names(names)
    assert len(set(outputs)) == len(names)
    assert all(name.endswith(".png") for name in outputs)
    stems = [name.rpartition(".")[0] for name in names]
    if len(set(stems)) == len(stems):
        assert outputs == [f"{stem}.png" for stem in stems]


def test_an_image_to_a_file_or_into_a_folder(run, photos, tmp_path):
    expected = np.asarray(run.translate(photos / "wide.png"))
    for target, file in (("a/x.png", "a/x.png"), ("a/X.PNG", "a/X.PNG"), ("b", "b/wide.png")):
        summary = run.translate_path(photos / "wide.png", tmp_path / target)
        assert summary.written == [tmp_path / file]
        assert np.array_equal(read_image(tmp_path / file), expected)


def test_what_cannot_be_written_or_read(run, photos, tmp_path):
    def refused(source, target, message):
        with pytest.raises(UserError, match=message):
            run.translate_path(source, target)

    refused(photos / "none.png", tmp_path / "x.png", "none.png does not exist")
    refused(photos / "broken.png", tmp_path / "x.png", "broken.png: ")
    refused(photos / "wide.png", tmp_path / "x.jpg", r"x.jpg: images are written as \.png")
    refused(photos, photos, "is input and output")
    refused(photos / "wide.png", photos / "wide.png", "is input and output")
    (tmp_path / "file").write_text("")
    refused(photos, tmp_path / "file", "file cannot be written: ")
    refused(photos / "wide.png", tmp_path / "file/x.png", "cannot be written: File exists")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", tmp_path / "out", r"holds no image .*\(0 candidates, 0 skipped\)")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "x.png").exists()


def test_a_dangerous_file_is_never_skipped(run, photos, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20 * 44 // 2 - 1)
    with pytest.raises(UserError, match="more pixels than Pillow decodes"):
        run.translate_path(photos, tmp_path / "out")


def test_odd_files_end_in_an_image_or_a_counted_skip(run, tmp_path):
    source = tmp_path / "odd"
    source.mkdir()
    classes = write_odd_images(source, dangerous=False)
    summary = run.translate_path(source, tmp_path / "out", batch=4)
    counts = Counter(classes.values())
    assert len(summary.written) == len(set(summary.written)) == counts[OK]
    assert {path.name for path in summary.skipped} == {n for n, c in classes.items() if c == SKIP}
    assert len(list((tmp_path / "out").iterdir())) == counts[OK]


def test_exit_codes(run, photos, tmp_path):
    done = zoo("translate", run.folder, photos, tmp_path / "out", "--direction", "b2a")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{tmp_path / 'out'}: 2 written, 1 left out\n"
    assert len(list((tmp_path / "out").iterdir())) == 2
    for words in (
        (run.folder, photos / "broken.png", tmp_path / "x.png"),
        (run.folder, photos / "none.png", tmp_path / "x.png"),
        (tmp_path, photos, tmp_path / "out2"),
        (run.folder, photos / "tall.jpg", tmp_path / "x.png", "--size", "native"),
        (run.folder, photos, tmp_path / "out2", "--weights", "ema"),
    ):
        refused = zoo("translate", *words, "--direction", "a2b")
        assert refused.exit_code == 2
        assert isinstance(refused.exception, SystemExit)
        assert refused.stderr.startswith("error: ")
    assert not (tmp_path / "x.png").exists()


# Which weights ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run whose averages are half of its weights."""
    folder = tmp_path_factory.mktemp("runs") / "averaged"
    return untrained(recipe_of("cyclegan", "ema.halflife_images=5"), folder, averages=0.5)


def test_averages_translate_where_there_are_any(averaged):
    raw, ema = load_run(averaged, weights="raw"), load_run(averaged, weights="ema")
    auto = load_run(averaged)
    assert (raw.weights, ema.weights, auto.weights) == ("raw", "ema", "ema")
    for name, value in raw.method.named_parameters():
        factor = 0.5 if name.startswith(("ab.", "ba.")) else 1
        assert torch.equal(ema.method.get_parameter(name), factor * value)
        assert torch.equal(auto.method.get_parameter(name), factor * value)
    x = torch.rand(1, 3, SIDE, SIDE)
    assert not torch.equal(raw.translate(x), ema.translate(x))


def test_scores_say_which_weights_they_are_of(averaged):
    for words, expected in (({}, "ema"), ({"weights": "raw"}, "raw")):
        scores = evaluate_run(averaged, extractor="offline", num_images=2, **words)
        of_run = {r["weights"] for r in scores["records"] if r["translator"] == "run"}
        assert of_run == {expected}


def test_without_averages_there_is_nothing_to_choose(run):
    assert load_run(run.folder).weights == "raw"
    with pytest.raises(CheckpointError, match="no averaged weights; its recipe has the EMA off"):
        load_run(run.folder, weights="ema")
    with pytest.raises(CheckpointError, match="no checkpoint is marked as the best"):
        load_run(run.folder, checkpoint="best")


def test_networks_are_in_evaluation_mode(run):
    assert not any(module.training for module in run.method.modules())


def test_what_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"missing does not exist.*A run is a folder made by `zoo"):
        load_run(tmp_path / "missing")
    with pytest.raises(UserError, match=r"holds no recipe\.yaml, so it is no run"):
        from_pretrained(str(tmp_path))


def test_a_run_without_a_complete_checkpoint(tmp_path):
    folder = untrained(recipe_of("cyclegan"), tmp_path / "run")
    weights = folder / "checkpoints/images_000000000/weights.safetensors"
    os.truncate(weights, 100)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors has 100 bytes"):
        load_run(folder)


def test_shipped_weights_are_a_folder_of_translating_networks(tmp_path):
    """Half-precision generators and a recipe: enough to translate, and nothing else is needed."""
    from safetensors.torch import save_file

    folder = untrained(recipe_of("cyclegan"), tmp_path / "run")
    full = load_run(folder)
    small = tmp_path / "shipped"
    small.mkdir()
    (small / "recipe.yaml").write_text((folder / "recipe.yaml").read_text())
    weights = {n: t.half() for n, t in full.method.state_dict().items() if n[:3] in ("ab.", "ba.")}
    save_file(weights, small / "weights.safetensors")
    loaded = load_run(small)
    x = torch.rand(1, 3, SIDE, SIDE)
    assert (loaded.translate(x) - full.translate(x)).abs().max() < 1e-2
    with pytest.raises(CheckpointError, match="neither an average nor the best"):
        load_run(small, weights="ema")
    del weights["ab.layers.1.weight"]
    save_file(weights, small / "weights.safetensors")
    with pytest.raises(CheckpointError, match=r"lack ab\.layers\.1\.weight"):
        load_run(small)
