"""A till on a real socket that notes every request and answers with what a test has laid out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Request:
    """What arrived: verb, path, query, headers (lower-case names) and decoded JSON body."""

    verb: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


Reply = Callable[[Request], Any]


@dataclass
class Listener:
    """Answers each request with `reply(request)`: a JSON value, or bytes as they are."""

    url: str
    reply: Reply
    requests: list[Request] = field(default_factory=list)

    def bodies(self) -> list[Any]:
        return [request.body for request in self.requests]


@contextmanager
def listening(reply: Reply) -> Iterator[Listener]:
    """Serve on a free port of the loopback while the block runs."""
    listener = Listener("", reply)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            target = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = Request(
                self.command,
                target.path,
                dict(parse_qsl(target.query)),
                {name.lower(): value for name, value in self.headers.items()},
                json.loads(sent) if sent else None,
            )
            listener.requests.append(request)
            value = listener.reply(request)
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815 - the names that http.server looks for

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield listener
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def in_turn(*answers: Any) -> Reply:
    """A reply that gives these answers one after the other."""
    waiting = iter(answers)
    return lambda _: next(waiting)
