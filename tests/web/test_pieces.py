"""Memory files of what is fetched often, and how they are sent."""

from __future__ import annotations

import os
import socket
from typing import Any

import pytest

from relay.web import pieces as module
from relay.web.pieces import FILED_MIN_BYTES, HOT, Filed, Shelf, send_all

BIG = bytes(range(256)) * (FILED_MIN_BYTES // 256)

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="memory files are Linux's")


class Wire:
    """What ``send_all`` needs of a transport."""

    def __init__(self) -> None:
        self._tempDataBuffer: list[bytes] = []
        self.dataBuffer = b""
        self.offset = 0
        self.later: list[bytes] = []

    def writeSequence(self, pieces: list[bytes]) -> None:
        self.later += pieces


@pytest.fixture
def shelf() -> Any:
    made = Shelf()
    yield made
    made.close()
    assert (len(made), made.size) == (0, 0)


def asked(shelf: Shelf, name: bytes, times: int = HOT, data: bytes = BIG, owner: str = "one") -> list[int | None]:
    return [shelf.find(owner, name, [data[:100], data[100:]], len(data)) for _ in range(times)]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_what_is_fetched_often_gets_a_file_with_the_same_bytes(shelf: Shelf) -> None:
    *none, file = asked(shelf, b"7")
    assert none == [None] * (HOT - 1)
    assert file is not None
    assert os.pread(file, len(BIG) + 1, 0) == BIG
    assert asked(shelf, b"7", 2) == [file, file]
    assert asked(shelf, b"8", 1, owner="other") == [None]


def test_small_pieces_are_sent_as_they_are(shelf: Shelf) -> None:
    assert asked(shelf, b"7", 20, BIG[:-1]) == [None] * 20


def test_files_are_bounded_by_number_and_bytes(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_files()
    monkeypatch.setattr(module, "FILES_MAX", 3)
    for number in range(5):
        asked(shelf, b"%d" % number)
    assert len(shelf) == 3
    assert open_files() - before == 3
    monkeypatch.setattr(module, "FILES_BYTES", 2 * len(BIG))
    asked(shelf, b"9")
    assert shelf.size <= 2 * len(BIG)
    assert asked(shelf, b"10", HOT, BIG * 3) == [None] * HOT
    monkeypatch.setattr(module, "COUNTED_MAX", 2)
    for _ in range(HOT):
        for number in range(20, 24):
            asked(shelf, b"%d" % number, 1)
    assert asked(shelf, b"20", 1) == [None]


def test_an_owner_that_has_gone_has_no_files(shelf: Shelf) -> None:
    asked(shelf, b"1")
    asked(shelf, b"1", owner="other")
    shelf.forget("one")
    assert (len(shelf), shelf.size) == (1, len(BIG))


@pytest.mark.parametrize("broken", ["memfd_create", "writev"])
def test_without_room_the_pieces_are_sent_as_they_are(shelf: Shelf, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def fails(*_: Any) -> int:
        raise OSError("no room")

    before = open_files()
    monkeypatch.setattr(module if broken == "memfd_create" else os, "_create" if broken == "memfd_create" else broken, fails)
    assert asked(shelf, b"7") == [None] * HOT
    assert open_files() == before


@pytest.mark.parametrize("times", [1, 128])
def test_a_filed_answer_leaves_whole_whatever_the_socket_takes(shelf: Shelf, times: int) -> None:
    data = BIG * times
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as far:
        near, _ = server.accept()
        near.setblocking(False)
        file = asked(shelf, b"7", HOT, data)[-1]
        assert file is not None
        wire = Wire()
        send_all(wire, near, Filed(b"head ", [data[:100], data[100:]], file, len(data)))
        near.close()
        got = b""
        while more := far.recv(1 << 20):
            got += more
        assert got + b"".join(wire.later) == b"head " + data
        assert bool(wire.later) is (times > 1)


def test_behind_what_waits_a_filed_answer_waits_too(shelf: Shelf) -> None:
    wire = Wire()
    wire._tempDataBuffer = [b"x"]
    file = asked(shelf, b"7")[-1]
    assert file is not None
    send_all(wire, object(), Filed(b"head ", [BIG], file, len(BIG)))
    assert wire.later == [b"head ", BIG]
