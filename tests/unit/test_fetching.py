"""Files are fetched from a real server: continued, checked, whole or absent."""

import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.unit.file_server import FileServer, serving
from zoo import fetching
from zoo.cli import app
from zoo.downloads import WEIGHTS, UntrustedWeights, Weights
from zoo.fetching import CannotFetch, fetch

ROOT = Path(__file__).parents[2]
CONTENT = np.random.default_rng(0).bytes(50_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = "network.pth"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0)
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)


def known(server: FileServer, **changed) -> Weights:
    facts = {
        "name": "network",
        "file": FILE,
        "url": server.address,
        "purpose": "a test",
        "sha256": DIGEST,
        "hash_source": "its authors",
    }
    return Weights(**facts | changed)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(folder: Path, content: bytes) -> None:
    """What an interrupted fetch leaves."""
    (folder / f"{FILE}.part").write_bytes(content)


# What should come, comes.


@pytest.mark.parametrize("length", [True, False], ids=["length known", "length unknown"])
@pytest.mark.parametrize("digest", [DIGEST, DIGEST[:8]], ids=["hash", "beginning of a hash"])
def test_a_file_is_fetched_once(tmp_path, digest, length):
    seen = []
    with serving(FileServer(CONTENT, length=length)) as server:
        weights = known(server, sha256=digest, size=len(CONTENT))
        got = fetch(weights, tmp_path / "new", progress=lambda *done: seen.append(done))
        assert (got.path, got.sha256) == (tmp_path / "new" / FILE, DIGEST)
        assert (got.fetched, got.checked_by) == (True, "its authors")
        assert files(tmp_path / "new") == {FILE: CONTENT}
        assert not fetch(weights, tmp_path / "new").fetched
    assert server.asked == [None]
    assert seen[-1] == (len(CONTENT), len(CONTENT) if length else None)


def test_what_an_earlier_fetch_left_is_continued(tmp_path):
    start(tmp_path, CONTENT[:30_000])
    with serving(FileServer(CONTENT)) as server:
        fetch(known(server), tmp_path)
    assert server.asked == ["bytes=30000-"]
    assert server.sent == 20_000
    assert files(tmp_path) == {FILE: CONTENT}


def test_a_server_without_ranges_sends_it_from_the_start(tmp_path):
    start(tmp_path, CONTENT[:30_000])
    with serving(FileServer(CONTENT, ranges=False)) as server:
        fetch(known(server), tmp_path)
    assert files(tmp_path) == {FILE: CONTENT}


@pytest.mark.parametrize("left", [CONTENT, CONTENT + b"more"], ids=["all of it", "more than all"])
def test_a_part_that_is_not_the_beginning(tmp_path, left):
    start(tmp_path, left)
    with serving(FileServer(CONTENT)) as server:
        fetch(known(server), tmp_path)
    assert server.sent == (0 if left == CONTENT else len(CONTENT))
    assert files(tmp_path) == {FILE: CONTENT}


def test_a_damaged_part_is_fetched_anew(tmp_path):
    start(tmp_path, b"x" + CONTENT[1:30_000])
    with serving(FileServer(CONTENT)) as server:
        assert fetch(known(server), tmp_path).sha256 == DIGEST
    assert server.asked == ["bytes=30000-", None]
    assert files(tmp_path) == {FILE: CONTENT}


def test_a_server_that_sends_another_part_than_was_asked_for(tmp_path):
    start(tmp_path, CONTENT[:30_000])
    with serving(FileServer(CONTENT, from_elsewhere=True)) as server:
        fetch(known(server), tmp_path)
    assert files(tmp_path) == {FILE: CONTENT}


def test_a_connection_that_breaks_is_taken_up_again(tmp_path):
    with serving(FileServer(CONTENT, breaks_after=[10_000, 15_000, 1])) as server:
        fetch(known(server), tmp_path)
    assert server.asked == [None, "bytes=10000-", "bytes=25000-", "bytes=25001-"]
    assert server.sent == len(CONTENT)
    assert files(tmp_path) == {FILE: CONTENT}


# What goes wrong is told, and nothing wrong gets the file's name.


def test_a_connection_that_gets_no_further_ends_it(tmp_path):
    with serving(FileServer(CONTENT, breaks_after=[10_000, 0])) as server:
        with pytest.raises(CannotFetch) as error:
            fetch(known(server), tmp_path)
        assert files(tmp_path) == {f"{FILE}.part": CONTENT[:10_000]}
        for part in (
            server.address,
            "ended after 10000 of 50000 bytes",
            "10000 bytes are kept: the same command continues",
            "zoo weights get network",
            str(tmp_path),
        ):
            assert part in str(error.value)
        assert fetch(known(server), tmp_path).fetched
    assert server.asked == [None, "bytes=10000-", "bytes=10000-"]


def test_without_ranges_a_connection_that_always_breaks_ends_it(tmp_path):
    with (
        serving(FileServer(CONTENT, ranges=False, breaks_after=[9000] * 9)) as server,
        pytest.raises(CannotFetch),
    ):
        fetch(known(server), tmp_path)
    assert len(server.asked) == 2


@pytest.mark.parametrize("code", [404, 403, 500, 503])
def test_a_refusal_is_told_with_its_code(tmp_path, code):
    with (
        serving(FileServer(CONTENT, codes=[code])) as server,
        pytest.raises(CannotFetch, match=f"{server.address}: HTTP {code} "),
    ):
        fetch(known(server), tmp_path)
    assert files(tmp_path) == {}


def test_without_a_network_the_message_says_what_to_put_where(tmp_path):
    with serving(FileServer(CONTENT)) as server:
        pass  # nobody listens there now
    with pytest.raises(CannotFetch) as error:
        fetch(known(server), tmp_path)
    for part in (server.address, "Connection refused", f"as {FILE} into {tmp_path}"):
        assert part in str(error.value)
    assert files(tmp_path) == {}
    unknown = known(server, url="http://nowhere.invalid/file")
    with pytest.raises(CannotFetch, match=r"from http://nowhere\.invalid/file: .*[Nn]ame"):
        fetch(unknown, tmp_path)


def test_another_file_is_refused_and_nothing_is_kept(tmp_path):
    page = b"<html>log in first</html>"
    with serving(FileServer(page)) as server:
        with pytest.raises(UntrustedWeights) as error:
            fetch(known(server), tmp_path, trust=True)
        assert files(tmp_path) == {}
        for part in (server.address, "25 bytes", hashlib.sha256(page).hexdigest(), DIGEST):
            assert part in str(error.value)
        assert "stated by its authors" in str(error.value)
        with pytest.raises(CannotFetch, match=r"offers 25 bytes; network\.pth has 50000"):
            fetch(known(server, size=50_000), tmp_path)
        assert files(tmp_path) == {}


def test_another_file_is_refused_after_one_more_try_if_it_was_continued(tmp_path):
    start(tmp_path, CONTENT[:30_000])
    with serving(FileServer(b"x" * 50_000)) as server, pytest.raises(UntrustedWeights):
        fetch(known(server), tmp_path)
    assert server.asked == ["bytes=30000-", None]
    assert files(tmp_path) == {}


def test_a_file_that_is_there_and_is_another_one_is_left_alone(tmp_path):
    (tmp_path / FILE).write_bytes(b"mine")
    with serving(FileServer(CONTENT)) as server:
        with pytest.raises(
            UntrustedWeights, match=r"is there and is not the published file: 4 byt"
        ):
            fetch(known(server), tmp_path)
        assert not fetch(known(server, sha256=None), tmp_path).fetched
    assert files(tmp_path) == {FILE: b"mine"}
    assert server.asked == []


# Where nobody publishes a hash.


def test_without_a_hash_only_on_trust(tmp_path):
    with serving(FileServer(CONTENT)) as server:
        weights = known(server, sha256=None, hash_source="")
        with pytest.raises(UntrustedWeights, match=f"no published hash. Got 50000 .* {DIGEST}"):
            fetch(weights, tmp_path)
        assert FILE not in files(tmp_path)
        got = fetch(weights, tmp_path, trust=True)
    assert (got.sha256, got.checked_by) == (DIGEST, "")
    assert server.sent == len(CONTENT)  # what had come was kept for the second try
    assert files(tmp_path) == {FILE: CONTENT}


def test_the_hash_that_a_redirect_states_is_enough_and_binding(tmp_path):
    with serving(FileServer(CONTENT, stated=DIGEST)) as server:
        got = fetch(known(server, sha256=None), tmp_path)
    assert (got.sha256, got.checked_by) == (DIGEST, "127.0.0.1, when it sent the file")
    (tmp_path / FILE).unlink()
    with (
        serving(FileServer(CONTENT, stated="0" * 64)) as server,
        pytest.raises(UntrustedWeights, match=f"wanted {'0' * 64} .stated by 127.0.0.1"),
    ):
        fetch(known(server, sha256=None), tmp_path, trust=True)
    assert files(tmp_path) == {}


def test_a_published_hash_outweighs_the_stated_one(tmp_path):
    with serving(FileServer(CONTENT, stated="0" * 64)) as server:
        assert fetch(known(server), tmp_path).checked_by == "its authors"


# The disk.


def test_a_full_disk_leaves_nothing_under_the_name(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with serving(FileServer(CONTENT)) as server:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
        try:
            with pytest.raises(CannotFetch, match=r"cannot be written: .*--to.*ZOO_WEIGHTS"):
                fetch(known(server), tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, ignored)
        assert files(tmp_path) == {f"{FILE}.part": CONTENT[:20_000]}
        fetch(known(server), tmp_path)
    assert files(tmp_path) == {FILE: CONTENT}


def test_no_room_is_told_before_anything_is_written(tmp_path):
    with (
        serving(FileServer(CONTENT, claims=2**60)) as server,
        pytest.raises(CannotFetch, match=rf"needs {2**60} bytes in {tmp_path}, and \d+ are free"),
    ):
        fetch(known(server), tmp_path)
    assert files(tmp_path) == {}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        serving(FileServer(CONTENT)) as server,
        pytest.raises(CannotFetch, match=r"cannot be written into .*--to"),
    ):
        fetch(known(server), tmp_path / "file")


# Other processes.

PROGRAM = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
from pathlib import Path
from zoo.downloads import Weights
from zoo.fetching import fetch
address, digest, folder = sys.argv[1:]
weights = Weights(name="n", file="network.pth", url=address, purpose="a test", sha256=digest)
print(fetch(weights, Path(folder)).fetched)
"""


def process(server: FileServer, folder: Path) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, server.address, DIGEST, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_fetch_is_continued(tmp_path):
    with serving(FileServer(CONTENT, pause=0.05, arrives=10_000)) as server:
        first = process(server, tmp_path)
        assert server.arrived.wait(20)
        part = tmp_path / f"{FILE}.part"
        while part.exists() and not part.stat().st_size:
            time.sleep(0.01)
        first.kill()
        first.communicate()
        assert list(files(tmp_path)) == [f"{FILE}.part"]
        left = part.stat().st_size
        assert 0 < left < len(CONTENT)
        server.pause = 0
        second = process(server, tmp_path)
        assert second.communicate() == ("True\n", None)
    assert server.asked == [None, f"bytes={left}-"]
    assert files(tmp_path) == {FILE: CONTENT}


def test_two_processes_at_once_fetch_it_once(tmp_path):
    with serving(FileServer(CONTENT, pause=0.02)) as server:
        both = [process(server, tmp_path) for _ in range(2)]
        answers = sorted((p.communicate()[0] for p in both), key=len)
    assert [p.returncode for p in both] == [0, 0]
    assert answers == [
        "True\n",
        "network.pth: another process is fetching it; waiting for that\nFalse\n",
    ]
    assert server.asked == [None]
    assert files(tmp_path) == {FILE: CONTENT}


# The commands.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "weights"


def zoo(*words: str):
    return CliRunner().invoke(app, ["weights", *words])


def published(monkeypatch, server: FileServer, count: int = 2) -> None:
    """Let the table hold files that the server serves."""
    for file in list(WEIGHTS):
        monkeypatch.delitem(WEIGHTS, file)
    for n in range(count):
        weights = known(server, name=f"net{n}", file=f"net{n}.pth")
        monkeypatch.setitem(WEIGHTS, weights.file, weights)


def test_get_all_prepares_a_folder_for_an_offline_machine(folder, tmp_path, monkeypatch):
    with serving(FileServer(CONTENT)) as server:
        published(monkeypatch, server)
        other = tmp_path / "stick"
        result = zoo("get", "all", "--to", str(other))
        assert result.exit_code == 0, result.output
        assert files(other) == {"net0.pth": CONTENT, "net1.pth": CONTENT}
        assert f"{other / 'net0.pth'}: fetched, SHA-256 {DIGEST}, as stated by its" in result.stdout
        assert "was there" in zoo("get", "net0", "--to", str(other)).stdout
    assert not folder.exists()

    listed = json.loads(zoo("list", "--missing", "--json").stdout)
    assert [(entry["name"], entry["state"]) for entry in listed] == [
        ("net0", "missing"),
        ("net1", "missing"),
    ]
    other.rename(folder)
    assert zoo("list", "--missing", "--json", "--check").stdout.strip() == "[]"
    assert "2 of 2 are there" in zoo("list").stdout


def test_get_tells_every_failure_and_fetches_the_rest(folder, monkeypatch):
    with serving(FileServer(CONTENT, codes=[404])) as server:
        published(monkeypatch, server)
        result = zoo("get", "all")
    assert result.exit_code == 2
    assert "net0.pth could not be fetched" in result.stderr
    assert "net1.pth" not in result.stderr
    assert files(folder) == {"net1.pth": CONTENT}


def test_list_knows_what_is_missing_wrong_or_begun(folder, monkeypatch):
    with serving(FileServer(CONTENT)) as server:
        published(monkeypatch, server, count=4)
    sized = known(server, name="net3", file="net3.pth", size=50_000)
    monkeypatch.setitem(WEIGHTS, "net3.pth", sized)
    folder.mkdir()
    (folder / "net0.pth").write_bytes(b"x" * 50_000)
    (folder / "net1.pth.part").write_bytes(CONTENT[:7])
    (folder / "net3.pth").write_bytes(b"x")

    def states(*words: str) -> list[str]:
        return [entry["state"] for entry in json.loads(zoo("list", "--json", *words).stdout)]

    assert states() == ["there", "7 bytes of it", "missing", "wrong size"]
    assert states("--check") == ["wrong hash", "7 bytes of it", "missing", "wrong size"]
    assert states("--missing") == ["7 bytes of it", "missing", "wrong size"]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_urls_are_lines_for_curl(folder, tmp_path, monkeypatch):
    with serving(FileServer(CONTENT)) as server:
        published(monkeypatch, server, count=1)
        line = zoo("list", "--missing", "--urls").stdout
        assert line == f"curl -fL -C - -o net0.pth {server.address}\n"
        subprocess.run(line, shell=True, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "net0.pth").read_bytes() == CONTENT


def test_where(folder):
    assert zoo("where").stdout == f"{folder}\n"
    assert zoo("where", "vgg16").stdout == f"{folder / 'vgg16-397923af.pth'}\n"
    resnet = zoo("where", "timm/resnet18.a1_in1k", "--to", "/x").stdout
    assert resnet == "/x/resnet18.a1_in1k.safetensors\n"
    refused = zoo("where", "vgg61")
    assert refused.exit_code == 2
    assert (
        "no weights are called 'vgg61'. Did you mean 'vgg16'? Known: inception," in refused.stderr
    )


def test_the_command_imports_no_torch(tmp_path):
    program = (
        "import sys; from zoo.cli import app; from typer.testing import CliRunner\n"
        "assert CliRunner().invoke(app, ['weights', 'list']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['weights', 'get', 'nothing']).exit_code == 2\n"
        "print([name for name in ('torch', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr
