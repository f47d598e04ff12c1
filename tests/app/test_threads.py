"""The transcoding threads: few, whatever FFmpeg would like, and never in the way of the end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from twisted.internet import reactor
from twisted.internet.threads import deferToThreadPool

from relay.app.threads import processors, transcoding_pool

TASKS = Path("/proc/self/task")


async def test_a_resampler_brings_no_threads_of_its_own() -> None:
    av = pytest.importorskip("av", reason="the extra `media` is not installed")
    if not TASKS.exists() or not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs Linux")
    kept = []

    def resample() -> int:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=8000)
        frame = av.AudioFrame(format="s16", layout="mono", samples=320)
        frame.sample_rate = 8000
        frame.pts = 0
        resampler.resample(frame)
        kept.append(resampler)
        return len(list(TASKS.iterdir()))

    pool = transcoding_pool()
    pool.start()
    try:
        before = len(list(TASKS.iterdir()))
        after = [await deferToThreadPool(reactor, pool, resample) for _ in range(5)]
        assert max(after) <= before + len(processors())
    finally:
        pool.stop()


async def test_threads_are_daemons_and_at_most_one_for_each_processor() -> None:
    pool = transcoding_pool()
    pool.start()
    try:
        assert pool.max == len(processors())
        assert await deferToThreadPool(reactor, pool, lambda: threading.current_thread().daemon)
    finally:
        pool.stop()
    assert os.sched_getaffinity(0) == set(processors()), "the reactor's own thread goes where it likes"
