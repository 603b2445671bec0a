"""The sandbox in a process of its own: its command line, and starting and ending it from another program."""

from __future__ import annotations

import argparse
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx
import msgspec

from engage_pipelines.sandbox.shop_choice import SHOPS, Shop

_FILLING = re.compile(r"filling (\d+)/(\d+)")


@dataclass(frozen=True, slots=True)
class SandboxProcess:
    """A sandbox that answers, in another process."""

    url: str
    sftp_port: int
    sftp_host_key: str


def arguments() -> argparse.ArgumentParser:
    """The command line of `python -m engage_pipelines.sandbox.server`."""
    parser = argparse.ArgumentParser(
        prog="python -m engage_pipelines.sandbox.server",
        description="Stand-ins for the vendors on loopback. Prints one JSON line on stdout once it answers.",
    )
    add = parser.add_argument
    add("--state", type=Path, required=True, help="folder of its state; the same folder gives the same world")
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=0, help="HTTP port; 0 takes a free one (default)")
    add("--sftp-port", type=int, default=0, help="SFTP port; 0 takes a free one (default)")
    add("--vendor", action="append", help="serve only this vendor (may be repeated; default: all)")
    add("--shop", choices=SHOPS, default="made-up", help="what an empty till is filled with (default %(default)s)")
    add("--receipts", type=int, default=20_000, help="receipts of the made-up shop (default %(default)s)")
    add("--seed", type=int, default=7, help="start of the made-up shop's chance (default %(default)s)")
    add("--retail-parquet", type=Path, help="file with the real shop's invoice lines, for --shop online-retail")
    add("--stop-with-stdin", action="store_true", help="end when standard input closes")
    return parser


@contextmanager
def start_sandbox_process(
    state: Path,
    *,
    port: int = 0,
    sftp_port: int = 0,
    vendors: Sequence[str] = (),
    shop: str = "none",
    receipts: int = 20_000,
    seed: int = 7,
    retail_parquet: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    start_seconds: float = 300.0,
) -> Iterator[SandboxProcess]:
    """Run the sandbox in a child process while the context is open.

    Args:
        state: folder of its state.
        port: HTTP port, 0 for a free one.
        sftp_port: SFTP port, 0 for a free one.
        vendors: only these vendors; none: all.
        shop: what an empty till is filled with: `made-up`, `online-retail` or `none`.
        receipts: receipts of the made-up shop.
        seed: start of its chance.
        retail_parquet: the real shop's file, for `online-retail`.
        progress: told (done, total) while the shop is filled.
        start_seconds: how long to wait until it answers.

    Raises:
        RuntimeError: it ended early or did not answer in time.
    """
    child = subprocess.Popen(  # noqa: S603  our own module, with arguments from our own types
        _command(state, port, sftp_port, vendors, Shop(shop, receipts, seed, retail_parquet)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    watchers = [threading.Thread(target=_watch_stderr, args=(child.stderr, progress), daemon=True)]
    watchers[0].start()
    try:
        ready = msgspec.json.decode(_first_line(child, watchers, start_seconds), type=SandboxProcess)
        httpx.get(f"{ready.url}/_sandbox/", timeout=10).raise_for_status()
        yield ready
    finally:
        _end(child)
        for watcher in watchers:
            watcher.join(10)
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()


def _command(state: Path, port: int, sftp_port: int, vendors: Sequence[str], shop: Shop) -> list[str]:
    command = [
        sys.executable, "-m", "engage_pipelines.sandbox.server", "--state", str(state), "--port", str(port),
        "--sftp-port", str(sftp_port), "--shop", shop.kind, "--receipts", str(shop.receipts),
        "--seed", str(shop.seed), "--stop-with-stdin",
    ]  # fmt: skip
    if shop.retail_parquet:
        command += ["--retail-parquet", str(shop.retail_parquet)]
    for vendor in vendors:
        command += ["--vendor", vendor]
    return command


def _first_line(child: subprocess.Popen[str], watchers: list[threading.Thread], seconds: float) -> str:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in child.stdout or ():
            lines.put(line)
        lines.put("")

    watchers.append(threading.Thread(target=read, daemon=True))
    watchers[-1].start()
    try:
        line = lines.get(timeout=seconds)
    except queue.Empty:
        raise RuntimeError(f"the sandbox did not answer within {seconds:g} s") from None
    if not line:
        raise RuntimeError("the sandbox ended before it answered; see its messages on stderr")
    return line


def _watch_stderr(stream: IO[str] | None, progress: Callable[[int, int], None] | None) -> None:
    for line in stream or ():
        found = _FILLING.fullmatch(line.strip())
        if found and progress:
            progress(int(found[1]), int(found[2]))
        elif not found:
            sys.stderr.write(line)


def _end(child: subprocess.Popen[str]) -> None:
    child.terminate()
    try:
        child.wait(15)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(15)
