"""Fetch published files of weights: continued after an interruption, checked, whole or absent.

While a file is coming it lies beside its place as `FILE.part`, locked by who fetches it; a fetch
that was killed is continued from there. It gets its name only with the hash that a public source
states.
"""

import contextlib
import fcntl
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPException
from io import FileIO
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from zoo.downloads import FOLDER_VARIABLE, UntrustedWeights, Weights, sha256_of, weights_folder
from zoo.registry import UserError

logger = logging.getLogger(__name__)

TIMEOUT_SECONDS = 60  # without a byte
PAUSE_SECONDS = 2  # before a broken connection is tried again
CHUNK_BYTES = 2**20

_ELSEWHERE = f"Another folder: --to, or set {FOLDER_VARIABLE}."
_IN_ITS_PLACE = "Something between here and there may answer in its place."

Progress = Callable[[int, int | None], None]  # bytes so far, bytes in all if the server says


class CannotFetch(UserError):
    """A file could not be fetched; the message says why and what to do by hand."""


@dataclass(frozen=True)
class Fetched:
    """A file that is in its place.

    Attributes:
        path: where.
        sha256: all 64 digits.
        fetched: by this call; else it was there.
        checked_by: who states that hash; empty if nobody does.
    """

    path: Path
    sha256: str
    fetched: bool
    checked_by: str


def fetch(
    weights: Weights,
    folder: Path | None = None,
    *,
    trust: bool = False,
    progress: Progress | None = None,
) -> Fetched:
    """Bring a file into the folder of weights, unless it is there.

    Any number of processes may do so at once: one fetches, the others wait for it.

    Args:
        weights: which.
        folder: instead of `weights_folder()`; it is made.
        trust: take a file whose hash nobody states. One with another hash than the stated one is
            refused in any case.
        progress: called as bytes come.

    Raises:
        CannotFetch: no connection, a refusal, or no room; what came so far is continued next time.
        UntrustedWeights: what is there, or what came, is not the published file.
    """
    folder = weights_folder() if folder is None else folder
    path = folder / weights.file
    if path.exists():
        return _there(path, weights)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_fetcher(path.with_name(f"{path.name}.part")) as part:
            if path.exists():  # another process was quicker
                return _there(path, weights)
            digest, checked_by = _complete(part, weights, trust, progress)
            os.fsync(part.fileno())
            Path(part.name).replace(path)
    except OSError as error:  # of the disk; those of the connection are CannotFetch
        raise CannotFetch(
            f"{weights.file} cannot be written into {folder}: {error.strerror}. {_ELSEWHERE}"
        ) from error
    return Fetched(path, digest, True, checked_by)


def _there(path: Path, weights: Weights) -> Fetched:
    digest = sha256_of(path)
    if weights.sha256 is not None and not digest.startswith(weights.sha256):
        raise UntrustedWeights(
            f"{path} is there and is not the published file: {path.stat().st_size} bytes, SHA-256 "
            f"{digest}, wanted {weights.says}. Remove it to fetch it again"
        )
    return Fetched(path, digest, False, weights.hash_source)


@contextlib.contextmanager
def _only_fetcher(path: Path) -> Iterator[FileIO]:
    """The unfinished file, locked; waits for another process that has it. Empty, it is removed."""
    while True:
        with path.open("ab", buffering=0) as part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                logger.info("%s: another process is fetching it; waiting for that", path.stem)
                fcntl.flock(part, fcntl.LOCK_EX)
            if not _is_at(path, part):  # it was finished or removed while we waited
                continue
            try:
                yield part
            finally:
                if _is_at(path, part) and not _size(part):
                    path.unlink()
            return


def _is_at(path: Path, part: FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(part.fileno()))
    except FileNotFoundError:
        return False


def _size(part: FileIO) -> int:
    return os.fstat(part.fileno()).st_size


# What has come, against what was published ----------------------------------------------------


def _complete(
    part: FileIO, weights: Weights, trust: bool, progress: Progress | None
) -> tuple[str, str]:
    """Fetch what is missing and check the whole; its SHA-256 and who states it."""
    for continued in (_size(part) > 0, False):
        stated = _fetch_rest(part, weights, progress)
        digest = sha256_of(Path(part.name))
        wanted, source = weights.sha256, weights.hash_source
        if wanted is None and stated is not None:
            wanted, source = stated, f"{urlsplit(weights.url).hostname}, when it sent the file"
        if wanted is None and trust:
            return digest, ""
        if wanted is None:
            raise UntrustedWeights(
                f"{weights.file} has no published hash. Got {_size(part)} bytes with SHA-256 "
                f"{digest} from {weights.url}. If this is right, run the same command with --trust"
            )
        if digest.startswith(wanted):
            return digest, source
        if not continued:
            break
        part.truncate(0)  # the beginning was damaged or of another file: once more, from the start
    size = _size(part)
    part.truncate(0)
    raise UntrustedWeights(
        f"{weights.url} sent another file than the published one: {size} bytes, SHA-256 {digest}, "
        f"wanted {wanted} (stated by {source}). Nothing was kept. {_IN_ITS_PLACE} Or fetch it "
        f"elsewhere and put it as {weights.file} into {Path(part.name).parent}"
    )


# The connection ----------------------------------------------------------------------------------


def _fetch_rest(part: FileIO, weights: Weights, progress: Progress | None) -> str | None:
    """Append what is missing; returns the SHA-256 that the server states, if it does.

    A connection that breaks is tried again as long as each one gets further than those before.
    """
    furthest = _size(part)
    while True:
        try:
            return _receive(part, weights, progress)
        except (OSError, HTTPException) as error:
            if _size(part) <= furthest:
                raise CannotFetch(_by_hand(part, weights, error)) from error
        furthest = _size(part)
        time.sleep(PAUSE_SECONDS)


def _by_hand(part: FileIO, weights: Weights, error: Exception) -> str:
    size = _size(part)
    code = f"HTTP {error.code} " if isinstance(error, HTTPError) else ""
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    kept = f"{size} bytes are kept: the same command continues from there.\n" if size else ""
    return (
        f"{weights.file} could not be fetched from {weights.url}: {code}{reason}\n{kept}"
        f"Without a network: fetch it on another machine (zoo weights get {weights.name} --to "
        f"FOLDER, or a browser) and put it as {weights.file} into {Path(part.name).parent}"
    )


class _Redirects(HTTPRedirectHandler):
    """Follows redirects and keeps what huggingface.co states of the file that it redirects to."""

    stated: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        digest = (headers.get("X-Linked-Etag") or "").strip('"')
        if re.fullmatch("[0-9a-f]{64}", digest):
            self.stated = digest
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _receive(part: FileIO, weights: Weights, progress: Progress | None) -> str | None:
    """One connection. Raises `OSError` or `HTTPException` if it ends before the file does."""
    have = _size(part)
    request = Request(weights.url, headers={"User-Agent": "zoo"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    redirects = _Redirects()
    try:
        reply = build_opener(redirects).open(request, timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        with error:
            if error.code != 416 or not have:
                raise
            if error.headers.get("Content-Range") == f"bytes */{have}":  # it is all there
                return redirects.stated
    else:
        with reply:
            extent = _extent(reply, have)
            if extent is not None:
                _append(part, reply, *extent, weights, progress)
                return redirects.stated
    part.truncate(0)  # what is there is not the beginning of what it sends
    return _receive(part, weights, progress)


def _extent(reply: Any, have: int) -> tuple[int, int | None] | None:
    """Where the reply's bytes begin in the file, and the file's size; None if nowhere useful."""
    if reply.status != 206:  # the whole file: nothing was there, or the server knows no ranges
        length = reply.headers.get("Content-Length")
        return 0, int(length) if length else None
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", reply.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != have:
        return None
    return have, None if found[2] == "*" else int(found[2])


def _append(
    part: FileIO,
    reply: Any,
    start: int,
    total: int | None,
    weights: Weights,
    progress: Progress | None,
) -> None:
    if total is not None and weights.size is not None and total != weights.size:
        raise CannotFetch(
            f"{weights.url} offers {total} bytes; {weights.file} has {weights.size}. "
            f"{_IN_ITS_PLACE}"
        )
    part.truncate(start)
    folder = Path(part.name).parent
    if total is not None and (free := shutil.disk_usage(folder).free) < total - start:
        raise CannotFetch(
            f"{weights.file} needs {total - start} bytes in {folder}, and {free} are free. "
            f"{_ELSEWHERE}"
        )
    while chunk := reply.read1(CHUNK_BYTES):  # what is there, so that little is lost when killed
        _write(part, chunk)
        if progress is not None:
            progress(_size(part), total)
    if total is not None and _size(part) != total:
        raise ConnectionError(f"the connection ended after {_size(part)} of {total} bytes")


def _write(part: FileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[part.write(rest) :]
    except OSError as error:  # not to be taken for one of the connection
        raise CannotFetch(
            f"{part.name} cannot be written: {error.strerror}. What came is kept, and the same "
            f"command continues from there. {_ELSEWHERE}"
        ) from error
