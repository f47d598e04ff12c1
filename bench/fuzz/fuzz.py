"""Fuzzes everything that takes bytes from outside: random, changed and spliced inputs, seeded from the vectors.

    python bench/fuzz/fuzz.py jt808 --seconds 60                 the plain loop; --processes 2, --count 50000000
    python bench/fuzz/fuzz.py jt808 --bulk --count 50000000      many inputs through one framer, one change each (jt808, jt809, jt1078)
    python bench/fuzz/fuzz.py jt809 --guided --seconds 60        keeps inputs that reach new code, and goes on from them (slower an input)
    python bench/fuzz/fuzz.py jt1078 --atheris -- -max_total_time=60      the same by libFuzzer, when the package atheris is installed
    python bench/fuzz/fuzz.py jt808 --input FILE                 one input again
    python bench/fuzz/fuzz.py all --seconds 20

It fails (exit status 1) on any exception but the library's own, when memory grows, when an input takes long for its size, or when four times the bytes take
much more than four times the time on patterns made for it. What was found is printed with the seed that repeats it, and the input is written beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]

#: inputs made from one generator: a failure is repeated by (seed, batch, place)
BATCH = 1000
#: growth of the process that is no leak: caches of plans and compiled patterns fill during the first inputs
MEMORY_MAX = 24 << 20
#: CPU time for one input, and for each of its bytes: some hundred times what it should be
SLOW_S, SLOW_PER_BYTE_S = 0.2, 50e-6
#: sizes for the check that time is linear, and how much more than linear is noise
LINEAR = (1 << 16, 1 << 18)
LINEAR_MAX = 3.0


def resident() -> int:
    """Bytes of the process in memory."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Found(Exception):
    """Something for a person to look at."""

    def __init__(self, what: str, data: bytes, place: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.data = data
        self.place = place

    @property
    def key(self) -> str:
        """The same for the same fault: where it was raised, without the values."""
        lines = [line.strip() for line in self.what.splitlines()]
        where = [line for line in lines if line.startswith("File ")][-1:] or [re.sub(r"[0-9.]+", "", self.what)]
        return f"{where[0]} {re.sub('[0-9]+', '', lines[-1])[:60]}"


def attempt(target: Any, data: bytes, place: str = "") -> None:
    """One input."""
    begun = time.process_time()
    try:
        target.run(data)
    except Exception:
        raise Found(traceback.format_exc(), data, place) from None
    taken = time.process_time() - begun
    if taken > SLOW_S + SLOW_PER_BYTE_S * len(data):
        raise Found(f"{taken:.3f} s for {len(data)} bytes", data, place)


class Ledger:
    """What was found: each fault once, the rest of them counted."""

    LIMIT = 20  #: different faults; then it is time to mend some

    def __init__(self, name: str, out: Path, going_on: bool) -> None:
        self.name = name
        self.out = out
        self.going_on = going_on
        self.counts: dict[str, int] = {}

    def take(self, found: Found) -> None:
        """Tell of a new one; ends the run unless it is to go on."""
        new = found.key not in self.counts
        self.counts[found.key] = self.counts.get(found.key, 0) + 1
        if new:
            report(self.name, found, self.out)
        if not self.going_on or len(self.counts) >= self.LIMIT:
            raise Over


class Over(Exception):
    """Enough was found."""


def plain(target: Any, ledger: Ledger, seed: int, count: int, seconds: float) -> int:
    """Inputs one after another; how many there were."""
    end = time.monotonic() + seconds if seconds else float("inf")
    done = 0
    base = 0
    for batch in range(sys.maxsize):
        chance = Random(f"{seed}/{batch}")
        for place in range(BATCH):
            try:
                attempt(target, target.make(chance), f"--seed {seed}, batch {batch}, input {place}")
            except Found as found:
                ledger.take(found)
        done += BATCH
        if batch == 20:
            base = resident()
        elif batch > 20 and resident() - base > MEMORY_MAX:
            ledger.take(Found(f"memory grew from {base >> 20} to {resident() >> 20} MiB within {done} inputs", b"", f"--seed {seed}"))
            base = resident()
        if done >= count or time.monotonic() >= end:
            return done
    return done


def bulk(target: Any, ledger: Ledger, seed: int, count: int, seconds: float) -> int:
    """Many inputs behind one another through one framer, as on a real connection, and so ten times as many in the same time."""
    end = time.monotonic() + seconds if seconds else float("inf")
    done = base = 0
    target.dump_every = 1024
    for batch in range(sys.maxsize):
        chance = Random(f"{seed}/bulk/{batch}")
        for place in range(BATCH):
            inputs = target.make_many(chance)
            done += len(inputs)
            stream = b"".join(inputs)
            begun = time.process_time()
            try:
                target.run_many(stream)
            except Exception:
                ledger.take(Found(traceback.format_exc(), stream, f"--bulk --seed {seed}, batch {batch}, stream {place}"))
            taken = time.process_time() - begun
            if taken > SLOW_S + SLOW_PER_BYTE_S * len(stream):
                ledger.take(Found(f"{taken:.3f} s for {len(stream)} bytes", stream, f"--bulk --seed {seed}, batch {batch}, stream {place}"))
            if not place % 50 and (done >= count or time.monotonic() >= end):
                return done
        if batch == 2:
            base = resident()
        elif batch > 2 and resident() - base > MEMORY_MAX:
            ledger.take(Found(f"memory grew from {base >> 20} to {resident() >> 20} MiB within {done} inputs", b"", f"--bulk --seed {seed}"))
            base = resident()
        print(json.dumps({"target": ledger.name, "inputs": done, "memory_mib": resident() >> 20}), file=sys.stderr, flush=True)
    return done


def guided(target: Any, ledger: Ledger, seed: int, count: int, seconds: float) -> tuple[int, int, int]:
    """Inputs that reach new code become seeds: (inputs, kept, steps between lines reached)."""
    from mutate import change

    end = time.monotonic() + seconds if seconds else float("inf")
    reached: set[int] = set()
    package = str(HERE.parent.parent / "relay") + os.sep
    inside: dict[Any, bool] = {}
    fresh: list[int] = []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        code = frame.f_code
        known = inside.get(code)
        if known is None:
            known = inside[code] = code.co_filename.startswith(package)
        if not known:
            return None
        last = 0

        def line(frame: Any, event: str, argument: Any) -> Any:
            nonlocal last
            edge = hash((code, last, frame.f_lineno))
            last = frame.f_lineno
            if edge not in reached:
                reached.add(edge)
                fresh.append(edge)
            return line

        return line

    def traced(data: bytes, place: str) -> bool:
        fresh.clear()
        sys.settrace(trace)
        try:
            target.run(data)
        except Exception:
            sys.settrace(None)
            ledger.take(Found(traceback.format_exc(), data, place))
        finally:
            sys.settrace(None)
        return bool(fresh)

    corpus = []
    done = 0
    for data in target.seeds:
        if traced(data, "a seed"):
            corpus.append(data)
    chance = Random(f"{seed}/guided")
    while done < count and time.monotonic() < end:
        done += 1
        data = target.make(chance) if not corpus or chance.random() < 0.5 else change(chance, chance.choice(corpus), corpus, chance.choice((1, 1, 2, 4)))
        if len(data) <= 1 << 14 and traced(data, f"--guided --seed {seed}, input {done}"):
            corpus.append(data)
    return done, len(corpus), len(reached)


def linear(target: Any) -> Iterator[dict[str, Any]]:
    """Four times the bytes take four times the time, about: in one portion and in many."""
    from targets import STEP

    for pattern in target.patterns:
        for step in (1 << 20, 1000):
            STEP[0] = step
            times = [_least(target, (pattern * (size // len(pattern) + 1))[:size]) for size in LINEAR]
            STEP[0] = 0
            ratio = times[1] / max(times[0], 1e-3) / (LINEAR[1] / LINEAR[0])
            yield {"pattern": pattern.hex(), "portions": step, "ms": round(times[1] * 1000, 2), "ratio": round(ratio, 2)}
            if ratio > LINEAR_MAX and times[1] > 0.05:
                what = f"{times[0] * 1000:.1f} ms for {LINEAR[0]} bytes, {times[1] * 1000:.1f} ms for {LINEAR[1]} in portions of {step}"
                raise Found(f"time is not linear on {pattern!r}: {what}", pattern)


def _least(target: Any, data: bytes) -> float:
    best = float("inf")
    for _ in range(3):
        begun = time.process_time()
        try:
            target.run(data)
        except Exception:
            raise Found(traceback.format_exc(), data, "a pattern") from None
        best = min(best, time.process_time() - begun)
    return best


def work(name: str, vectors: Path, seed: int, args: argparse.Namespace, out: Path) -> int:
    """One process: everything for one target; 1 if something was found."""
    from targets import TARGETS

    target = TARGETS[name](vectors)
    begun, busy = time.monotonic(), time.process_time()
    line: dict[str, Any] = {"target": name, "seed": seed, "seeds": len(target.seeds)}
    ledger = Ledger(name, out, args.keep_going)
    try:
        try:
            if not args.bulk:
                line["worst_ratio"] = max(linear(target), key=lambda one: one["ratio"], default=None)
        except Found as found:
            ledger.take(found)
        if args.guided:
            line["inputs"], line["corpus"], line["edges"] = guided(target, ledger, seed, args.count, args.seconds)
        else:
            before = resident()
            line["inputs"] = (bulk if args.bulk else plain)(target, ledger, seed, args.count, args.seconds)
            line["memory_mib"] = [before >> 20, resident() >> 20]
    except Over:
        return 1
    line["seconds"] = round(time.monotonic() - begun, 1)
    line["us_an_input"] = round((time.process_time() - busy) / max(line["inputs"], 1) * 1e6, 1)
    if ledger.counts:
        line["found"] = ledger.counts
    print(json.dumps(line), flush=True)
    return int(bool(ledger.counts))


def report(name: str, found: Found, out: Path) -> None:
    """Say it, and keep the input."""
    path = out / f"fuzz-{name}-{abs(hash(found.data)) % 10**8:08d}.bin"
    path.write_bytes(found.data)
    print(f"{name}: {found.what}\n{found.place}\ninput ({len(found.data)} bytes, in {path}): {found.data.hex()[:2000]}", file=sys.stderr, flush=True)


def by_atheris(name: str, vectors: Path, rest: list[str]) -> int:
    """libFuzzer's way; does not return when something is found."""
    try:
        import atheris
    except ImportError:
        print("the package atheris is not installed: pip install atheris (CPython 3.11 to 3.13 on Linux), or use --guided", file=sys.stderr)
        return 1
    with atheris.instrument_imports(include=["relay"]):
        from targets import TARGETS
    target = TARGETS[name](vectors)
    target.dump_every = 16
    corpus = Path(f"fuzz-corpus-{name}")
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *rest, str(corpus)], target.run)
    atheris.Fuzz()
    return 0


def main() -> int:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", help="what to fuzz, or all; a wrong name lists them")
    parser.add_argument("--seconds", type=float, default=0, help="how long, a target")
    parser.add_argument("--count", type=int, default=0, help="how many inputs, a process")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--vectors", type=Path, default=Path(os.environ.get("JT1078RELAY_SHARED", HERE.parent.parent.parent / "shared")) / "vectors")
    parser.add_argument("--out", type=Path, default=Path(), help="where findings are written (default: here)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first finding; tell of each fault once")
    parser.add_argument("--input", type=Path, help="run one input")
    parser.add_argument("--bulk", action="store_true", help="many inputs through one framer (jt808, jt809, jt1078)")
    parser.add_argument("--guided", action="store_true", help="guided by the lines that are reached")
    parser.add_argument("--atheris", action="store_true", help="by atheris (libFuzzer); its own options behind --")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    args = parser.parse_args(words[:cut])
    if args.atheris:
        return by_atheris(args.target, args.vectors, words[cut + 1 :])
    from targets import TARGETS

    names = list(TARGETS) if args.target == "all" else [args.target]
    if not set(names) <= set(TARGETS):
        parser.error(f"targets: all, {', '.join(TARGETS)}")
    if args.input is not None:
        TARGETS[args.target](args.vectors).run(args.input.read_bytes())
        return 0
    if not args.seconds and not args.count:
        args.seconds = 30
    args.count = args.count or sys.maxsize
    status = 0
    for name in names:
        children = []
        for number in range(1, args.processes):
            child = os.fork()
            if not child:
                os._exit(work(name, args.vectors, args.seed + number, args, args.out))
            children.append(child)
        status |= work(name, args.vectors, args.seed, args, args.out)
        for child in children:
            status |= os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status


if __name__ == "__main__":
    sys.exit(main())
