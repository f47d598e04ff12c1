"""How far what a browser shows is behind the terminal's clock, read off the picture itself.

The simulated terminal draws its clock (tenths of a second, cut off) and the number of the picture (lamps) into every picture. A script in the page
notes the time of day, copies what the <video> shows at that moment to a canvas and gives the pixels away; here they are read. Clock and number
together tell when picture 0 was due to within a few hundredths: the earliest that fits is taken, so the delay told is rather too long than too
short. Browser and terminal have the same clock, being on one machine. What is not in it is the camera's own time and the screen's.
"""

from __future__ import annotations

import base64
import statistics
import time
from typing import Any, NamedTuple

from relay.sim.demo import local_utc_offset_s
from relay.sim.reading import read_clock, read_number

#: what is shown now, and when "now" is
SHOWN = """(selector) => {
  const video = document.querySelector(selector);
  if (!video || !video.videoWidth || video.readyState < 2) return null;
  const width = video.videoWidth, height = video.videoHeight;
  const canvas = window.glass ||= document.createElement('canvas');
  canvas.width = width; canvas.height = height;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const wall = Date.now();
  context.drawImage(video, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  let luma = '';
  for (let at = 0; at < rgba.length; at += 4) luma += String.fromCharCode(16 + 0.257 * rgba[at] + 0.504 * rgba[at + 1] + 0.098 * rgba[at + 2]);
  return { wall: wall / 1000, width, height, luma: btoa(luma) };
}"""

FPS = 25
DAY_S = 86400.0


class Delays(NamedTuple):
    """Seconds behind the terminal's clock."""

    median: float
    p95: float
    most: float
    samples: int


def sample(page: Any, selector: str) -> tuple[float, float, int] | None:
    """(time of day of the look, of the clock in the picture, number of the picture); None while there is none."""
    seen = page.evaluate(SHOWN, selector)
    if seen is None:
        return None
    luma = base64.b64decode(seen["luma"])
    hours, minutes, seconds = read_clock(luma, seen["width"], seen["height"]).split(":")
    of_day = int(hours) * 3600 + int(minutes) * 60 + float(seconds) - local_utc_offset_s()
    wall = seen["wall"]
    clock = wall - (wall - of_day + DAY_S / 2) % DAY_S + DAY_S / 2  # of the day that is nearest
    return wall, clock, read_number(luma, seen["width"], seen["height"])


def watch(page: Any, selector: str, seconds: float, every: float = 0.25) -> Delays:
    """Look for so long."""
    looks: list[tuple[float, float, int]] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        look = sample(page, selector)
        if look is not None:
            looks.append(look)
        time.sleep(every)
    return judge(looks)


def judge(looks: list[tuple[float, float, int]]) -> Delays:
    """Of at least two looks."""
    # picture 0 was due not before the latest of these, since clocks are cut off; that is the earliest that fits all
    begun = max(clock - number / FPS for _, clock, number in looks)
    delays = [wall - begun - number / FPS for wall, _, number in looks]
    spread = begun - min(clock - number / FPS for _, clock, number in looks)
    if spread > 0.2:
        raise AssertionError(f"clock and number of the pictures do not fit together: {spread:.3f} s apart")
    return Delays(statistics.median(delays), statistics.quantiles(delays, n=20)[-1], max(delays), len(delays))
