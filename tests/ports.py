"""Ports for tests, outside of the range from which the system serves everybody's outgoing connections."""

from __future__ import annotations

import itertools
import os
import random
import socket

#: below Linux's ip_local_port_range (32768 on), above every port that the configuration has by default
FIRST, LAST = 12_000, 32_767
#: at most so many test processes have a stretch of their own
WORKERS = 16

_worker = int("".join(filter(str.isdigit, os.environ.get("PYTEST_XDIST_WORKER", ""))) or 0) % WORKERS
_size = (LAST - FIRST) // WORKERS
_start = random.randrange(_size)  # another checkout's tests begin elsewhere
_numbers = itertools.cycle(FIRST + _worker * _size + (_start + step) % _size for step in range(_size))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody has, for TCP or UDP, and that this process has not given out for a thousand calls."""
    for port in itertools.islice(_numbers, _size):
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    if kind is socket.SOCK_STREAM:
                        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((host, port))
        except OSError:
            continue
        return port
    raise AssertionError(f"no free port on {host} from {FIRST} to {LAST}")
