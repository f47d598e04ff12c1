"""Whether the next start would work, found out by a process of its own while this one goes on: the program, the configuration, the store, new listeners.

    python -m relay.app.rehearsal < question      faults, a line each, on standard output; status 0 = none, 1 = some, else it could not even begin

The question is JSON: ``config`` (or null), ``here``, ``held`` (listeners that are there already, as [kind, port]), ``log`` (a path, or null).
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from relay.errors import RelayError

LIMIT_S = 60.0  #: a start takes about two seconds; a machine that needs longer has other troubles
FAULTS_MAX = 20
LINE_MAX = 500


def question(config: str | None, here: Path, held: Sequence[tuple[str, int]], log: Path | None) -> bytes:
    """What the process is asked."""
    return json.dumps({"config": config, "here": str(here), "held": held, "log": str(log) if log is not None else None}).encode()


def ask(asked: bytes) -> list[str]:
    """Faults; runs the process, and blocks: for a thread."""
    words = [sys.executable, "-m", "relay.app.rehearsal"]
    try:
        done = subprocess.run(words, input=asked, capture_output=True, timeout=LIMIT_S, check=False)  # noqa: S603 - ourselves
    except subprocess.TimeoutExpired:
        return [f"a trial of the start took more than {LIMIT_S:g} s"]
    except OSError as problem:
        return [f"{sys.executable} cannot be run: {problem.strerror}"]
    if done.returncode == 0:
        return []
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 1 else []
    last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [f"status {done.returncode}"]
    return [line[:LINE_MAX] for line in lines or [f"the program does not run: {last[0]}"]][:FAULTS_MAX]


def rehearse(in_thread: Callable[..., Deferred[list[str]]], asked: bytes) -> Deferred[list[str]]:
    """The same without blocking."""
    return in_thread(ask, asked)


def faults_of(asked: dict[str, Any]) -> list[str]:
    """What is wrong; in the process."""
    importlib.import_module("relay.app.service")  # the whole program, or an error of it
    from relay.app.config import ConfigurationError, load
    from relay.app.listening import Listeners, Wanted
    from relay.app.ports import listeners
    from relay.store.database import connect

    found: list[str] = []
    if asked["log"] is not None:
        try:
            with open(asked["log"], "ab"):
                pass
        except OSError as problem:
            found.append(f"the log {asked['log']} cannot be written by user {os.geteuid()}: {problem.strerror}; give it to that user, with its directory")
    os.chdir(asked["here"])
    try:
        settings = load(asked["config"], here=Path(asked["here"])).settings
    except ConfigurationError as problem:
        return [f"{problem.source}: {fault}" for fault in problem.faults]
    held = {(kind, port) for kind, port in asked["held"]}
    for key, kind, host, port in listeners(settings):
        if (kind, port) in held:
            continue
        trial = Listeners()
        try:
            trial.bind([Wanted(key, kind, host, port)])
        except RelayError as problem:
            found.append(str(problem))
        trial.close_unadopted()
    try:
        connect(settings.store.url, settings.store.password, upto=0).close()
    except RelayError as problem:
        found.append(str(problem))
    return found


def main() -> int:
    """The process."""
    found = faults_of(json.load(sys.stdin))
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
