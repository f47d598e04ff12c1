"""The conformance self-test: a relay, two simulated terminals and two simulated superior platforms in this process, each on real connections over
loopback; what one side sent is compared with what the other received. One process, so that one clock measures and nothing has to be told twice.

    superior "plain"      JT/T 809-2011, in plain           its own vehicle: a terminal of 2013
    superior "encrypted"  JT/T 809-2019, encrypted bodies   its own vehicle: a terminal of 2019; both get both vehicles' positions

``selftest_steps`` has the steps, ``selftest_report`` what is written.
"""

# mypy: disallow-untyped-calls=False
# (twisted.application carries no annotations)

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, TimeoutError, ensureDeferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from relay.app.config import Loaded
from relay.app.demo import LOOPBACK, demo_settings
from relay.app.listening import FreePorts
from relay.app.ports import MANY, listeners
from relay.app.selftest_report import Figure, Report, Result
from relay.app.service import Relay
from relay.errors import RelayError
from relay.jt808.header import Header
from relay.jt808.messages.base import Body
from relay.jt808.messages.location import LocationReport
from relay.jt808.messages.video import Resource, ResourceList
from relay.jt809.cipher import CipherKeys
from relay.settings import Settings, Superior
from relay.sim.faults import Faults
from relay.sim.options import TerminalOptions
from relay.sim.sources import PatternSource, Unit
from relay.sim.superior import SimulatedSuperior, SuperiorOptions
from relay.sim.superior_asks import Asks
from relay.sim.terminal import SimulatedTerminal

log = Logger(namespace="relay.app")

KEYS = CipherKeys(30000000, 20000000, 20000000)
PLATFORM = "44030012345"
POSITION_S = 1.0  #: between positions: their times have seconds
UPLOAD_RATE = 1_500_000  #: bytes a second of a terminal's upload, so that there is time to pause one
COLOR = 2
START_S = 20.0
WARM_MS = 200  #: of each channel's card
LIVE_ANSWER_MS, FIRST_BYTE_MS = 100.0, 1000.0


class SelfTestError(RelayError):
    """What was to happen did not."""


class WitnessSource(PatternSource):
    """The test card; knows what it gave, so that it can be compared with what came."""

    def __init__(self, phone: str, seconds: Callable[[], float]) -> None:
        super().__init__(phone)
        self._seconds = seconds
        self.given: dict[int, list[tuple[int, int, int]]] = {}  #: by channel: (payload type, data type, hash of the body), in order
        self.key_at: dict[int, float] = {}  #: by channel: when the first key frame after the last opening was given

    def warm(self, channel: int) -> None:
        """Draw a channel's first pictures once: the card is made in this process, and a camera's encoder takes none of the relay's time."""
        wall = time.time()
        for unit in super().open(channel, True, wall):
            if unit.at_ms > WARM_MS:
                return

    def forget(self, channel: int) -> None:
        """From now on anew."""
        self.given[channel] = []
        self.key_at.pop(channel, None)

    def open(self, channel: int, sub: bool, wall: float) -> Iterator[Unit]:
        given = self.given.setdefault(channel, [])
        for unit in super().open(channel, sub, wall):
            if unit.data_type == 0:
                self.key_at.setdefault(channel, self._seconds())
            given.append((unit.pt, unit.data_type, hash(unit.body)))
            yield unit


class Witness(SimulatedTerminal):
    """A terminal that remembers what it sent."""

    __slots__ = ("catalogue", "positions", "witness")

    def __init__(self, phone: str, reactor: Any, options: TerminalOptions) -> None:
        self.witness = WitnessSource(phone, reactor.seconds)
        super().__init__(phone, reactor, options, source=self.witness)
        self.positions: list[LocationReport] = []
        self.catalogue: list[Resource] = []  #: of the last 0x1205

    def send(self, message: Body) -> None:
        if isinstance(message, LocationReport) and self.session is not None:
            self.positions.append(message)
        super().send(message)

    def reply(self, header: Header, message: Body) -> None:
        if isinstance(message, ResourceList):
            self.catalogue = list(message.resources)
        super().reply(header, message)


class Side:
    """One superior platform and the vehicle that it asks for."""

    def __init__(self, name: str, superior: SimulatedSuperior, terminal: Witness) -> None:
        self.name = name
        self.superior = superior
        self.terminal = terminal
        self.asks = Asks(superior, terminal.plate, COLOR, timeout_s=15.0)
        self.port = 0  #: of its main-link server

    @property
    def vehicle(self) -> tuple[str, int]:
        """Plate and colour."""
        return self.terminal.plate, COLOR


class Bench:
    """Everybody who takes part."""

    def __init__(self, reactor: Any, folder: Path) -> None:
        self.reactor = reactor
        self.folder = folder
        plain = SimulatedSuperior(reactor, SuperiorOptions(access_code=44030001, heartbeat_s=1.0))
        encrypted = SimulatedSuperior(reactor, SuperiorOptions(access_code=44030002, edition=2019, encrypt=True, keys=KEYS, heartbeat_s=1.0))
        ports = plain.listen(), encrypted.listen()
        self.settings = self._settings(ports)
        self.relay = Relay(lambda: Loaded(self.settings, None, "configuration: the self-test's, on 127.0.0.1"), reactor)
        self.terminals: list[Witness] = []
        port = self.settings.terminals.tcp_port
        for number, edition in ((1, 2013), (2, 2019)):
            options = TerminalOptions(
                port=port, edition=edition, position_s=POSITION_S, heartbeat_s=5.0, recordings=4, faults=Faults({"upload-rate": float(UPLOAD_RATE)})
            )
            self.terminals.append(Witness(f"{13_900_138_000 + number:012d}", reactor, options))
        self.sides = [Side("plain", plain, self.terminals[0]), Side("encrypted", encrypted, self.terminals[1])]
        for side, bound in zip(self.sides, ports, strict=True):
            side.port = bound
        self.figures = [
            Figure("live_answer", "实时音视频请求应答时间 0x9801 → 0x1801", "live request to its answer", LIVE_ANSWER_MS),
            Figure("first_byte", "终端首个关键帧 → 上级播放器首字节", "terminal's first key frame to the first byte at the superior's player", FIRST_BYTE_MS),
        ]

    def _settings(self, ports: tuple[int, int]) -> Settings:
        with FreePorts() as free:
            settings = demo_settings(self.folder, free)
            settings = replace(settings, media=replace(settings.media, talk_extra_ports="", idle_stop_s=0.5))
            for key, kind, host, _ in listeners(settings):
                section, _, name = key.partition(".")
                if key != MANY and "." not in name and hasattr(settings, section):
                    settings = replace(settings, **{section: replace(getattr(settings, section), **{name: free.port(host, kind)})})
            settings = replace(settings, http=replace(settings.http, platform_port=free.port(LOOPBACK, "tcp")))
            sublink_port = free.port(LOOPBACK, "tcp")
        shared = Superior(
            name="plain", host=LOOPBACK, port=ports[0], access_code=44030001, user_id=10001, password="12345678", platform_id=PLATFORM,  # noqa: S106
            sublink_host=LOOPBACK, sublink_advertise=LOOPBACK, sublink_port=sublink_port, heartbeat_s=1.0, reconnect_s=0.3,
            reconnect_max_s=1.0, post_query_rules=("*在岗* => 在岗",), responder="自检",
        )  # fmt: skip
        other = replace(
            shared, name="encrypted", port=ports[1], access_code=44030002, edition=2019, encrypt=True, m1=KEYS.m1, ia1=KEYS.ia1, ic1=KEYS.ic1
        )
        return replace(settings, superior=(shared, other))

    def state(self, side: Side) -> Any:
        """The relay's own view of a superior."""
        found = self.parts.superiors.get(side.name)
        if found is None:  # pragma: no cover - it is configured above
            raise SelfTestError(f"the relay does not know {side.name}")
        return found

    @property
    def parts(self) -> Any:
        """The relay's."""
        return self.relay.parts

    async def until(self, condition: Callable[[], Any], what: str, seconds: float = 10.0) -> Any:
        """Wait for something; its value. Raises SelfTestError."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise SelfTestError(f"not within {seconds:g} s: {what}")
            await deferLater(self.reactor, 0.02)
        return found

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await deferLater(self.reactor, seconds)

    async def start(self) -> None:
        """Everybody is there."""
        for terminal in self.terminals:
            for channel in terminal.options.channels:
                terminal.witness.warm(channel)
        ready: Deferred[Any] = Deferred()
        self.relay.on_ready.append(ready.callback)
        self.relay.privilegedStartService()
        self.relay.startService()
        await ready.addTimeout(START_S, self.reactor)
        for terminal in self.terminals:
            terminal.start()
        await self.until(lambda: all(terminal.online for terminal in self.terminals), "the terminals are online", START_S)

    async def stop(self) -> None:
        """End everything, whatever is left of it."""
        await DeferredList([terminal.stop() for terminal in self.terminals], consumeErrors=True)
        await self.relay.stopService()
        for side in self.sides:
            await side.superior.stop()


class SelfTest:
    """One run: ``report = await SelfTest(reactor, folder, say).run()``. ``say`` gets a line for each step as it is done."""

    def __init__(self, reactor: Any, folder: Path, say: Callable[[str], None]) -> None:
        self.reactor = reactor
        self.folder = folder
        self.say = say
        self._why = ""
        self._running: list[Deferred[None]] = []

    def stop(self, why: str) -> None:
        """End the run before its end; what is left of it is cleared away, and the report says why."""
        self._why = self._why or why
        for running in self._running:
            running.cancel()

    async def run(self) -> Report:
        """Everything, in order; a step that fails does not keep the next one from being tried."""
        from relay.app.selftest_steps import STEPS

        began = time.monotonic()
        bench = Bench(self.reactor, self.folder)
        report = Report(datetime.now(UTC), figures=bench.figures)
        report.parties = [
            f"下级平台 jt1078relay · {LOOPBACK}",
            *(f"终端 terminal {one.phone} · {one.plate} · JT/T 808-{one.options.edition}" for one in bench.terminals),
            *(
                f"上级平台 superior {side.name} · JT/T 809-{options.edition} · {'加密 encrypted' if options.encrypt else '明文 plain'}"
                for side in bench.sides
                for options in (side.superior.options,)
            ),
        ]
        try:
            await bench.start()
            for step in STEPS:
                if self._why:
                    break
                results = [Result(step.id, step.zh, step.en, step.messages, side.name) for side in bench.sides]
                runs = [self._one(step, bench, side, result) for side, result in zip(bench.sides, results, strict=True)]
                report.results += results
                self._running = [] if step.alone else [ensureDeferred(run) for run in runs]
                if step.alone:
                    for run in runs:
                        self._running = [ensureDeferred(run)]
                        await self._running[0]
                else:
                    await DeferredList(self._running)
        except (RelayError, TimeoutError, OSError) as problem:
            report.problem = str(problem) or type(problem).__name__
        finally:
            await bench.stop()
        report.problem = report.problem or self._why
        if report.problem:
            self.say(f"✗ {report.problem}")
        report.seconds = time.monotonic() - began
        return report

    async def _one(self, step: Any, bench: Bench, side: Side, result: Result) -> None:
        began = time.monotonic()
        try:
            if self._why:
                raise CancelledError
            await ensureDeferred(step.run(bench, side, result)).addTimeout(step.limit_s, self.reactor)
        except TimeoutError:
            result.problem = f"not done within {step.limit_s:g} s"
        except CancelledError:
            result.problem = self._why
        except (RelayError, OSError) as problem:
            result.problem = str(problem) or type(problem).__name__
        except Exception as problem:
            log.failure("self-test: step {step} broke", step=step.id)
            result.problem = f"the self-test itself broke: {type(problem).__name__}: {problem}"
        result.seconds = time.monotonic() - began
        bad = [f"{check.en}: {check.sent} ≠ {check.received}" for check in result.checks if not check.ok]
        why = "".join(f"\n    {line}" for line in ([result.problem] if result.problem else []) + bad)
        self.say(f"{'✓' if result.ok else '✗'} {result.zh} {result.en} · {side.name} · {len(result.checks)} · {result.seconds:.1f} s{why}")
