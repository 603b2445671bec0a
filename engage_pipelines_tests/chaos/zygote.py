"""The zygote: a process with one thread that has imported everything, and forks a child per command in milliseconds.

It reads JSON lines on the socket that it inherits (`start`, `kill`) and writes one line when a child has ended. When
the socket closes, however the campaign ended, it kills what still runs and leaves.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from engage_pipelines_tests.chaos import child


class Zygote:
    """Forks and buries.

    Args:
        control: the socket to the campaign.
    """

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._tickets: dict[int, int] = {}
        self._rest = b""
        # A child that ends makes a signal, a signal makes a byte here: one selector waits for everything.
        self._awake, self._wake = socket.socketpair()
        self._awake.setblocking(False)
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Work until the campaign closes the socket."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._awake, selectors.EVENT_READ)
            is_wanted = True
            while is_wanted:
                for key, _ in selector.select():
                    if key.fileobj is self._control:
                        is_wanted = self._listen()
                    else:
                        self._bury()
        # Gone for sure before this process is: whoever waits for it knows that nothing runs any more.
        for pid in self._tickets:
            _kill(pid)
            os.waitpid(pid, 0)

    def _listen(self) -> bool:
        heard = self._control.recv(65_536)
        *lines, self._rest = (self._rest + heard).split(b"\n")
        for line in lines:
            order = json.loads(line)
            if order["do"] == "start":
                self._start(order)
            else:
                # Only what has not been buried: its number may belong to somebody else by now.
                for pid in [pid for pid, ticket in self._tickets.items() if ticket == order["ticket"]]:
                    _kill(pid)
        return bool(heard)

    def _start(self, order: dict[str, Any]) -> None:
        pid = os.fork()
        if pid:
            self._tickets[pid] = order["ticket"]
            # Here and in the child, whichever comes first: from now on it can be killed as a group.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.setpgid(pid, pid)
            return
        code = child.CRASHED
        try:
            self._become(order)
            code = child.run(order["arguments"])
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)

    def _become(self, order: dict[str, Any]) -> None:
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in (self._control, self._awake, self._wake):
            end.close()
        for number, name in ((1, "out"), (2, "err")):
            opened = os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(opened, number)
            os.close(opened)
        os.environ.update(order["environment"])

    def _bury(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._awake.recv(4096)
        while self._tickets:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            # Whatever it has started itself goes with it.
            _kill(pid)
            ended = {"ticket": self._tickets.pop(pid), "code": os.waitstatus_to_exitcode(status)}
            self._control.sendall(json.dumps(ended).encode() + b"\n")


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    gc.freeze()
    Zygote(socket.socket(fileno=int(sys.argv[1]))).serve()
    # Without the interpreter's own farewell: libraries that were never used would complain about it.
    os._exit(0)
