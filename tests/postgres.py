"""A PostgreSQL server of Debian's package for the tests: a directory, a socket and a database of its own, gone afterwards."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


def programs() -> Path | None:
    """Where initdb and postgres are."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: float(place.parent.name))
    found = shutil.which("initdb")
    if found:
        places.append(Path(found).resolve().parent)
    return next((place for place in reversed(places) if (place / "initdb").exists() and (place / "postgres").exists()), None)


@dataclass
class Server:
    """A server that runs."""

    bin: Path
    directory: Path
    databases: int = 0

    def url(self, database: str = "postgres") -> str:
        """Of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def fresh(self) -> str:
        """A new, empty database's URL."""
        self.databases += 1
        name = f"relay{self.databases}"
        self.psql(f"CREATE DATABASE {name}")
        return self.url(name)

    def psql(self, sql: str, url: str = "") -> str:
        """What psql, which is not ours, says to a statement."""
        words = [str(self.bin / "psql"), "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, url or self.url()]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()

    def restart(self) -> None:
        """As an administrator does, with clients connected."""
        self.control("restart", "-m", "fast")

    def control(self, *words: str) -> None:
        run(str(self.bin / "pg_ctl"), "-D", str(self.directory / "data"), "-w", "-l", str(self.directory / "log"), *words)


def run(*words: str) -> None:
    more: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd="/", **more)


@contextmanager
def running() -> Iterator[Server]:
    """A server; without fsync, for its data is of no worth."""
    bin_ = programs()
    if bin_ is None:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("the extra `postgres` (psycopg) is not installed")
    directory = Path(tempfile.mkdtemp(prefix="relaypg"))  # short: a socket's path has 107 bytes
    try:
        if os.geteuid() == 0:
            shutil.chown(directory, "postgres", "postgres")
        run(str(bin_ / "initdb"), "-D", str(directory / "data"), "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
        server = Server(bin_, directory)
        options = f"-c listen_addresses='' -c unix_socket_directories={directory} -c fsync=off -c max_connections=30 -c shared_buffers=16MB"
        server.control("start", "-o", options)
        try:
            yield server
        finally:
            server.control("stop", "-m", "immediate")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    with running() as server:
        yield server
