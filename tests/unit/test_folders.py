"""Data sets in folders: what is found, checked, skipped, counted, refused and remembered."""

import logging
import multiprocessing
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.unit.odd_images import ERROR, OK, SKIP, encode, photo, write_odd_images
from zoo.data import _files
from zoo.data.transforms import center
from zoo.images import UnreadableImage, resize, write_image
from zoo.registry import DATASETS, UserError
from zoo.schema import Cache

SPLITS = ("trainA", "trainB", "testA", "testB")


def unpaired(root: Path, **fields):
    """Built at 32 pixels, load size 36."""
    fields = {"size": 32, "load_size": 36} | fields
    cls = DATASETS["unpaired"]
    return cls(cls.Config(root=str(root), **fields))


def paired(root: Path, **fields):
    fields = {"size": 32, "load_size": 36} | fields
    cls = DATASETS["paired"]
    return cls(cls.Config(root=str(root), **fields))


def flat(level: int, width: int = 40, height: int = 24) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def fill(folder: Path, *names: str, image: np.ndarray | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(encode(photo() if image is None else image))


@pytest.fixture
def root(tmp_path) -> Path:
    """A sound unpaired data set: 3, 2, 2 and 1 images."""
    for folder, count in zip(SPLITS, (3, 2, 2, 1), strict=True):
        fill(tmp_path / "horses" / folder, *(f"{n}.png" for n in range(count)))
    return tmp_path / "horses"


def messages(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- what a sound data set gives ---------------------------------------------------------------


def test_domains_have_names_sizes_and_no_truth(root, caplog):
    data = unpaired(root)
    assert (data.paired, data.channels) == (False, (3, 3))
    assert [len(data.domain(split, side)) for split in ("train", "test") for side in "ab"] == [
        3,
        2,
        2,
        1,
    ]
    assert data.domain("train", "a").names == ["0.png", "1.png", "2.png"]
    assert data.truth("a") is None
    assert data.attributes("b") is None
    assert np.array_equal(data.domain("train", "a")[1], resize(photo(), 36))
    assert np.array_equal(data.domain("test", "a")[1], resize(photo(), 32))
    assert not messages(caplog)


def test_a_domain_is_checked_once(root):
    data = unpaired(root, cache="off")
    assert data.domain("train", "a") is data.domain("train", "a")


def test_folders_are_found_in_any_case_and_the_exact_name_wins(root):
    (root / "trainA").rename(root / "TRAINa")
    assert len(unpaired(root).domain("train", "a")) == 3
    fill(root / "trainA", "x.png")
    assert unpaired(root).domain("train", "a").names == ["x.png"]
    (root / "trainA").rename(root / "traina")
    with pytest.raises(UserError, match="holds TRAINa, traina; rename the one that is meant to tr"):
        unpaired(root)


def test_short_side_keeps_proportions_in_training_and_the_centre_in_tests(root):
    data = unpaired(root, resize="short_side")
    assert data.domain("train", "a")[0].shape == (36, 60, 3)
    assert np.array_equal(data.domain("test", "a")[0], center(photo(), 32))


def test_a_strip_is_squeezed_or_left_out_but_never_blown_up(root, caplog):
    fill(root / "trainA", "strip.png", image=photo(6000, 3))
    assert unpaired(root).domain("train", "a")[3].shape == (36, 36, 3)
    assert len(unpaired(root, resize="short_side").domain("train", "a")) == 3
    assert messages(caplog) == [
        f"skipped {root}/trainA/strip.png: 6000 x 3 is longer than 16:1, too long for resize: "
        f"short_side",
        f"1 of 4 files in {root}/trainA were skipped",
    ]


def test_each_domain_has_its_own_channels(root):
    data = unpaired(root, channels=(3, 1))
    assert data.channels == (3, 1)
    assert data.domain("train", "a")[0].shape == (36, 36, 3)
    assert data.domain("train", "b")[0].shape == (36, 36, 1)


@pytest.mark.parametrize("cache", ["auto", "memory", "off"])
def test_images_are_the_same_from_wherever_they_are_kept(root, cache):
    domain = unpaired(root, cache=cache).domain("train", "a")
    assert domain.nbytes == (3 * 36 * 36 * 3 if cache == "memory" else 0)
    assert domain.kept == (cache != "off")
    assert np.array_equal(domain[0], resize(photo(), 36))
    assert domain[-1].shape == (36, 36, 3)
    with pytest.raises(IndexError):
        domain[3]
    shutil.rmtree(root / "trainA")
    if cache == "off":
        with pytest.raises(UnreadableImage, match=r"0\.png: No such file or directory"):
            domain[0]
        return
    assert np.array_equal(domain[0], resize(photo(), 36))
    with pytest.raises(ValueError, match="read-only"):
        domain[0][:] = 0


def test_without_room_on_disk_domains_are_kept_while_the_whole_set_fits_into_memory(
    root, monkeypatch
):
    monkeypatch.setattr(_files, "MEMORY_BYTES", 4 * 36 * 36 * 3)
    data = unpaired(root, cache=Cache(folder=str(root.parent / "cache"), most_gib=0))
    assert data.domain("train", "a").nbytes == 3 * 36 * 36 * 3  # leaves room for one image
    assert data.domain("train", "b").nbytes == 0
    assert np.array_equal(data.domain("train", "b")[1], resize(photo(), 36))


def test_a_domain_can_be_sent_to_a_worker_process(root):
    for cache in ("auto", "memory", "off"):
        domain = unpaired(root, cache=cache).domain("train", "a")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            (image,) = pool.map(domain.__getitem__, [2])
        assert np.array_equal(image, domain[2])


# --- bad files -------------------------------------------------------------------------------


def test_bad_files_are_skipped_with_one_warning_each_and_counted(root, caplog):
    classes = write_odd_images(root / "trainA", dangerous=False)
    domain = unpaired(root).domain("train", "a")
    good = sorted((name for name in classes if classes[name] == OK), key=os.fsencode)
    assert sorted(path.name for path in domain.paths) == sorted(["0.png", "1.png", "2.png", *good])
    assert len(set(domain.names)) == len(domain.names)
    assert all(name.isprintable() for name in domain.names)
    assert all(domain[index].shape == (36, 36, 3) for index in range(len(domain)))
    logged = [line for line in messages(caplog) if "several frames" not in line]
    bad = [name for name in classes if classes[name] == SKIP]
    for name, line in zip(sorted(bad, key=os.fsencode), logged[:-1], strict=True):
        assert line.startswith(f"skipped {root}/trainA/{name}: ")
    total = len(bad) + len(good) + 3
    assert logged[-1] == f"{len(bad)} of {total} files in {root}/trainA were skipped"
    caplog.clear()
    assert np.array_equal(domain[0], domain[0])
    assert not messages(caplog)  # once, not at every look


def test_strict_makes_bad_files_one_error_that_lists_them_all(root):
    classes = write_odd_images(root / "trainA")
    with pytest.raises(UserError) as caught:
        unpaired(root, strict=True).domain("train", "a")
    head, *lines = str(caught.value).split("\n")
    refused = [name for name in classes if classes[name] in (SKIP, ERROR)]
    total = sum(classes[name] in (OK, SKIP, ERROR) for name in classes) + 3
    assert head == (
        f"{root}/trainA: {len(refused)} of {total} files are refused, as data.strict is set:"
    )
    for name, line in zip(sorted(refused, key=os.fsencode), lines, strict=True):
        assert line.startswith(f"  {root}/trainA/{name}: ")


def test_dangerous_files_are_an_error_without_strict(root):
    classes = write_odd_images(root / "testB")
    data = unpaired(root)
    with pytest.raises(UserError, match="are refused, as they are dangerous to decode:") as caught:
        data.domain("test", "b")
    dangerous = sorted(name for name in classes if classes[name] == ERROR)
    lines = str(caught.value).split("\n")[1:]
    assert [line.split(": ")[0] for line in lines] == [f"  {root}/testB/{n}" for n in dangerous]


def test_max_pixels_is_the_users_to_set(root):
    assert len(unpaired(root, max_pixels=960).domain("train", "a")) == 3
    with pytest.raises(UserError, match="40 x 24 pixels, more than the 959 of max_pixels"):
        unpaired(root, max_pixels=959).domain("train", "a")
    with pytest.raises(UserError, match=r"data\.max_pixels is 0; 1 to 89478485 are possible"):
        unpaired(root, max_pixels=0)


def test_only_bad_files_are_an_error(root):
    for path in (root / "trainA").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        UserError, match=r"none of the 3 files can be used; first, .*/0\.png: an empty file"
    ):
        unpaired(root).domain("train", "a")


# --- missing and empty folders -----------------------------------------------------------------


def refusal(make) -> str:
    with pytest.raises(UserError) as caught:
        make()
    return str(caught.value)


def test_a_missing_root_names_the_nearest(root, monkeypatch):
    (root.parent / "zebras").mkdir()
    assert refusal(lambda: unpaired(root.parent / "horse" / "a")) == (
        f"data.root {root.parent}/horse/a does not exist: there is no 'horse' in {root.parent}. "
        f"Did you mean 'horses'?"
    )
    monkeypatch.chdir(root.parent)
    assert refusal(lambda: unpaired(Path("cats"))) == (
        f"data.root cats does not exist: there is no 'cats' in {root.parent}."
    )
    assert len(unpaired(Path("horses")).domain("test", "a")) == 2


def test_a_root_that_is_no_folder_is_refused(root):
    assert "0.png is not a folder" in refusal(lambda: unpaired(root / "trainA" / "0.png"))
    assert "data.root is not set" in refusal(lambda: unpaired(""))


def test_a_domain_alone_is_refused_when_the_set_is_opened(root):
    shutil.rmtree(root / "trainB")
    assert refusal(lambda: unpaired(root)) == (
        f"data.root {root}: looked for folders trainB, as there is trainA; "
        f"there is: folders testA, testB, trainA"
    )


@pytest.mark.parametrize("sides", ["ab", "ba"])
def test_either_folder_can_be_domain_a(root, sides):
    data = unpaired(root, sides=sides)
    counts = dict(zip(sides, (3, 2), strict=True))  # files in trainA, in trainB
    assert {side: len(data.domain("train", side)) for side in "ab"} == counts
    shutil.rmtree(root / "trainB")
    assert "looked for folders trainB, as there is trainA" in refusal(
        lambda: unpaired(root, sides=sides)
    )


def test_other_folders_are_named(root):
    for folder in SPLITS:
        (root / folder).rename(root / f"{folder[:-1]}_{folder[-1]}")
    (root / "a.txt").touch()
    (root / ".DS_Store").touch()
    assert refusal(lambda: unpaired(root)) == (
        f"data.root {root}: looked for folders trainA, trainB, testA and testB; there is: "
        f"folders test_A, test_B, train_A, train_B; 2 files (1 without extension, 1 .txt; "
        f"1 of them hidden)"
    )


def test_a_set_without_test_folders_trains_and_says_so_when_asked_for_them(root):
    shutil.rmtree(root / "testA")
    shutil.rmtree(root / "testB")
    data = unpaired(root)
    assert len(data.domain("train", "b")) == 2
    assert "looked for folders testA and testB" in refusal(lambda: data.domain("test", "a"))


def test_an_empty_folder_says_what_it_holds(root):
    folder = root / "trainA"
    shutil.rmtree(folder)
    folder.mkdir()
    looked = f"{folder} holds no images: looked for .jpg .png .webp .bmp .tif .ppm .gif in any case"
    data = unpaired(root)
    assert refusal(lambda: data.domain("train", "a")) == (
        f"{looked}, not in sub-folders; there is: nothing"
    )
    fill(folder / "people", "x.png")
    for name in ("1.HEIC", "2.heic", "list.txt"):
        (folder / name).touch()
    assert refusal(lambda: data.domain("train", "a")) == (
        f"{looked}, not in sub-folders; there is: folders people; 3 files (2 .heic, 1 .txt)"
    )


# --- pairs -------------------------------------------------------------------------------------


def side_by_side(folder: Path, name: str, left: int, right: int, width: int = 40) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    halves = [flat(left, width // 2, 24), flat(right, width - width // 2, 24)]
    write_image(folder / name, np.concatenate(halves, axis=1))


@pytest.mark.parametrize("width", [40, 41])
@pytest.mark.parametrize("sides", ["ab", "ba"])
def test_files_side_by_side(tmp_path, sides, width):
    for n in range(3):
        side_by_side(tmp_path / "Train", f"{n}.png", 10 * n, 200 + n, width)
        side_by_side(tmp_path / "test", f"{n}.png", 10 * n + 5, 100 + n, width)
    data = paired(tmp_path, sides=sides)
    assert data.paired
    left, right = sides
    for n in range(3):
        assert (data.domain("train", left)[n] == 10 * n).all()
        assert (data.domain("train", right)[n] == 200 + n).all()
        assert (data.truth(left)[n] == 100 + n).all()
        assert (data.truth(right)[n] == 10 * n + 5).all()
    assert data.domain("train", "a").names == data.domain("train", "b").names
    assert data.truth("a") is data.domain("test", "b")


def test_two_folders_are_paired_by_stem_and_a_bad_half_takes_its_pair_along(tmp_path, caplog):
    fill(tmp_path / "trainA", "1.png", "2.png", "3.png", "alone.png", image=flat(10))
    fill(tmp_path / "trainB", "0.png", "1.webp", "2.PNG", "3.jpg", image=flat(200))
    (tmp_path / "trainB" / "2.PNG").write_bytes(b"")
    data = paired(tmp_path)
    assert data.domain("train", "a").names == ["1.png", "3.png"]
    assert data.domain("train", "b").names == ["1.webp", "3.jpg"]
    assert (data.domain("train", "b")[1] == 200).all()
    assert messages(caplog) == [
        f"skipped {tmp_path}/trainA/alone.png: no file in trainB has the same stem",
        f"skipped {tmp_path}/trainB/0.png: no file in trainA has the same stem",
        f"skipped {tmp_path}/trainB/2.PNG: an empty file",
        f"3 of 5 pairs in {tmp_path}/trainA and {tmp_path}/trainB were skipped",
    ]


def test_two_files_of_one_stem_are_ambiguous(tmp_path):
    fill(tmp_path / "trainA", "1.png", "1.jpg")
    fill(tmp_path / "trainB", "1.png")
    assert refusal(lambda: paired(tmp_path).domain("train", "a")) == (
        f"{tmp_path}/trainA: 1.jpg and 1.png have the same stem, so their pair is ambiguous; "
        f"remove one"
    )


def test_pairs_of_other_proportions_cannot_share_a_crop(tmp_path, caplog):
    fill(tmp_path / "trainA", "1.png", "2.png")
    fill(tmp_path / "trainB", "1.png", image=flat(9, 20, 12))
    fill(tmp_path / "trainB", "2.png", image=flat(9, 20, 20))
    domain = paired(tmp_path, resize="short_side").domain("train", "a")
    assert domain.names == ["1.png"]
    assert "2.png: the two images of the pair differ in shape" in messages(caplog)[0]
    assert len(paired(tmp_path).domain("train", "a")) == 2


def test_a_single_column_is_no_pair(tmp_path, caplog):
    side_by_side(tmp_path / "train", "good.png", 1, 2)
    write_image(tmp_path / "train" / "line.png", flat(0, 1))
    assert paired(tmp_path).domain("train", "a").names == ["good.png"]
    assert "line.png: one pixel wide, hence not a pair side by side" in messages(caplog)[0]


def test_layouts_that_contradict_are_refused(tmp_path):
    side_by_side(tmp_path / "train", "0.png", 1, 2)
    fill(tmp_path / "trainA", "0.png")
    assert "looked for either train (side by side) or trainA and trainB" in refusal(
        lambda: paired(tmp_path)
    )
    shutil.rmtree(tmp_path / "train")
    assert "looked for both of trainA and trainB" in refusal(lambda: paired(tmp_path))
    fill(tmp_path / "trainB", "0.png")
    assert "data.sides is for files side by side" in refusal(lambda: paired(tmp_path, sides="ba"))
    assert "looked for test (side by side), or testA and testB" in refusal(
        lambda: paired(tmp_path).truth("a")
    )
    (tmp_path / "empty").mkdir()
    assert "there is: nothing" in refusal(lambda: paired(tmp_path / "empty"))
