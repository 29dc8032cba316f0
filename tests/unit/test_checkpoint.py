"""Checkpoints: complete or absent whatever happens, checked, and few."""

import errno
import json
import logging
import os
import resource
import shutil
import signal
import sys

import pytest
import torch

from tests.training import start, wait
from zoo import checkpoint
from zoo.checkpoint import CheckpointError, Progress


def weights(images):
    return {"net.weight": torch.full((3, 4), float(images)), "net.step": torch.tensor(images)}


def save(run, images, *, keep=2, best=False, processes=1, ema=True, size=0):
    progress = Progress(images // 2, images)
    for rank in range(processes):
        checkpoint.save_own_state(run, progress, rank, {"pool": [torch.full((2,), images + rank)]})
    return checkpoint.save(
        run,
        progress,
        weights={**weights(images), **({"big": torch.rand(size)} if size else {})},
        ema={"net.weight": torch.full((3, 4), images + 0.5)} if ema else None,
        state={"optimizers": {"g": {"step": torch.tensor(images)}}, "best": None},
        num_processes=processes,
        keep=keep,
        is_best=best,
    )


def names(run):
    return sorted(path.name for path in checkpoint.checkpoints_of(run).glob("images_*"))


def test_what_was_saved_comes_back(tmp_path):
    folder = save(tmp_path, 10, processes=2)
    assert folder == checkpoint.find(tmp_path) == tmp_path / "checkpoints/images_000000010"
    loaded = checkpoint.load_weights(folder)
    assert all(torch.equal(loaded[name], value) for name, value in weights(10).items())
    assert checkpoint.load_weights(folder, "ema")["net.weight"][0, 0] == 10.5
    for rank in (0, 1):
        progress, state, own = checkpoint.load_state(folder, rank)
        assert progress == Progress(5, 10)
        assert state["optimizers"]["g"]["step"] == 10
        assert own["pool"][0].tolist() == [10 + rank] * 2
    assert checkpoint.has_ema(folder)
    assert not checkpoint.has_ema(save(tmp_path, 12, ema=False))


def test_the_state_of_another_version_is_refused(tmp_path):
    folder = save(tmp_path, 10)
    manifest = checkpoint.read_manifest(folder)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 0}))
    with pytest.raises(CheckpointError, match=rf"format 0, .*train\.init\.run={tmp_path}$"):
        checkpoint.load_state(checkpoint.find(tmp_path), 0)
    assert checkpoint.load_weights(folder)


def test_everybody_may_read_the_files(tmp_path):
    before = os.umask(0o022)
    try:
        folder = save(tmp_path, 10)
    finally:
        os.umask(before)
    assert {oct(file.stat().st_mode & 0o777) for file in folder.iterdir()} == {"0o644"}
    assert folder.stat().st_mode & 0o055 == 0o055


def test_the_newest_and_the_best_are_kept(tmp_path):
    for images in range(10, 70, 10):
        save(tmp_path, images, best=images == 20)
    assert names(tmp_path) == ["images_000000020", "images_000000050", "images_000000060"]
    assert checkpoint.find(tmp_path, "best").name == "images_000000020"
    assert (tmp_path / "checkpoints/latest").read_text() == "images_000000060\n"
    save(tmp_path, 70, best=True)  # the former best is an old one like others
    save(tmp_path, 80, keep=3)
    assert names(tmp_path) == ["images_000000060", "images_000000070", "images_000000080"]


def test_order_is_by_number(tmp_path):
    for images in (999_999_999, 1_000_000_001, 1_000_000_000):
        save(tmp_path, images, keep=3)
    assert checkpoint.find(tmp_path).name == "images_1000000001"


def test_no_best_is_an_error_that_says_why(tmp_path):
    save(tmp_path, 10)
    with pytest.raises(CheckpointError, match=r"no checkpoint is marked as the best.*every_images"):
        checkpoint.find(tmp_path, "best")


def truncate(folder):
    file = folder / "weights.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    return r"weights.safetensors has \d+ bytes, \d+ were written"


def alter(folder):
    file = folder / "state.pt"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    return "state.pt does not have the SHA-256 that was written"


def remove(folder):
    (folder / "state_0.pt").unlink()
    return "state_0.pt is missing"


def remove_manifest(folder):
    (folder / "manifest.json").unlink()
    return "manifest.json is missing"


def cut_manifest(folder):
    file = folder / "manifest.json"
    os.truncate(file, file.stat().st_size // 2)
    return "manifest.json cannot be used: JSONDecodeError"


def forget_a_file(folder):
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest["files"]["weights.safetensors"]
    file.write_text(json.dumps(manifest))
    return "manifest.json cannot be used: KeyError: 'weights.safetensors'"


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()
    return "manifest.json is missing"


DAMAGES = [truncate, alter, remove, remove_manifest, cut_manifest, forget_a_file, empty]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(tmp_path, caplog, damage):
    old, new = save(tmp_path, 10), save(tmp_path, 20)
    fault = damage(new)
    with caplog.at_level(logging.WARNING, "zoo.checkpoint"):
        assert checkpoint.find(tmp_path) == old
    (record,) = caplog.records
    assert record.getMessage().startswith(f"checkpoint passed over: {new}: ")
    damage(old)
    with pytest.raises(CheckpointError, match=fault):
        checkpoint.find(tmp_path)


def test_no_checkpoint_at_all(tmp_path):
    with pytest.raises(CheckpointError, match=r"has no complete checkpoint$"):
        checkpoint.find(tmp_path)


def test_tidying_before_a_run_goes_on(tmp_path):
    old, new = save(tmp_path, 10), save(tmp_path, 20)
    alter(new)
    folder = checkpoint.checkpoints_of(tmp_path)
    (folder / ".images_000000030.unfinished").mkdir()
    (folder / ".images_000000030.unfinished/state_0.pt").write_bytes(b"half")
    (folder / ".latest.unfinished").write_text("ima")
    (folder / "notes.txt").write_text("mine")
    checkpoint.tidy(tmp_path, old)
    kept = ["faulty_images_000000020", "images_000000010", "latest", "notes.txt"]
    assert sorted(path.name for path in folder.iterdir()) == kept
    # The damaged one does not count among the two kept, and its name is free.
    save(tmp_path, 15)
    save(tmp_path, 20)
    assert names(tmp_path) == ["images_000000015", "images_000000020"]
    alter(folder / "images_000000020")
    checkpoint.tidy(tmp_path, checkpoint.find(tmp_path))
    assert (folder / "faulty_images_000000020_1").is_dir()


def test_tidying_a_healthy_run_changes_nothing(tmp_path):
    save(tmp_path, 10)
    new = save(tmp_path, 20, best=True)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    checkpoint.tidy(tmp_path, new)
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


# Kills ------------------------------------------------------------------------------------------

FILE_EVENTS = {"open", "os.chmod", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir"}
FILE_EVENTS |= {"os.scandir", "shutil.rmtree"}


def killed_at(number, run):
    """Save a checkpoint, but SIGKILL this process before its `number`-th operation on files."""
    seen = 0

    def hook(event, arguments):
        nonlocal seen
        if event in FILE_EVENTS:
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    save(run, 30, best=True)


def test_a_kill_at_any_moment_leaves_the_old_or_a_complete_new_one(tmp_path):
    origin = tmp_path / "origin"
    for images in (10, 20):
        save(origin, images)
    complete = killed = 0
    for number in range(1, 200):
        run = tmp_path / f"kill_{number}"
        shutil.copytree(origin, run)
        code = wait(start(lambda n=number, r=run: killed_at(n, r), tmp_path / "output.txt"))
        found = checkpoint.find(run)
        images = checkpoint.read_manifest(found)["images_seen"]
        assert images in (20, 30)
        assert all(checkpoint.fault_of(run / "checkpoints" / name) is None for name in names(run))
        checkpoint.tidy(run, found)
        visible = {path.name for path in checkpoint.checkpoints_of(run).iterdir()}
        assert not [name for name in visible if name.startswith(".")]
        if images == 30:
            assert checkpoint.load_weights(found)["net.weight"][0, 0] == 30
            complete += 1
        save(run, 40)  # goes on
        assert names(run)[-1] == "images_000000040"
        shutil.rmtree(run)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
    assert code == 0, (tmp_path / "output.txt").read_text()
    assert killed > 20
    assert complete > 3  # kills after the rename


# A full disk ------------------------------------------------------------------------------------


def with_small_disk(run, limit):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, unlimited[1]))
    try:
        save(run, 30, size=40_000)
    except CheckpointError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
        (run / "error.txt").write_text(str(error))
        sys.exit(2)


@pytest.mark.parametrize("limit", [100, 1000, 50_000])
def test_a_full_disk_leaves_no_trace(tmp_path, limit):
    """100 bytes: the pools do not fit; 1000: the optimizers; 50 000: the weights."""
    save(tmp_path, 10)
    save(tmp_path, 20)
    before = sorted(checkpoint.checkpoints_of(tmp_path).iterdir())
    child = start(lambda: with_small_disk(tmp_path, limit), tmp_path / "output.txt")
    assert wait(child) == 2, (tmp_path / "output.txt").read_text()
    assert sorted(checkpoint.checkpoints_of(tmp_path).iterdir()) == before
    message = (tmp_path / "error.txt").read_text()
    assert ".images_000000030.unfinished could not be written (is the disk full?)" in message
    assert "Earlier checkpoints are untouched" in message
    assert checkpoint.find(tmp_path).name == "images_000000020"


def test_an_error_of_the_system_is_told(tmp_path):
    (tmp_path / "checkpoints").write_text("a file where a folder should be")
    with pytest.raises(CheckpointError, match=os.strerror(errno.ENOTDIR)):
        save(tmp_path, 10)
