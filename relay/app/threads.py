"""The threads in which sound is transcoded.

Each is a daemon, so that none keeps the process alive, and stays on one processor. The latter is for FFmpeg's sake: the resampler inside PyAV
starts a helper thread for every processor that the calling thread may use, two a track on two processors, 64 on 64, all of them idle. A thread that
may use one gets none.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import cycle
from threading import Thread
from typing import Any

from twisted.python.threadpool import ThreadPool


def processors() -> list[int]:
    """Those this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def files_pool() -> ThreadPool:
    """A pool, not yet started, for what reads and writes large files: a slow disk must not hold up anything else."""

    def make(target: Callable[[], Any], name: str | None = None) -> Thread:
        return Thread(target=target, name=name, daemon=True)

    pool = ThreadPool(minthreads=0, maxthreads=4, name="files")
    pool.threadFactory = make  # type: ignore[assignment]
    return pool


def transcoding_pool() -> ThreadPool:
    """A pool, not yet started, with a thread for each processor, made when there is work for it."""
    available = processors()
    turn = cycle(available)

    def make(target: Callable[[], Any], name: str | None = None) -> Thread:
        processor = next(turn)

        def run() -> None:
            if hasattr(os, "sched_setaffinity"):
                try:
                    os.sched_setaffinity(0, {processor})  # of this thread alone
                except OSError:  # a sandbox may forbid it; then there are more threads, and nothing else is lost
                    pass
            target()

        return Thread(target=run, name=name, daemon=True)

    pool = ThreadPool(minthreads=0, maxthreads=len(available), name="transcode")
    pool.threadFactory = make  # type: ignore[assignment]
    return pool
