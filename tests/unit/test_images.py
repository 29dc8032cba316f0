"""Writing, listing, resizing, grids, and the way between files and tensors."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from tests.unit.odd_images import photo
from zoo import images
from zoo.registry import UserError


def test_importing_it_does_not_import_torch():
    program = "import sys, zoo.images; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


# --- listing ---------------------------------------------------------------------------------


def test_listing_takes_every_extension_in_any_case_and_leaves_hidden_files(tmp_path):
    taken = ["a.jpg", "b.JPEG", "c.Png", "d.bmp", "e.WebP", "f.tif", "g.TIFF", "h.ppm", "i.gif"]
    for name in [
        *taken,
        ".hidden.png",
        "._a.jpg",
        ".png",
        "Thumbs.db",
        "png",
        "j.heic",
        "k.jpg.txt",
    ]:
        (tmp_path / name).touch()
    assert [path.name for path in images.list_images(tmp_path)] == taken


@given(st.sets(st.binary(min_size=1, max_size=4), max_size=8))
def test_listing_is_in_the_order_of_bytes(tmp_path_factory, stems):
    folder = tmp_path_factory.mktemp("order")
    wanted = sorted(
        stem + b".png" for stem in stems if not (set(stem) & set(b"/\0") or stem.startswith(b"."))
    )
    for name in wanted:
        Path(os.fsdecode(bytes(folder) + b"/" + name)).touch()
    assert [os.fsencode(path.name) for path in images.list_images(folder)] == wanted


def test_recursive_listing_follows_no_links_to_folders(tmp_path):
    (tmp_path / "b" / "c.jpg").mkdir(parents=True)
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / "itself").symlink_to(".")
    for name in ("z.png", "b/y.png", "b/c.jpg/x.png", ".thumbnails/t.png"):
        (tmp_path / name).touch()
    found = images.list_images(tmp_path, recursive=True)
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        "b/c.jpg/x.png",
        "b/y.png",
        "z.png",
    ]


@pytest.mark.parametrize("recursive", [False, True])
def test_listing_a_missing_folder_fails(tmp_path, recursive):
    with pytest.raises(FileNotFoundError):
        images.list_images(tmp_path / "nowhere", recursive=recursive)


# --- writing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (5, 7), (1, 1, 3)])
def test_what_is_written_is_read_again(tmp_path, shape):
    image = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    path = tmp_path / ("n" * 251 + ".png")  # the longest name there is
    images.write_image(path, image[::-1])  # not contiguous
    seen = images.read_image(path, channels=3 if shape[2:] == (3,) else 1)
    assert np.array_equal(seen, image[::-1].reshape(seen.shape))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        (
            "x.jpg",
            np.zeros((2, 2, 3), np.uint8),
            r"x\.jpg: images are written as \.png, not '.jpg'",
        ),
        ("x.png", np.zeros((2, 2, 3), np.float32), "an image is a uint8 array, not float32"),
        ("x.png", np.zeros((2, 2, 4), np.uint8), r"H W, H W 1 or H W 3, not \(2, 2, 4\)"),
        ("x.png", np.zeros((2, 0, 3), np.uint8), r"H W, H W 1 or H W 3, not \(2, 0, 3\)"),
        ("x.png", np.zeros(4, np.uint8), r"H W, H W 1 or H W 3, not \(4,\)"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, image, message):
    with pytest.raises(ValueError, match=message):
        images.write_image(tmp_path / name, image)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_earlier_file_and_nothing_else(tmp_path):
    path = tmp_path / "x.png"
    images.write_image(path, photo())
    noise = np.random.default_rng(0).integers(256, size=(99, 99, 3), dtype=np.uint8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            images.write_image(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert np.array_equal(images.read_image(path), photo())
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.png"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        images.write_image(tmp_path / "x.png", photo())
    finally:
        os.umask(before)
    assert (tmp_path / "x.png").stat().st_mode & 0o777 == 0o640


# --- tensors ---------------------------------------------------------------------------------

LEVELS = np.arange(256, dtype=np.uint8)


def test_every_level_survives_the_round_trip():
    image = np.stack([LEVELS, LEVELS[::-1], np.roll(LEVELS, 7)], axis=1).reshape(16, 16, 3)
    tensor = images.to_tensor(image)
    assert tensor.shape == (1, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(images.to_uint8(tensor), image[None])
    batch = np.stack([image, 255 - image])
    assert np.array_equal(images.to_uint8(images.to_tensor(batch)), batch)
    assert np.array_equal(images.to_uint8(images.to_tensor(batch).double()), batch)


def test_the_scale_is_the_published_one():
    published = (torch.from_numpy(LEVELS.copy()).double() / 255 - 0.5) / 0.5
    ours = images.to_tensor(LEVELS.reshape(16, 16, 1)).flatten().double()
    assert (ours - published).abs().max() < 1e-7


def test_levels_are_rounded_and_clamped():
    step = 2 / 255
    values = torch.tensor([-9.0, -1, -1 + 0.49 * step, -1 + 0.51 * step, 1, 9, torch.inf])
    assert images.to_uint8(values.view(1, 1, 1, -1)).ravel().tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_to_uint8_does_not_change_its_argument_and_needs_no_detach():
    tensor = torch.zeros(2, 1, 3, 5, requires_grad=True)
    assert images.to_uint8(tensor).shape == (2, 3, 5, 1)
    assert (
        images.to_uint8(tensor.to(torch.bfloat16)).tolist() == np.full((2, 3, 5, 1), 128).tolist()
    )
    assert not tensor.any()


def test_to_tensor_leaves_a_read_only_image_alone():
    image = photo()
    image.flags.writeable = False
    images.to_tensor(image).zero_()
    assert np.array_equal(image, photo())


def test_what_is_no_image_is_refused():
    with pytest.raises(ValueError, match="the images hold NaN"):
        images.to_uint8(torch.full((1, 3, 2, 2), torch.nan))
    with pytest.raises(ValueError, match=r"wanted N C H W, not \(3, 2, 2\)"):
        images.to_uint8(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match=r"not float64 \(2, 2, 3\)"):
        images.to_tensor(np.zeros((2, 2, 3)))


# --- resizing --------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_pillows_bicubic_channel_by_channel(channels):
    image = np.random.default_rng(0).integers(256, size=(31, 45, channels), dtype=np.uint8)
    for height, width in ((8, 8), (70, 20), (31, 46)):
        resized = images.resize(image, (height, width))
        for channel in range(channels):
            plane = Image.fromarray(np.ascontiguousarray(image[:, :, channel]))
            wanted = plane.resize((width, height), Image.Resampling.BICUBIC)
            assert np.array_equal(resized[:, :, channel], np.asarray(wanted))


@given(
    arrays(np.uint8, (3,)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 40),
)
def test_resizing_a_flat_image_keeps_it_flat(colour, shape, size):
    image = np.broadcast_to(colour, (*shape, 3))
    assert np.array_equal(images.resize(image, size), np.broadcast_to(colour, (size, size, 3)))


def test_shrinking_antialiases():
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    shrunk = images.resize(stripes, 16).astype(int)  # every fourth pixel alone would be 255
    assert np.abs(shrunk - 127.5).max() < 10


# --- grids -----------------------------------------------------------------------------------


def test_grid_holds_every_image_at_its_place():
    rng = np.random.default_rng(0)
    rows = [
        [rng.integers(256, size=(8, 6, 3), dtype=np.uint8) for _ in range(3)],
        [rng.integers(256, size=(5, 6, 1), dtype=np.uint8) for _ in range(2)],
    ]
    picture = images.grid(rows, gap=2)
    assert picture.shape == (8 + 2 + 8, 3 * 6 + 2 * 2, 3)
    for y, row in enumerate(rows):
        for x, image in enumerate(row):
            height, width, _ = image.shape
            cell = picture[y * 10 : y * 10 + height, x * 8 : x * 8 + width]
            assert np.array_equal(cell, np.broadcast_to(image, (height, width, 3)))
    assert (picture[10:, 16:] == 255).all()


def test_labels_stand_above_their_columns_and_stay_inside():
    rows = [[np.full((20, 30, 3), 128, np.uint8)] * 3]
    plain, labelled = images.grid(rows), images.grid(rows, ["A", "a label far too long", ""])
    top = labelled.shape[0] - plain.shape[0]
    assert top > 8
    assert np.array_equal(labelled[top:], plain)
    written = (labelled[:top] < 128).any(axis=(0, 2))
    assert written[:30].any()
    assert written[32:62].any()
    assert not written[[30, 31]].any()
    assert not written[62:].any()


def test_labels_may_hold_anything():
    grey = [[np.zeros((4, 4, 1), np.uint8)]]
    assert images.grid(grey, ["a\nb\udce9 顔"]).shape[1:] == (4, 3)


@pytest.mark.parametrize("rows", [[], [[]]])
def test_a_grid_of_nothing_is_refused(rows):
    with pytest.raises(ValueError, match="at least one image"):
        images.grid(rows)


def test_image_errors_are_mistakes_of_the_user():
    assert issubclass(images.ImageError, UserError)
