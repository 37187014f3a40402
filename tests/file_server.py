"""A web server for files on loopback that may drop connections, as a hub and as a package index have them."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c0ffee" * 6 + "1234"


@dataclass
class FileServer:
    """``files`` by path. The next ``drops`` answers with content end half-way; ``asked`` has what came in."""

    files: dict[str, bytes] = field(default_factory=dict)
    drops: int = 0
    ranges: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    address: str = ""

    def begins(self, path: str) -> list[int]:
        """The offset of each request of the content at ``path``."""
        return [_begin(span) for method, asked, span in self.asked if method == "GET" and asked == path]


def _begin(span: str | None) -> int:
    return int(span.removeprefix("bytes=").partition("-")[0]) if span else 0


@contextmanager
def serving() -> Iterator[FileServer]:
    """A running server."""
    served = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(content=False)

        def do_GET(self) -> None:
            self._answer(content=True)

        def _answer(self, content: bool) -> None:
            path, span = self.path.partition("?")[0], self.headers.get("Range")
            served.asked.append((self.command, path, span))
            body = served.files.get(path)
            if body is None:
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            begin = _begin(span) if served.ranges else 0
            self.send_response(206 if begin else 200)
            if begin:
                self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "text/html" if path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body) - begin))
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if not content:
                return
            rest = body[begin:]
            if served.drops and not path.endswith("/"):
                served.drops -= 1
                self.wfile.write(rest[: len(rest) // 2])
                self.close_connection = True
            else:
                self.wfile.write(rest)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client may leave."""

    with Server(("127.0.0.1", 0), Handler) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
