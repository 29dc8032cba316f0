"""A real HTTP server on this machine that serves one file, with faults at choice."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """What is served, and how.

    Attributes:
        content: of the file.
        ranges: whether parts can be asked for.
        breaks_after: bytes of a reply after which the connection is cut, once for each entry.
        codes: status codes sent in place of the file, once each.
        stated: SHA-256 that a redirect states, as huggingface.co does; None: no redirect.
        length: whether replies say how long they are.
        claims: bytes that they say they have, if not the truth.
        from_elsewhere: parts are sent from another place than was asked for.
        pause: seconds between chunks of 1 KiB.
        asked: the Range header of each request.
        sent: bytes of the file that were sent.
        arrived: set when `arrives` bytes have been sent.
        address: where it can be fetched.
    """

    content: bytes
    ranges: bool = True
    breaks_after: list[int] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    stated: str | None = None
    length: bool = True
    claims: int | None = None
    from_elsewhere: bool = False
    pause: float = 0
    arrives: int = 1
    asked: list[str | None] = field(default_factory=list)
    sent: int = 0
    arrived: threading.Event = field(default_factory=threading.Event)
    address: str = ""


@contextlib.contextmanager
def serving(server: FileServer) -> Iterator[FileServer]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if server.stated and self.path == "/file":
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
                self.send_header("X-Linked-Etag", f'"{server.stated}"')
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            server.asked.append(asked)
            if server.codes:
                self.send_error(server.codes.pop(0))
                return
            start = 0
            if asked and server.ranges:
                start = int(asked.removeprefix("bytes=").partition("-")[0])
                start -= server.from_elsewhere
                if start >= len(server.content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(server.content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
            self._send(start, partial=bool(asked) and server.ranges)

        def _send(self, start: int, partial: bool) -> None:
            body = server.content[start:]
            self.send_response(206 if partial else 200)
            if partial:
                last, size = len(server.content) - 1, len(server.content)
                self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
            if server.length:
                self.send_header("Content-Length", str(server.claims or len(body)))
            self.end_headers()
            if server.breaks_after:
                body = body[: server.breaks_after.pop(0)]
            for i in range(0, len(body), 1024):
                with contextlib.suppress(ConnectionError):  # the other side was killed
                    self.wfile.write(body[i : i + 1024])
                server.sent += len(body[i : i + 1024])
                if server.sent >= server.arrives:
                    server.arrived.set()
                time.sleep(server.pause)
            self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.address = f"http://127.0.0.1:{http.server_port}/file"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
