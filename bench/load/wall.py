"""The console's wall of 16 in a real Chromium: does it stay close to now, and does its memory stay where it is?

    python bench/load/wall.py [--seconds 300] [--fps 15] [--channels 16] [--openings 5]

The installed relay, one simulated terminal whose channels send the test card (352x288, with sound), headless Chromium with the console's page. After the run
one picture is closed and opened again, ``--openings`` times, each from a channel that has stopped. The second minute and the last are compared; one JSON line:

    behind_s, behind_growth_s        distance behind the buffer's end, median of all pictures and samples of the last minute; last minute less second
    behind_worst_s                   the same of the picture that is farthest behind
    heap_mib, heap_growth_mib        the page's JavaScript heap (CDP's JSHeapUsedSize) as it is, medians of the minutes
    live_mib, live_growth_mib        the same right after a garbage collection, once in the second minute and once at the end
    rss_mib, rss_growth_mib          resident memory of the page's renderer process, medians
    processor_share                  of the relay's process, and of all of Chromium's
    delay_p50_ms, delay_p99_ms       from the moment the terminal's clock gives a picture to the moment Chromium shows it, second minute to the end
    first_p50_ms, first_max_ms       from the terminal's first key frame to its picture on the screen: 16 at once, when the page is opened
    opened_p50_ms, opened_max_ms     the same of one picture beside 15 that play
    stalls                           samples in which a picture's cover was shown (it waits, or has failed), after all had begun
    restarts, jumps, waits           players that began anew, jumped to the end, ran dry, after all had begun
    fps                              pictures a second and channel that Chromium showed

How delays are seen: a picture of the test card carries its number as lamps, which the page's script reads from the pixels that are shown
(``requestVideoFrameCallback`` says when); picture n is due at the terminal's moment 0 plus n / fps; the terminal (``wall.py terminal …``) tells that moment.
``unread`` counts pictures of which the number does not fit the media time of the others (a frame's difference at most); they are left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

PHONE = "13800138000"
SIZE = (352, 288)

#: watches every <video> that the page makes: first picture, numbers of pictures, restarts; LAMPS is [first column, how many, row] in macroblocks
WATCH = """(() => {
  const [LEFT, COUNT, ROW] = LAMPS, EVERY_MS = 700;
  const seen = window.__seen = { first: [], pictures: [], counts: {}, frames: 0 };
  const canvas = document.createElement('canvas');
  canvas.width = COUNT * 16; canvas.height = 16;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  const count = (what) => { seen.counts[what] = (seen.counts[what] || 0) + 1; };
  const read = (video) => {
    pen.drawImage(video, LEFT * 16, ROW * 16, COUNT * 16, 16, 0, 0, COUNT * 16, 16);
    const { data } = pen.getImageData(0, 0, COUNT * 16, 16);
    let number = 0;
    for (let lamp = 0; lamp < COUNT; lamp += 1) {
      const at = (8 * COUNT * 16 + lamp * 16 + 8) * 4;
      number = number * 2 + (data[at] + data[at + 1] + data[at + 2] > 420 ? 1 : 0);
    }
    return number;
  };
  const watch = (video) => {
    let first = true, due = 0;
    const channel = () => [...document.querySelectorAll('.tile')].indexOf(video.closest('.tile')) + 1;
    const shown = (now, { mediaTime, expectedDisplayTime, presentationTime }) => {
      seen.frames += 1;
      const at = performance.timeOrigin + Math.max(presentationTime, expectedDisplayTime);
      if (first) { first = false; seen.first.push([channel(), at]); }
      if (now >= due) { due = now + EVERY_MS * (0.75 + Math.random() / 2); seen.pictures.push([channel(), at, mediaTime, read(video)]); }
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
    for (const [event, what] of [['emptied', 'restarts'], ['seeking', 'jumps'], ['waiting', 'waits']]) video.addEventListener(event, () => count(what));
  };
  const make = document.createElement.bind(document);
  document.createElement = (name, ...more) => { const element = make(name, ...more); if (name === 'video') watch(element); return element; };
})();"""

SAMPLE = """() => ({
  behind: [...document.querySelectorAll('.tile.open video')].map((v) => v.buffered.length ? v.buffered.end(v.buffered.length - 1) - v.currentTime : null),
  pictures: __seen.pictures.splice(0),
  covered: [...document.querySelectorAll('.tile.open .cover')].filter((cover) => !cover.hidden).length,
})"""


def terminal(words: list[str]) -> None:
    """``jt1078relay simulate terminal``, which tells each channel's moment 0, and when its first key frame is sent.

    The test card is drawn for a while before: a picture of a new kind takes it some time, and its channels share one thread, which no real terminal's do.
    """
    from relay.cli.main import main as command
    from relay.sim.sources import PatternSource, Unit

    opened = PatternSource.open
    fps, channels = int(words[words.index("--fps") + 1]), int(words[words.index("--channels") + 1])
    for channel in range(1, channels + 1):
        card = PatternSource(fps=fps, sub=SIZE).pattern(channel, True, time.time())
        for number in range(6 * fps if channel == 1 else 2):
            card.frame(number)

    def telling(self: PatternSource, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        units = opened(self, channel, sub, wall)
        first = next(units)
        print(f"began {channel} {wall:.6f} {time.time():.6f}", flush=True)
        return itertools.chain((first,), units)

    PatternSource.open = telling  # type: ignore[method-assign]
    sys.exit(command(["simulate", "terminal", *words]))


def rank(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def began(output: str) -> dict[int, list[tuple[float, float]]]:
    """Channel → of each time that it began to send: picture 0 on its clock, and when that was sent; milliseconds since 1970."""
    found: dict[int, list[tuple[float, float]]] = {}
    for channel, wall, sent in re.findall(r"^began (\d+) ([\d.]+) ([\d.]+)$", output, re.MULTILINE):
        found.setdefault(int(channel), []).append((float(wall) * 1000, float(sent) * 1000))
    return found


def delays(pictures: list[list[float]], starts: dict[int, list[tuple[float, float]]], fps: int) -> tuple[list[float], int]:
    """Milliseconds from a picture's moment on the terminal's clock to the screen, and how many numbers did not fit."""
    found, unread = [], 0
    by_channel: dict[int, list[list[float]]] = {}
    for picture in pictures:
        by_channel.setdefault(int(picture[0]), []).append(picture)
    for channel, ones in by_channel.items():
        [(usual, _)] = Counter(round(number - media * fps) for _, _, media, number in ones).most_common(1)
        for _, at, media, number in ones:
            if abs(number - media * fps - usual) > 1.2:
                unread += 1
                continue
            # the media time tells the picture that the callback is about; what was read may be the next one already
            found.append(at - (starts[channel][-1][0] + (usual + media * fps) * 1000 / fps))
    return found, unread


class Samples(threading.Thread):
    """Processor time and memory, from outside the page, every second."""

    def __init__(self, renderer: int) -> None:
        super().__init__(daemon=True)
        self.renderer = renderer
        self.rss: list[tuple[float, float]] = []
        self.over = threading.Event()

    def run(self) -> None:
        from tests.e2e.support import memory_kib

        while not self.over.wait(1.0):
            self.rss.append((time.monotonic(), memory_kib(self.renderer) / 1024))


def descendants(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += descendants(int(child))
    return found


def processor_s(pids: list[int]) -> float:
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / 100


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    from relay.sim.pattern import card_layout
    from tests.e2e.support import Process, Product, chromium_options, wait_for

    layout = card_layout(SIZE[0] // 16, SIZE[1] // 16)
    lamps = json.dumps([layout.lamps_left, layout.lamp_count, layout.lamps])
    tiles = [{"sim": PHONE, "channel": channel, "stream": ""} for channel in range(1, arguments.channels + 1)]
    remembered = json.dumps(json.dumps({"layout": 16, "tiles": tiles}))
    with Product(folder, media={"idle_stop_s": 1}) as relay, sync_playwright() as machinery:
        server = f"127.0.0.1:{relay.ports['terminals_tcp']}"
        words = ["--server", server, "--phone", PHONE, "--channels", str(arguments.channels), "--sub-size", "352x288", "--fps", str(arguments.fps)]
        vehicle = Process("the terminal", [sys.executable, Path(__file__), "terminal", *words], folder / "terminal.log")
        chromium = None
        try:
            wait_for("the terminal", lambda: relay.is_online(PHONE))
            chromium = machinery.chromium.launch(**chromium_options())
            cdp = chromium.new_browser_cdp_session()
            page = chromium.new_context(viewport={"width": 1600, "height": 1000}, locale="en-US").new_page()
            sockets: list[str] = []
            page.on("websocket", lambda socket: sockets.append(socket.url) if "/live/" in socket.url else None)
            page.add_init_script(f"localStorage.setItem('wall', {remembered});\n{WATCH.replace('LAMPS', lamps, 1)}")
            page.goto(relay.page())
            wait_for("every picture", lambda: len(page.evaluate("() => __seen.first")) >= arguments.channels, 60)
            first = page.evaluate("() => __seen.first")
            starts = began(vehicle.output)
            firsts = [at - starts[channel][-1][1] for channel, at in first]

            renderers = [one for one in cdp.send("SystemInfo.getProcessInfo")["processInfo"] if one["type"] == "renderer"]
            renderer = int(max(renderers, key=lambda one: one["cpuTime"])["id"])  # Chromium keeps a spare one
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable")
            outside = Samples(renderer)
            outside.start()
            time.sleep(3)
            page.evaluate("() => { __seen.counts = {}; }")
            asked = len(sockets)
            begun, end = time.monotonic(), time.monotonic() + arguments.seconds
            minute = min(60.0, arguments.seconds / 3)
            behind: list[tuple[float, list[float]]] = []
            heap: list[tuple[float, float]] = []
            live: list[float] = []
            pictures: list[list[float]] = []
            covered, frames, pids = 0, 0, descendants(relay.process.process.pid)
            browser_pids = [int(one["id"]) for one in cdp.send("SystemInfo.getProcessInfo")["processInfo"]]
            relay_cpu, browser_cpu = processor_s(pids), processor_s(browser_pids)

            def collected() -> float:
                session.send("HeapProfiler.collectGarbage")
                return used()

            def used() -> float:
                return next(float(one["value"]) for one in session.send("Performance.getMetrics")["metrics"] if one["name"] == "JSHeapUsedSize") / 2**20

            page.evaluate("() => { __seen.frames = 0; }")
            while (now := time.monotonic()) < end:
                sample = page.evaluate(SAMPLE)
                behind.append((now, [value for value in sample["behind"] if value is not None]))
                covered += sample["covered"]
                heap.append((now, used()))
                if not live and now > begun + 1.5 * minute:
                    live.append(collected())
                if live:
                    pictures += sample["pictures"]
                time.sleep(max(0.0, now + 1.0 - time.monotonic()))
            span = time.monotonic() - begun
            relay_cpu, browser_cpu = processor_s(pids) - relay_cpu, processor_s(browser_pids) - browser_cpu
            frames, counts = page.evaluate("() => [__seen.frames, __seen.counts]")
            live.append(collected())
            outside.over.set()
            # a terminal that could not draw in time began anew, with another moment 0
            redone = {channel for channel, moments in began(vehicle.output).items() if len(moments) > len(starts.get(channel, ()))}
            late, unread = delays([picture for picture in pictures if int(picture[0]) not in redone], starts, arguments.fps)
            opened_anew = len(sockets) - asked
            opened = list(openings(page, relay, vehicle, arguments.openings))
        finally:
            if chromium is not None:
                chromium.close()
            vehicle.stop()

    def part(values: list[tuple[float, Any]], last: bool) -> list[Any]:
        return [value for at, value in values if (at > begun + span - minute if last else begun + minute <= at < begun + 2 * minute)]

    def medians(values: list[tuple[float, float]]) -> tuple[float, float]:
        return statistics.median(part(values, False)), statistics.median(part(values, True))

    middle = [(at, statistics.median(values)) for at, values in behind if values]
    worst = [(at, max(values)) for at, values in behind if values]
    (behind_then, behind_now), (heap_then, heap_now), (rss_then, rss_now) = medians(middle), medians(heap), medians(outside.rss)
    return {
        "name": "wall",
        "channels": arguments.channels,
        "fps_sent": arguments.fps,
        "seconds": round(span),
        "behind_s": round(behind_now, 3),
        "behind_growth_s": round(behind_now - behind_then, 3),
        "behind_worst_s": round(statistics.median(part(worst, True)), 3),
        "heap_mib": round(heap_now, 2),
        "heap_growth_mib": round(heap_now - heap_then, 2),
        "live_mib": round(live[-1], 2),
        "live_growth_mib": round(live[-1] - live[0], 2),
        "rss_mib": round(rss_now, 1),
        "rss_growth_mib": round(rss_now - rss_then, 1),
        "processor_share": {"relay": round(relay_cpu / span, 3), "chromium": round(browser_cpu / span, 3)},
        "delay_p50_ms": round(rank(late, 0.5)),
        "delay_p99_ms": round(rank(late, 0.99)),
        "delays": len(late),
        "unread": unread,
        "first_p50_ms": round(rank(firsts, 0.5)),
        "first_max_ms": round(max(firsts)),
        **({"opened_p50_ms": round(rank(opened, 0.5)), "opened_max_ms": round(max(opened))} if opened else {}),
        "stalls": covered,
        "restarts": counts.get("restarts", 0),
        "jumps": counts.get("jumps", 0),
        "waits": counts.get("waits", 0),
        "sockets_opened_anew": opened_anew,
        "terminal_began_anew": len(redone),
        "fps": round(frames / span / arguments.channels, 2),
    }


def openings(page: Any, relay: Any, vehicle: Any, count: int) -> Iterator[float]:
    """Milliseconds from the first key frame to the picture, of channel 1 closed and opened again."""
    from tests.e2e.support import wait_for

    for _ in range(count):
        tile = page.locator(".tile").first
        tile.hover()
        tile.get_by_role("button", name="Close").click()
        wait_for("the channel's end", lambda: not any(one["channel"] == 1 for one in relay.api("GET", "/streams")["items"]), 30)
        had, seen = len(began(vehicle.output)[1]), page.evaluate("() => __seen.first.length")
        page.locator(f'.chip[data-key="{PHONE}_1"]').click()
        wait_for("the picture", lambda seen=seen: page.evaluate("() => __seen.first.length") > seen, 30)
        moments = began(vehicle.output)[1]
        assert len(moments) == had + 1, moments
        yield page.evaluate("() => __seen.first.at(-1)[1]") - moments[-1][1]


def main() -> None:
    if sys.argv[1:2] == ["terminal"]:
        terminal(sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--openings", type=int, default=5)
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(measure(parser.parse_args(), Path(name))))


main()
