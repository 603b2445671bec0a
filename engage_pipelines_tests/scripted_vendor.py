"""A very small HTTP server that answers from a script and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Two things a vendor may do instead of answering.
HANG_UP = (0, b"hang up")
SAY_NOTHING = (0, b"say nothing")

# Status and body, and headers where they matter.
Script = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]


@dataclass(frozen=True)
class Asked:
    """One call that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class ScriptedVendor:
    """Gives the answers in order, the last one again and again."""

    answers: list[Script]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    callers: set[tuple[str, int]] = field(default_factory=set)
    under_way: int = 0
    most_under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, asked: Asked, caller: tuple[str, int]) -> Script:
        with self.lock:
            self.asked.append(asked)
            self.callers.add(caller)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    @contextmanager
    def busy(self) -> Iterator[None]:
        with self.lock:
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1


def _handler(vendor: ScriptedVendor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Head and body are two packets; without this each answer waits for the other side's receipt.
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with vendor.busy():
                script = vendor.answer(Asked(self.path, headers, body, self.command), self.client_address[:2])
                self._perform(script)

        def _perform(self, script: Script) -> None:
            status, body = script[:2]
            if status == 0:
                self.close_connection = True
                if script == SAY_NOTHING:
                    vendor.over.wait(10)
                return
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in (script[2] if len(script) == 3 else {}).items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815  the names that the server looks for

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler


@contextmanager
def scripted_vendor(*answers: Script) -> Iterator[ScriptedVendor]:
    """Serve a script on a free port of the loopback."""
    vendor = ScriptedVendor(list(answers))
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(vendor))
    vendor.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield vendor
    finally:
        vendor.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
