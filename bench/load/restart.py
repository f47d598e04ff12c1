"""How long terminals are answered nothing when the relay restarts at SIGUSR2, with so many idle ones online.

    python bench/load/restart.py [TERMINALS [RESTARTS]]

One JSON line a restart: what the relay itself says, and the time from the signal to ``ready``. Python must be allowed to keep compiled files
(no PYTHONDONTWRITEBYTECODE), as an installation does; without them the start takes a second longer.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.e2e.support import Product, wait_for

PATIENCE_S = 180.0
BETWEEN_S = 3.0


def main() -> None:
    count, times = (int(word) for word in (sys.argv[1:] + ["1000", "3"][len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder, Product(Path(folder)) as relay:
        relay.terminal("013900000000", "--count", str(count), "--quiet", "--position-interval", "0", online=False)
        wait_for("everybody online", lambda: relay.process.output.count(" online from") >= count, PATIENCE_S)
        time.sleep(BETWEEN_S * 2)  # questions about themselves
        for number in range(1, times + 1):
            began = time.monotonic()
            relay.process.process.send_signal(signal.SIGUSR2)
            wait_for("ready again", lambda number=number: relay.process.output.count("#info] ready") == number + 1, PATIENCE_S)
            took = time.monotonic() - began
            found = re.findall(r"(\d+) TCP connections .* go on, (\d+) do not; nothing was answered for ([\d.]+) s", relay.process.output)[-1]
            figures = {"terminals": int(found[0]), "lost": int(found[1]), "gap_s": float(found[2]), "signal_to_ready_s": round(took, 2)}
            print(json.dumps({"name": "restart", **figures, "load": round(os.getloadavg()[0], 1)}), flush=True)
            time.sleep(BETWEEN_S)


if __name__ == "__main__":
    main()
