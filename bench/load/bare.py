"""The least that CPython needs to bring many terminals' pictures to as many players on a tick: the floor under scenario B with merged reads and writes.

    python bench/load/bare.py MEDIA_PORT HTTP_PORT [TICK_MS]

Takes JT/T 1078 with SIM fields of 6 bytes, gives FLV at /live/{sim}…, one player a stream, and does nothing else: no check of what comes, no cache for late
players, no limits, no counts, no queue. Stopped by a signal.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Generator

HEADER = 30
PACKET = struct.Struct(">15xBQ4xH").unpack_from  # mark, time stamp, length of the body
TAG = struct.Struct(">BBHBHB").pack
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nConnection: close\r\n\r\nFLV\x01\x01\0\0\0\x09\0\0\0\0"

buffer = bytearray(65536)
view = memoryview(buffer)
players: dict[str, socket.socket] = {}


def listening(port: int) -> socket.socket:
    made = socket.create_server(("127.0.0.1", port), backlog=1024)
    made.setblocking(False)
    return made


def terminal(sock: socket.socket) -> Generator[None, None, None]:
    """One media connection; sent a None for each read."""
    receive, send = sock.recv_into, None
    sim, tail, begun = "", b"", False
    out: list[bytes] = []
    while True:
        yield
        try:
            size = receive(buffer)
        except BlockingIOError:
            continue
        data = tail + bytes(view[:size])
        sim = sim or data[8:14].hex()
        pos = start = 0
        parts: list[bytes] = []
        first = length = 0
        while pos <= len(data) - HEADER:
            mark, stamp, body = PACKET(data, pos)
            end = pos + HEADER + body
            if end > len(data):
                break
            if mark & 15 < 2:  # alone, or the first of several: behind a start code
                parts, first, length = [data[pos + HEADER + 4 : end]], mark, body - 4
            else:
                parts.append(data[pos + HEADER : end])
                length += body
            pos = end
            if mark & 15 in (0, 2):
                start = pos
                key = first < 0x10
                tag = TAG(9, (length + 9) >> 16, (length + 9) & 0xFFFF, stamp >> 16 & 0xFF, stamp & 0xFFFF, stamp >> 24 & 0x7F)
                flags = b"\0\0\0\x17\x01\0\0\0" if key else b"\0\0\0\x27\x01\0\0\0"
                whole = b"".join((tag, flags, length.to_bytes(4, "big"), *parts, (length + 20).to_bytes(4, "big")))
                whole.find(b"\0\0\1", 24)  # whether the picture is one NAL unit must be asked even here
                if send is None and sim in players:
                    send = players[sim].send
                begun = begun or (key and send is not None)
                if begun:
                    out.append(whole)
        tail = data[start:]
        if out and send is not None:
            try:
                send(b"".join(out))
            except BlockingIOError:
                pass
            out.clear()


def main(media_port: int, http_port: int, tick: float) -> None:
    media, http = listening(media_port), listening(http_port)
    doors, terminals = select.epoll(), select.epoll()
    doors.register(media.fileno(), select.EPOLLIN)
    doors.register(http.fileno(), select.EPOLLIN)
    reads: dict[int, Callable[[None], None]] = {}
    asking: dict[int, socket.socket] = {}
    kept: list[socket.socket] = []
    due = time.monotonic() + tick
    while True:
        now = time.monotonic()
        if now >= due:
            for fd, _ in terminals.poll(0, 4096):
                reads[fd](None)
            due = max(due + tick, now)
        for fd, _ in doors.poll(max(0.0, due - time.monotonic())):
            if fd in asking:
                sock = asking.pop(fd)
                doors.unregister(fd)
                request = sock.recv(4096)
                if b"/live/" in request:
                    players[request.partition(b"/live/")[2][:12].decode()] = sock
                    sock.send(HEAD)
                continue
            while True:
                try:
                    sock = (media if fd == media.fileno() else http).accept()[0]
                except BlockingIOError:
                    break
                sock.setblocking(False)
                if fd == media.fileno():
                    kept.append(sock)
                    work = terminal(sock)
                    next(work)
                    reads[sock.fileno()] = work.send
                    terminals.register(sock.fileno(), select.EPOLLIN)
                else:
                    asking[sock.fileno()] = sock
                    doors.register(sock.fileno(), select.EPOLLIN)


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0.1)
    except KeyboardInterrupt:
        pass
