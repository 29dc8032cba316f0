"""Odd, broken and hostile files: each gets its class, none crashes or hangs."""

import contextlib
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.unit.odd_images import (
    ERROR,
    IGNORED,
    OK,
    SKIP,
    dangerous_files,
    encode,
    good_files,
    photo,
    png_claiming,
    with_orientation,
    with_text_bomb,
    write_odd_images,
)
from zoo import images
from zoo.images import DangerousImage, ImageError, UnreadableImage, list_images, read_image


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("odd")
    return folder, write_odd_images(folder)


def save(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_every_file_gets_its_class(odd):
    folder, expected = odd
    found = dict.fromkeys(expected, IGNORED)
    for path in list_images(folder):
        try:
            image = read_image(path)
        except UnreadableImage:
            found[path.name] = SKIP
        except DangerousImage:
            found[path.name] = ERROR
        else:
            assert image.dtype == np.uint8
            assert image.ndim == 3
            assert image.shape[2] == 3
            found[path.name] = OK
    assert found == expected


def test_messages_name_file_and_reason_and_can_be_written_as_utf8(tmp_path):
    names = ["new\nline.png", os.fsdecode(b"latin1_\xe9.png"), "bell\a.png", "‮gpj.png"]
    for name in names:
        with pytest.raises(UnreadableImage) as caught:
            read_image(save(tmp_path, name, b""))
        message = str(caught.value)
        assert message.encode("utf-8").isascii()
        assert message.isprintable()
        assert message.endswith(".png: an empty file")
        assert caught.value.path.name == name
    assert images.printable(names[0]) == r"new\nline.png"
    assert images.printable(names[1]) == r"latin1_\xe9.png"
    assert images.printable("gesichter 顔 😀.png") == "gesichter 顔 😀.png"


def test_errors_survive_the_way_out_of_a_worker_process():
    error = pickle.loads(pickle.dumps(UnreadableImage("a\n.png", "an empty file")))
    assert (str(error), error.reason) == (r"a\n.png: an empty file", "an empty file")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.jpg", b"<html>", "not an image (none of JPEG, PNG, BMP, WEBP, TIFF, PPM, GIF)"),
        ("x.jpg", encode(photo(), "JPEG")[:-40], "image file is truncated"),
        ("x.png", png_claiming(8200, 8200), "8200 x 8200 pixels, more than the 67108864 of"),
        ("x.png", png_claiming(10_000, 10_000), "more pixels than Pillow decodes (89478485)"),
        ("x.png", with_text_bomb(encode(photo()), 2**21), "its metadata inflates beyond"),
        ("x.tif", encode(np.zeros((2, 2), np.float32), "TIFF"), "floating-point pixels have no"),
    ],
)
def test_reasons(tmp_path, name, data, reason):
    with pytest.raises(ImageError) as caught:
        read_image(save(tmp_path, name, data))
    assert caught.value.reason.startswith(reason)


def test_the_pixel_limit_is_inclusive_and_settable(tmp_path):
    path = save(tmp_path, "x.png", encode(photo(40, 24)))
    assert read_image(path, max_pixels=960).shape == (24, 40, 3)
    with pytest.raises(DangerousImage, match="40 x 24 pixels, more than the 959 of max_pixels"):
        read_image(path, max_pixels=959)


def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    program = "import sys; from zoo.images import read_image; read_image(sys.argv[1])"
    result = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "pipe.png"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "pipe.png: not a regular file" in result.stderr


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Root may read every file, so become nobody for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_without_permission_is_skippable():
    with tempfile.TemporaryDirectory() as folder:  # tmp_path itself is closed to others
        Path(folder).chmod(0o755)
        path = save(Path(folder), "x.png", encode(photo()))
        path.chmod(0)
        denied = pytest.raises(UnreadableImage, match=r"x\.png: Permission denied")
        with unprivileged(), denied:
            read_image(path)


def test_grey_of_16_bits_keeps_its_level(tmp_path):
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16)
    for kind, name in (("PNG", "x.png"), ("TIFF", "x.tif"), ("PPM", "x.ppm")):
        path = save(tmp_path, name, encode(levels * 257, kind))
        assert np.array_equal(read_image(path, channels=1)[:, :, 0], levels)
        assert np.array_equal(read_image(path), np.dstack([levels] * 3))
    # To the nearest of 256 levels: a level is 257 steps wide, 128 on either side.
    between = save(tmp_path, "y.png", encode(np.array([[128, 129, 385, 386]], np.uint16)))
    assert read_image(between, channels=1).ravel().tolist() == [0, 1, 1, 2]


def test_colours_under_full_transparency_do_not_appear(tmp_path):
    rgb = photo()
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    alpha[:, 20:] = 255
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    for image, tolerance in ((rgba, 0), (rgba.convert("LA"), 255)):
        seen = read_image(save(tmp_path, "x.png", encode(image))).astype(int)
        assert (seen[:, :20] == 255).all()
        assert np.abs(seen[:, 20:] - rgb[:, 20:]).max() <= tolerance
    half = Image.fromarray(np.dstack([rgb * 0, alpha // 2 + alpha % 2]))  # 0 and 128 of 255
    seen = read_image(save(tmp_path, "y.png", encode(half)))
    assert set(np.unique(seen)) == {127, 255}


def test_a_transparent_palette_entry_is_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putdata([0, 1])
    path = save(tmp_path, "x.png", encode(image, transparency=0))
    assert read_image(path).tolist() == [[[255, 255, 255], [0, 0, 200]]]


def test_cmyk_shows_the_same_colours(tmp_path):
    data = encode(Image.fromarray(photo()).convert("CMYK"), "JPEG", quality=100, subsampling=0)
    seen = read_image(save(tmp_path, "x.jpg", data)).astype(int)
    assert np.abs(seen - photo()).max() <= 6


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.transpose(1, 0, 2)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda image: np.rot90(image)),
    ],
)
def test_every_exif_orientation_is_turned_upright(tmp_path, orientation, upright):
    path = save(tmp_path, "x.png", with_orientation(orientation, "PNG"))
    assert np.array_equal(read_image(path), upright(photo()))


def test_several_frames_give_the_first_and_one_notice(tmp_path, caplog):
    frames = [Image.fromarray(np.full((4, 4), level, np.uint8)) for level in (10, 90, 200)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    path = save(tmp_path, "x.gif", data)
    for _ in range(3):
        assert np.unique(read_image(path)).tolist() == [10]
    assert [record.message for record in caplog.records] == [
        f"{path}: has several frames, the first one is used"
    ]


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_channels_other_than_one_and_three_are_refused(channels):
    with pytest.raises(ValueError, match=f"channels must be 1 or 3, not {channels}"):
        images.from_pil(Image.new("RGB", (2, 2)), channels)


def test_reading_in_threads_leaves_the_filters_of_warnings_alone(tmp_path):
    paths = [save(tmp_path, f"{n}.png", data) for n, (_, data) in enumerate(dangerous_files())]
    paths += [save(tmp_path, f"g{n}.png", data) for n, (_, data) in enumerate(good_files())]

    def outcome(path: Path) -> str:
        try:
            return str(read_image(path).shape)
        except DangerousImage:
            return ERROR

    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(outcome, paths * 5))
    assert found == [outcome(path) for path in paths] * 5
    assert list(warnings.filters) == before


GOOD = [data for _, data in good_files() if len(data) < 4000]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_bytes_end_in_an_image_or_an_image_error(tmp_path, data):
    file = bytearray(data.draw(st.sampled_from(GOOD)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(file) - 1))
        cut = data.draw(st.sampled_from([0, 0, 1, 4]))
        file[at : at + cut] = data.draw(st.binary(min_size=1, max_size=4))
    path = save(tmp_path, "x.jpg", bytes(file))
    with contextlib.suppress(ImageError):  # anything else fails the test
        image = read_image(path)
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
