"""A folder through a network in batches: as one by one, each file on its own, memory bounded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.training import recipe_of, untrained
from tests.unit.test_translation import SIDE, ramp, zoo
from zoo.folder import AUTO_PIXELS, _batches, _Loaded, auto_batch, translate_files
from zoo.images import DangerousImage, read_image, write_image
from zoo.registry import UserError
from zoo.translation import load_run

SIZES = [(40, 64), (SIDE, SIDE), (40, 64), (33, 40), (SIDE, SIDE), (40, 64), (40, 64), (8, 8)]
COGAN = ("method.search_steps=3", "method.search_restarts=2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(untrained(recipe_of("cyclegan"), tmp_path_factory.mktemp("runs") / "plain"))


@pytest.fixture
def mixed(tmp_path):
    """Files of five sizes, one of which no network takes, and a broken one in the middle."""
    folder = tmp_path / "mixed"
    for number, size in enumerate(SIZES):
        write_image(folder / f"{number}.png", np.roll(ramp(*size), number, axis=1))
    (folder / "4b.png").write_bytes((folder / "0.png").read_bytes()[:60])
    return folder


def watched(run):
    """The numbers of images that the generator gets from now on."""
    sizes = []
    run.method.ab.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


@pytest.mark.parametrize("size", ["resize", "native"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_batches_give_what_single_images_give(run, mixed, tmp_path, size, batch):
    summary = run.translate_path(mixed, tmp_path / "out", size=size, batch=batch)
    refused = ["3.png"] if size == "native" else []
    assert [file.name for file in summary.skipped] == [*refused, "4b.png"]
    left = [f"{n}.png" for n in range(len(SIZES)) if f"{n}.png" not in refused]
    assert summary.written == [tmp_path / "out" / name for name in left]
    for name in left:
        alone = run.translate(read_image(mixed / name), size=size).astype(int)
        got = read_image(tmp_path / "out" / name)
        assert got.shape == alone.shape
        assert np.abs(got - alone).max() <= 1  # of rounding
        assert (got == alone).mean() > 0.999


def test_images_of_one_size_go_together(run, mixed, tmp_path):
    seen = watched(run)
    run.translate_path(mixed, tmp_path / "out", batch=3)
    assert seen == [3, 3, 2]
    seen.clear()
    run.translate_path(mixed, tmp_path / "out", batch=3, size="native")
    assert seen == [3, 2, 1, 1, 1]  # what fills a batch, then what is left
    seen.clear()
    run.translate_path(mixed, tmp_path / "out")
    assert seen == [len(SIZES)]


@pytest.mark.parametrize("method", ["cyclegan", "ugatit", "pix2pix", "cogan"])
def test_an_image_is_translated_alike_in_any_company(method, tmp_path):
    """Batch statistics at test (pix2pix) and searches (CoGAN) included."""
    settings = {"cogan": COGAN, "pix2pix": ("data.size=64",)}.get(method, ())
    run = load_run(untrained(recipe_of(method, *settings), tmp_path / "run"))
    side = run.recipe.data.config.size
    run.method.double()
    x = torch.rand(5, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    together = run.translate_batch(x)
    alone = torch.cat([run.translate_batch(image) for image in x.split(1)])
    spread = (alone[0] - alone[1]).abs().max()
    assert spread > 0
    assert (together - alone).abs().max() <= 1e-9 * spread


def test_bfloat16(run, mixed, tmp_path):
    half = load_run(run.folder, precision="bf16")
    x = torch.rand(2, 3, SIDE, SIDE) * 2 - 1
    exact, rounded = run.translate_batch(x), half.translate_batch(x)
    assert rounded.dtype == torch.float32
    assert 1e-5 < (exact - rounded).abs().max() < 0.1
    done = zoo("translate", run.folder, mixed, tmp_path / "out", "--precision", "bf16")
    assert done.exit_code == 0, done.output
    expected = half.translate(read_image(mixed / "1.png"))
    assert np.abs(read_image(tmp_path / "out/1.png").astype(int) - expected).max() <= 3
    with pytest.raises(UserError, match=r"precision is 'bf61'. Did you mean 'bf16'\?"):
        load_run(run.folder, precision="bf61")


def test_bfloat16_of_attention(tmp_path):
    run = load_run(untrained(recipe_of("ugatit"), tmp_path / "run"), precision="bf16")
    assert run.heatmap(torch.zeros(1, 3, SIDE, SIDE)).dtype == torch.float32


def test_a_dangerous_file_ends_it(run, mixed, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 64 // 2 - 1)
    with pytest.raises(DangerousImage, match=r"0\.png: more pixels"):
        run.translate_path(mixed, tmp_path / "out")


def test_a_file_that_cannot_be_written_ends_it(run, mixed, tmp_path):
    (tmp_path / "out/5.png").mkdir(parents=True)
    with pytest.raises(UserError, match="cannot be written: Is a directory"):
        run.translate_path(mixed, tmp_path / "out", batch=2)


def test_a_failing_network_ends_it(mixed, tmp_path):
    def fail(images):
        raise UserError(f"no {images.shape[1:]}")

    files = {mixed / "0.png": tmp_path / "0.png", mixed / "1.png": tmp_path / "1.png"}
    with pytest.raises(UserError, match=r"no \(32, 32, 3\)"):
        translate_files(files, fail, 3, side=SIDE, batch=1)
    summary = translate_files(files, fail, 3, side=None, batch=1)
    assert summary.skipped == {mixed / "0.png": "no (40, 64, 3)", mixed / "1.png": "no (32, 32, 3)"}


def test_a_negative_batch_is_refused(run, mixed, tmp_path):
    with pytest.raises(UserError, match="batch is -1"):
        run.translate_path(mixed, tmp_path / "out", batch=-1)


def test_the_batch_by_size_has_a_bound():
    assert auto_batch(256, 256) == AUTO_PIXELS // 2**16
    assert auto_batch(8192, 8192) == 1
    assert auto_batch(8, 8) == 32


def test_few_images_wait_for_others_of_their_size():
    taken = []

    def images():
        for number in range(100):
            taken.append(number)
            yield _Loaded(Path(str(number)), np.zeros((1, 1 + number % 50, 3), np.uint8), (1, 1))

    waiting, seen = 0, []
    for group in _batches(images(), 2):
        seen += [int(loaded.file.name) for loaded in group]
        assert len({loaded.image.shape for loaded in group}) == 1
        waiting = max(waiting, len(taken) - len(seen))
    assert sorted(seen) == list(range(100))
    assert waiting <= 8
