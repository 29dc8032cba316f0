"""The cache of decoded images: its keys, its writers, its bounds, and what a kill leaves."""

import contextlib
import logging
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.training import QUICK, assert_same_run, start, train_here, wait, weights_hash
from tests.unit.odd_images import encode, photo, write_odd_images
from zoo.cli import app
from zoo.data import cache as cache_module
from zoo.data.cache import ImageCache, Unusable, delete, entries
from zoo.data.folders import UnpairedFolders
from zoo.data.paired import PairedFolders
from zoo.data.toonfaces import ToonFaces
from zoo.data.write import write_folders
from zoo.images import resize, write_image
from zoo.recipe import load_recipe
from zoo.schema import Cache

ALL = 2**30


@pytest.fixture(autouse=True)
def _warnings_are_told_anew():
    cache_module._warn_once.cache_clear()


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "cache"


def images(count: int = 3, seed: int = 0, side: int = 20) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (side, side + i, 3), np.uint8) for i in range(count)]


def making(pictures, note=None):
    def make(add):
        for picture in pictures:
            add(picture)
        return note or {}

    return make


def put(cache: ImageCache, key: str, pictures=None):
    pictures = images() if pictures is None else pictures
    return cache.get(key, f"what {key}", 0, making(pictures))


def keys(folder: Path) -> list[str]:
    return [entry.path.stem for entry in entries(folder) if entry.finished]


def warnings(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


# One file ---------------------------------------------------------------------------------------


def test_images_of_several_shapes_come_back(folder):
    cache = ImageCache(folder, ALL)
    assert cache.get("k", "what", 0, None) is None
    assert not folder.exists()  # nothing is made by looking
    made = cache.get("k", "what", 0, making(images(), {"left_out": [7]}))
    found = ImageCache(folder, ALL).get("k", "what", 0, making([]))  # would be empty
    for stored in (made, found):
        assert stored.note == {"left_out": [7]}
        assert all(np.array_equal(*pair) for pair in zip(stored, images(), strict=True))
        assert np.array_equal(stored[-1], images()[-1])
        with pytest.raises(ValueError, match="read-only"):
            stored[0][:] = 0
    assert [path.name for path in folder.iterdir()] == ["k.zoo-images"]


@pytest.mark.parametrize("kept", [0, 10, 100, 0.5, -1])
def test_a_file_that_lost_its_end_is_made_anew(folder, kept, caplog):
    cache = ImageCache(folder, ALL)
    path = put(cache, "k").path
    size = path.stat().st_size
    os.truncate(path, int(kept * size) if kept == 0.5 else kept % size)
    again = put(cache, "k")
    assert all(np.array_equal(*pair) for pair in zip(again, images(), strict=True))
    assert len(warnings(caplog)) == 1
    assert "k.zoo-images is damaged" in warnings(caplog)[0]


def test_a_damaged_index_is_noticed(folder):
    cache = ImageCache(folder, ALL)
    path = put(cache, "k").path
    data = path.read_bytes()
    path.write_bytes(data.replace(b"[20, 21, 3]", b"[21, 20, 3]"))
    assert put(cache, "k")[1].shape == (20, 21, 3)


# Several processes ------------------------------------------------------------------------------


def test_a_killed_writer_leaves_nothing_that_is_read(folder, tmp_path):
    """A real process, killed at any moment of the writing, again and again."""
    pictures = images(200, side=64)
    for attempt in range(8):
        child = start(lambda: put(ImageCache(folder, ALL), "k", pictures), tmp_path / "output")
        deadline = time.monotonic() + 20
        while not list(folder.glob("*")) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.0005 * attempt)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        wait(child)
        found = ImageCache(folder, ALL).get("k", "what", 0, None)
        if found is not None:  # it was quicker than the signal
            assert all(np.array_equal(*pair) for pair in zip(found, pictures, strict=True))
            del found
            assert delete(folder / "k.zoo-images")


def test_after_a_kill_in_the_middle_the_next_one_writes_and_tidies(folder, tmp_path):
    def stuck(add):
        for picture in images(100):
            add(picture)
        (tmp_path / "halfway").touch()
        time.sleep(60)

    child = start(lambda: ImageCache(folder, ALL).get("k", "w", 0, stuck), tmp_path / "output")
    while not (tmp_path / "halfway").exists():
        time.sleep(0.005)
    assert [entry.what for entry in entries(folder)] == ["unfinished"]
    assert not delete(folder / "k.zoo-unfinished")  # its writer lives
    os.kill(child, signal.SIGKILL)
    assert wait(child) == -signal.SIGKILL
    cache = ImageCache(folder, ALL)
    assert cache.get("k", "w", 0, None) is None
    put(cache, "other")  # tidies what the killed one left
    assert [path.name for path in folder.iterdir()] == ["other.zoo-images"]
    assert len(put(cache, "k")) == 3


def test_processes_that_start_together_decode_once_and_read_the_same(folder, tmp_path):
    def run(number):
        def make(add):
            with (tmp_path / "made").open("a") as stream:
                stream.write("x")
            for picture in images(50):
                add(picture)
                time.sleep(0.002)
            return {}

        stored = ImageCache(folder, ALL).get("k", "what", 0, make)
        assert all(np.array_equal(*pair) for pair in zip(stored, images(50), strict=True))

    children = [start(lambda n=n: run(n), tmp_path / f"output_{n}") for n in range(4)]
    codes = [wait(child) for child in children]
    assert codes == [0] * 4, (tmp_path / "output_0").read_text()
    assert (tmp_path / "made").read_text() == "x"


# Bounds -----------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first_and_none_in_use(folder):
    size = sum(picture.nbytes for picture in images())
    cache = ImageCache(folder, int(3.5 * size))
    for age, key in enumerate("abc"):
        os.utime(put(cache, key).path, (1000 + age, 1000 + age))
    assert len(cache.get("a", "", 0, None)) == 3  # used just now
    held = cache.get("b", "", 0, None)
    os.utime(held.path, (5, 5))  # the oldest, but mapped
    put(cache, "d")
    assert sorted(keys(folder)) == ["a", "b", "d"]
    assert np.array_equal(held[2], images()[2])
    del held
    os.utime(folder / "b.zoo-images", (5, 5))
    put(cache, "e")
    assert sorted(keys(folder)) == ["a", "d", "e"]


def test_what_does_not_fit_is_not_kept(folder, caplog):
    size = sum(picture.nbytes for picture in images())
    cache = ImageCache(folder, 2 * size)
    put(cache, "a")
    assert cache.get("b", "what b", 30 * size, making([])) is None  # told before it is made
    assert keys(folder) == ["a"]  # and nothing is lost for it
    held = cache.get("a", "", 0, None)
    assert put(cache, "c", images(30)) is None
    assert [path.name for path in folder.iterdir()] == ["a.zoo-images"]
    assert len(held) == 3
    assert warnings(caplog)[0].startswith(f"what b: not kept in {folder}: more than the ")
    assert warnings(caplog)[1].endswith(" GiB are in use")


def test_a_full_disk_costs_no_run(folder, tmp_path):
    """A limit on the size of files fails a write as a full disk does: with an OSError halfway."""

    def run():
        logging.getLogger("zoo").handlers = [logging.StreamHandler()]  # none of an earlier test
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        cache = ImageCache(folder, ALL)
        assert put(cache, "k", images(100)) is None
        assert put(cache, "l", images(100)) is None
        assert list(folder.iterdir()) == []

    child = start(run, tmp_path / "output")
    assert wait(child) == 0, (tmp_path / "output").read_text()
    assert (tmp_path / "output").read_text().count("nothing is kept there: File too large") == 1


def test_a_folder_that_cannot_be_made_costs_no_run(tmp_path, caplog):
    (tmp_path / "file").touch()
    data = faces(tmp_path, Cache(folder=str(tmp_path / "file" / "cache")))
    for side in "ab":
        assert np.array_equal(data.domain("train", side)[0], resize(photo(), 36))
        assert data.domain("train", side).nbytes > 0  # in memory instead
    message = f"{tmp_path}/file/cache: nothing is kept there: Not a directory"
    assert warnings(caplog) == [message]  # once


def test_the_command_lists_and_clears_what_is_not_in_use(folder, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(folder))
    monkeypatch.setenv("COLUMNS", "200")
    assert CliRunner().invoke(app, ["cache"]).output == f"{folder}: 0.00 GiB\n"
    cache = ImageCache(folder, ALL)
    held = put(cache, "a")
    put(cache, "b")
    listed = CliRunner().invoke(app, ["cache"]).output
    assert "what a" in listed
    assert "what b" in listed
    cleared = CliRunner().invoke(app, ["cache", "--clear"]).output
    assert "what a" in cleared
    assert "what b" not in cleared
    assert keys(folder) == ["a"]
    assert len(held) == 3
    del held
    other = CliRunner().invoke(app, ["cache", "--clear", "--folder", str(folder.parent)])
    assert keys(folder) == ["a"], other.output
    CliRunner().invoke(app, ["cache", "--clear"])
    assert keys(folder) == []


# Data sets in folders ---------------------------------------------------------------------------


def faces(root: Path, cache: Cache | str, **fields) -> UnpairedFolders:
    """Two images in each folder, made once; 32 pixels, load size 36."""
    for name in ("trainA", "trainB"):
        if not (root / name).exists():
            (root / name).mkdir(parents=True)
            for n in range(2):
                (root / name / f"{n}.png").write_bytes(encode(photo()))
    fields = {"size": 32, "load_size": 36} | fields
    return UnpairedFolders(UnpairedFolders.Config(root=str(root), cache=cache, **fields))


def spoil(folder: Path, count: int = 1) -> None:
    """Change the first bytes of every file, so that it shows where an image comes from."""
    for path in folder.glob("*.zoo-images"):
        with path.open("r+b") as stream:
            first = stream.read(count)
            stream.seek(0)
            stream.write(bytes(255 - value for value in first))


def served(data, folder: Path) -> bool:
    """Whether the first training image comes out of the cache; `spoil` has run."""
    domain = data.domain("train", "a")
    assert domain.kept
    plain = resize(photo(), domain[0].shape[0])
    return not np.array_equal(domain[0], plain)


@pytest.fixture
def spoiled(tmp_path, folder) -> Cache:
    cache = Cache(folder=str(folder))
    faces(tmp_path / "set", cache).domain("train", "a")
    spoil(folder)
    return cache


def test_the_second_run_does_not_decode(tmp_path, folder, spoiled):
    assert served(faces(tmp_path / "set", spoiled), folder)
    assert served(faces(tmp_path / "set", spoiled, size=24, flip=0, workers=3), folder)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    assert served(faces(tmp_path / "copy", spoiled), folder)  # as the content is the same
    assert len(keys(folder)) == 1


@pytest.mark.parametrize(
    "changes", [{"load_size": 35}, {"channels": (1, 3)}, {"resize": "short_side"}]
)
def test_other_settings_are_decoded_anew(tmp_path, folder, spoiled, changes):
    data = faces(tmp_path / "set", spoiled, **changes)
    plain = faces(tmp_path / "set", "off", **changes)
    assert np.array_equal(data.domain("train", "a")[0], plain.domain("train", "a")[0])
    assert len(keys(folder)) == 2


def test_another_content_of_equal_size_and_times_is_decoded_anew(tmp_path, folder, spoiled):
    """As `cp -p`, `rsync -t` and `tar` leave it; bitmaps of one shape all have one size."""
    path = tmp_path / "set" / "trainA" / "1.png"
    before = path.stat()
    data = bytearray(path.read_bytes())
    index = data.index(b"IDAT") - 12
    data[index] ^= 0xFF  # of a chunk before the pixels, or of its check sum
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert not served(faces(tmp_path / "set", spoiled), folder)


def test_a_file_more_or_less_is_noticed(tmp_path, folder, spoiled):
    (tmp_path / "set" / "trainA" / "2.png").write_bytes(encode(photo()))
    assert len(faces(tmp_path / "set", spoiled).domain("train", "a")) == 3
    (tmp_path / "set" / "trainA" / "0.png").unlink()
    (tmp_path / "set" / "trainA" / "1.png").unlink()
    assert len(faces(tmp_path / "set", spoiled).domain("train", "a")) == 1


def test_bad_files_are_told_at_every_run(tmp_path, folder, caplog):
    cache = Cache(folder=str(folder))
    faces(tmp_path / "set", cache)
    write_odd_images(tmp_path / "set" / "trainA", dangerous=False)
    told, names = [], []
    for _ in range(2):
        caplog.clear()
        domain = faces(tmp_path / "set", cache).domain("train", "a")
        told.append([line for line in warnings(caplog) if "several frames" not in line])
        names.append(domain.names)
        pictures = list(map(domain.__getitem__, range(len(domain))))
    plain = faces(tmp_path / "set", "off").domain("train", "a")
    assert told[0] == told[1]
    assert len(told[0]) > 5
    assert names[0] == names[1] == plain.names
    for index, picture in enumerate(pictures):
        assert np.array_equal(picture, plain[index])
    assert len(keys(folder)) == 1


def test_pairs_side_by_side_come_back_as_pairs(tmp_path, folder):
    rng = np.random.default_rng(0)
    (tmp_path / "set" / "train").mkdir(parents=True)
    for n in range(3):
        write_image(
            tmp_path / "set" / "train" / f"{n}.png", rng.integers(0, 256, (20, 41, 3), np.uint8)
        )
    config = {"root": str(tmp_path / "set"), "size": 32, "channels": (3, 1)}
    plain = PairedFolders(PairedFolders.Config(**config, cache="off"))
    for _ in range(2):
        data = PairedFolders(PairedFolders.Config(**config, cache=Cache(folder=str(folder))))
        for side in "ab":
            for n in range(3):
                one, other = data.domain("train", side)[n], plain.domain("train", side)[n]
                assert np.array_equal(one, other)
    assert len(keys(folder)) == 1


def test_images_that_change_while_they_are_read_are_not_kept(tmp_path, folder, caplog):
    """The key was of the old content. The change comes while the first image is written."""
    cache = Cache(folder=str(folder))
    data = faces(tmp_path / "set", cache)
    write = cache_module.ImageCache._make

    def change(self, descriptor, path, what, nbytes, make):
        (tmp_path / "set" / "trainA" / "1.png").write_bytes(encode(photo(50, 30)))
        return write(self, descriptor, path, what, nbytes, make)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cache_module.ImageCache, "_make", change)
        domain = data.domain("train", "a")
    assert np.array_equal(domain[1], resize(photo(50, 30), 36))
    assert "image files changed while they were read" in warnings(caplog)[0]
    assert list(folder.iterdir()) == []


def test_make_may_refuse(folder, caplog):
    def make(add):
        raise Unusable("it is Sunday")

    assert ImageCache(folder, ALL).get("k", "what", 0, make) is None
    assert warnings(caplog) == [f"what: not kept in {folder}: it is Sunday"]
    assert list(folder.iterdir()) == []


# Drawn faces ------------------------------------------------------------------------------------


def drawn(folder: Path, **fields) -> ToonFaces:
    fields = {"size": 16, "num_train": 3, "num_test": 2} | fields
    return ToonFaces(ToonFaces.Config(cache=Cache(folder=str(folder)), **fields))


def test_faces_are_kept_when_the_last_one_is_drawn(folder):
    plain = ToonFaces(ToonFaces.Config(size=16, num_train=3, num_test=2, cache="off"))
    first = drawn(folder).domain("train", "b")
    for index in (2, 0):
        first[index]
    assert not folder.exists()
    pictures = [first[index] for index in range(3)]
    assert all(np.array_equal(pictures[n], plain.domain("train", "b")[n]) for n in range(3))
    assert len(keys(folder)) == 1
    spoil(folder)
    again = drawn(folder).domain("train", "b")
    assert not np.array_equal(again[0], pictures[0])  # from the file
    assert np.array_equal(again[1], pictures[1])
    for change in ({"seed": 1}, {"size": 20}, {"num_train": 2}):
        config = {"size": 16, "num_train": 3, "num_test": 2, "cache": "off"} | change
        other = ToonFaces(ToonFaces.Config(**config)).domain("train", "b")[0]
        assert np.array_equal(drawn(folder, **change).domain("train", "b")[0], other)
    style = drawn(folder).domain("train", "a")[0]
    assert np.array_equal(style, plain.domain("train", "a")[0])


# Training ---------------------------------------------------------------------------------------


def test_a_training_is_the_same_to_the_bit_with_and_without(tmp_path, folder):
    """Without, with a cold one, with a warm one, and resumed after the cache was deleted."""
    root = tmp_path / "set"
    write_folders(ToonFaces(ToonFaces.Config(size=40, num_train=5, num_test=2)), 40, root)

    def recipe(cache: str, images: int = 8):
        data = f"data={{name: unpaired, root: {root}, size: 32, cache: {cache}}}"
        quick = [word for word in QUICK if not word.startswith("data.")]
        return load_recipe("debug/cyclegan", [*quick, data, f"train.images={images}"])

    plain = train_here(recipe("off"), tmp_path / "plain")
    kept = f"{{folder: {folder}}}"
    for name in ("cold", "warm"):
        assert_same_run(train_here(recipe(kept), tmp_path / name), plain)
        assert len(keys(folder)) == 2
    longer = train_here(recipe("off", 12), tmp_path / "longer")
    shutil.rmtree(folder)
    resumed = load_recipe(tmp_path / "warm" / "recipe.yaml", ["train.images=12"])
    assert_same_run(train_here(resumed, tmp_path / "warm", resume=True), longer)
    spoil(folder, 2000)  # the control: a changed pixel shows
    other = train_here(recipe(kept), tmp_path / "other")
    assert weights_hash(other) != weights_hash(plain)
