"""Live on demand against the real hub: starts, joins, failures by hop, arbitration, recovery, stops that are watched."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from twisted.internet.defer import CancelledError

from relay.codec.frame import AUDIO, VIDEO, AudioConfig, Frame, VideoConfig
from relay.core.admission import Admission, host_of
from relay.core.alias import Resolver, split_color
from relay.core.live import Live, MediaPorts
from relay.core.live_channel import State
from relay.core.live_failure import StartFailed
from relay.core.live_lease import Lease
from relay.core.live_stop import Judgement, StopWatch
from relay.hub.formats import Options
from relay.hub.merge import Merge
from relay.hub.registry import Refusal, Registry
from relay.hub.stream import Stream
from relay.identity import StreamKey
from relay.jt808.messages.parameters import ParametersResponse
from relay.jt808.messages.video import RealtimeAvControl, RealtimeAvRequest, RealtimeAvStatus
from relay.jt808.params import AvChannel, AvChannels
from relay.settings import Media
from relay.store.terminals import KnownTerminal
from tests.core.fakes import PHONE, SIM, WALL, Device, Rows, World

H264 = VideoConfig("h264", (b"sps", b"pps"), b"record", 704, 576, "avc1.4D0014")
G711 = AudioConfig("g711a", 8000, 1)
KEY = StreamKey(SIM, 1, "live")
BOTH = MediaPorts(1078, 1079)


class Raw(NamedTuple):
    """What a listener would bring, already a frame."""

    frame: Frame


class Ingest:
    has_picture = False

    def push(self, raw: Raw, now: float) -> list[Frame]:
        return [raw.frame]

    def restart(self, now: float) -> None: ...


class Source:
    """A media connection of one channel."""

    def __init__(self, site: Site, sim: str = PHONE, channel: int = 1, peer: str = "10.0.0.7:50000", kind: str = "live", transport: str = "tcp") -> None:
        self.site = site
        self.peer = peer
        self.transport = transport
        self.closed = ""
        self.dts = 0
        self.answer: Stream | Refusal = site.registry.connect(kind, sim, channel, self)

    @property
    def stream(self) -> Stream:
        assert isinstance(self.answer, Stream), self.answer
        return self.answer

    @property
    def refusal(self) -> str:
        assert isinstance(self.answer, Refusal)
        return self.answer.reason

    def close(self, reason: str) -> None:
        self.closed = reason

    def send(self, key: bool = True, kind: int = VIDEO, lost: int = 0) -> None:
        if self.closed:
            return
        self.dts += 40
        config: Any = H264 if kind == VIDEO else G711
        frame = Frame(kind, self.dts, self.dts, key or kind == AUDIO, b"\0\0\0\1x", config, 160, self.site.clock.seconds())
        self.stream.lost_packets += lost
        self.stream.feed([Raw(frame)], self.site.clock.seconds(), 1, 100)  # type: ignore[list-item]

    def lose(self, cause: str = "connection closed by the terminal") -> None:
        self.stream.source_lost(self, cause)


class Names:
    """The store's look-up by name."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def resolve(self, name: str) -> Any:
        for row in self._rows.rows.values():
            if name in (row.alias, row.plate) or row.key == name.lstrip("0"):
                return self._rows._answer(row)
        return self._rows._answer(None)


class Site(World):
    """Terminals, hub and live channels."""

    def __init__(self, rows: Rows | None = None, ports: MediaPorts = BOTH, **media: Any) -> None:
        super().__init__(rows, registration=media.pop("registration", "known"))
        loss = media.pop("loss_report_s", 0.0)
        media.setdefault("advertise", "203.0.113.10")
        settings = Media(**media)
        self.registry = Registry(self.clock, Options(), Merge(self.clock, 0), lambda key: Ingest())
        self.resolver = Resolver(self.terminals, Names(self.rows))
        self.admission = Admission(self.terminals, self.resolver, self.clock, self.events, settings.unrequested)
        self.live = Live(
            settings, self.registry, self.terminals, self.resolver, self.admission, self.clock, self.events, lambda: WALL + self.clock.seconds(),
            ports, loss,
        )  # fmt: skip

    def acquire(self, name: str = PHONE, channel: int = 1, **more: Any) -> Wish:
        return Wish(self, self.live.acquire(name, channel, **more))

    def state(self, channel: int = 1) -> State:
        machine = self.live.channel(SIM, channel)
        assert machine is not None
        return machine.state

    def run(self, seconds: float, *sources: Source, step: float = 0.5) -> None:
        """Time passes while these send."""
        for _ in range(int(seconds / step)):
            self.clock.advance(step)
            for source in sources:
                source.send()

    def events_named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.told if event["event"] == name]


class Wish:
    """An acquire and what became of it."""

    def __init__(self, site: Site, waiting: Any) -> None:
        self.waiting = waiting
        self.lease: Lease | None = None
        self.problem: BaseException | None = None
        self.ended: list[str] = []
        waiting.addCallbacks(self._got, lambda failure: setattr(self, "problem", failure.value))

    def _got(self, lease: Lease) -> None:
        self.lease = lease
        lease.on_ended = self.ended.append

    @property
    def failed(self) -> StartFailed:
        assert isinstance(self.problem, StartFailed), self.problem
        return self.problem

    @property
    def pending(self) -> bool:
        return self.lease is None and self.problem is None

    def release(self) -> None:
        assert self.lease is not None
        self.lease.release()


def settled(device: Device) -> Device:
    """Past the questions a terminal is asked about itself."""
    device.world.clock.pump([1.0] * 40)
    device.send(0x0002)
    device.read()
    return device


def began(site: Site, device: Device, channel: int = 1, **more: Any) -> tuple[Wish, Source]:
    """A channel that runs, and its first lease."""
    wish = site.acquire(channel=channel, **more)
    [(header, _)] = device.commands()
    device.answer(header)
    source = Source(site, channel=channel)
    source.send()
    assert wish.lease is not None
    return wish, source


@pytest.fixture
def site() -> Any:
    made = Site()
    yield made
    made.live.close()
    made.registry.close()
    made.terminals.close()
    assert [call for call in made.clock.getDelayedCalls() if call.active()] == []


@pytest.fixture
def device(site: Site) -> Device:
    return settled(site.online())


# ---- starting ---------------------------------------------------------------------------------------------------------


def test_a_start_from_the_request_to_the_first_byte(site, device):
    hops = []
    wish = site.acquire(purpose="viewer", who="anna", watch=lambda hop, ms: hops.append((hop, ms)))
    assert site.state() is State.REQUESTING
    [(header, request)] = device.commands()
    assert request == RealtimeAvRequest(server_ip="203.0.113.10", tcp_port=1078, udp_port=0, channel=1, data_type=0, stream_type=1)
    site.clock.advance(0.05)
    device.answer(header)
    site.clock.advance(0.05)
    source = Source(site)
    assert source.stream.requested
    assert wish.pending
    site.clock.advance(0.1)
    source.send()
    assert wish.lease is not None
    assert wish.lease.stream is source.stream
    assert site.state() is State.RUNNING
    site.clock.advance(0.01)
    wish.lease.first_byte()
    assert hops == [
        ("requested", 0), ("sent", 0), ("answered", 50), ("connected", 100), ("first_packet", 100), ("first_key_frame", 200), ("first_byte", 210),
    ]  # fmt: skip
    [trace] = site.live.traces(SIM, 1)
    assert [hop["hop"] for hop in trace["hops"]] == [hop for hop, _ in hops]
    assert (trace["missing"], trace["failure"], trace["purpose"], trace["stream"]) == ("", "", "viewer", "sub")
    assert site.events_named("stream.started")[0]["codec"].startswith("h264")


def test_media_may_overtake_the_answer(site, device):
    wish = site.acquire()
    [(header, _)] = device.commands()
    source = Source(site)
    source.send()
    assert wish.lease is not None
    device.answer(header)
    assert wish.lease.trace.reached("answered")
    assert wish.lease.trace.missing == "first_byte"


def test_many_share_one_request(site, device):
    wishes = [site.acquire(who=str(i)) for i in range(5)]
    assert len(device.commands()) == 1
    source = Source(site)
    assert all(wish.pending for wish in wishes)
    source.send()
    assert {wish.lease.stream for wish in wishes} == {source.stream}
    late = site.acquire()
    assert late.lease is not None
    assert late.lease.trace is None
    assert device.commands() == []


@pytest.mark.parametrize("name", [PHONE, SIM, "00000000013800138000", "粤B12345", "粤B12345.1", "粤B12345_1", "粤B·12345", " 13800138000 "])
def test_any_of_its_names_will_do(site, device, name):
    assert site.acquire(name).pending
    assert len(device.commands()) == 1


def test_an_alias_will_do():
    site = Site(Rows(KnownTerminal(phone=PHONE, alias="bus-17")))
    device = settled(site.online())
    assert site.acquire("bus-17").pending
    assert len(device.commands()) == 1


@pytest.mark.parametrize(("name", "expected"), [("粤B12345.1", ("粤B12345", 1)), ("粤B12345", ("粤B12345", None)), ("a.b", ("a.b", None)), ("x_94", ("x", 94))])
def test_plate_and_colour(name, expected):
    assert split_color(name) == expected


def test_the_wrong_colour_names_nobody(site, device):
    assert site.acquire("粤B12345.2").failed.code == "unknown_terminal"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"advertise": ""}, ("192.0.2.1", 1078, 0)),
        ({"prefer": "udp"}, ("203.0.113.10", 0, 1079)),
        ({"prefer": "udp", "ports": MediaPorts(4000, 0)}, ("203.0.113.10", 4000, 0)),
        ({"ports": MediaPorts(0, 4001)}, ("203.0.113.10", 0, 4001)),
    ],
)
def test_the_address_told(settings, expected):
    site = Site(**settings)
    device = settled(site.online())
    site.acquire()
    [(_, request)] = device.commands()
    assert (request.server_ip, request.tcp_port, request.udp_port) == expected


def test_picture_alone_is_asked_for_when_nobody_wants_sound(site, device):
    site.acquire(media="v")
    [(_, request)] = device.commands()
    assert request.data_type == 1


def test_sound_alone_is_ready_with_the_first_sound(site, device):
    wish = site.acquire(media="a")
    source = Source(site)
    source.send(kind=AUDIO)
    assert wish.lease is not None
    assert wish.lease.stream is source.stream


def test_a_microphone_channel_is_ready_with_its_sound(site, device):
    wish = site.acquire(channel=36)
    Source(site, channel=36).send(kind=AUDIO)
    assert wish.lease is not None


def test_a_cancelled_wish_is_released(site, device):
    wish = site.acquire()
    wish.waiting.cancel()
    assert isinstance(wish.problem, CancelledError)
    assert site.state() is State.LINGERING
    site.clock.advance(15.0)
    assert site.state() is State.IDLE
    assert [message.KEY for _, message in device.commands()] == [0x9101, 0x9102]


# ---- failures, hop by hop -----------------------------------------------------------------------------------------------


def test_nobody_is_called_so(site, device):
    problem = site.acquire("13999999999").failed
    assert (problem.status, problem.code, problem.hop) == (404, "unknown_terminal", "requested")
    assert site.acquire("nonsense").failed.status == 404
    assert site.acquire("x" * 1000).failed.status == 404
    assert site.acquire("").failed.status == 404


def test_a_channel_that_the_terminal_does_not_have(site, device):
    assert site.acquire(channel=0).failed.code == "unknown_channel"
    assert site.acquire(channel=256).failed.code == "unknown_channel"
    rows = [AvChannel(physical_channel=1, logical_channel=n, channel_type=0, ptz_connected=0) for n in (1, 3)]
    device.say(ParametersResponse(reply_serial=9, params=[AvChannels(av_channel_count=2, audio_channel_count=0, video_channel_count=0, channels=rows)]))
    problem = site.acquire(channel=2).failed
    assert (problem.status, problem.code) == (404, "unknown_channel")
    assert "1, 3" in problem.hint
    assert site.acquire(channel=3).pending


def test_a_known_terminal_that_is_offline(site):
    problem = site.acquire().failed
    assert (problem.status, problem.code) == (503, "terminal_offline")


def test_offline_says_why_the_last_link_ended(site, device):
    device.link.lost("connection reset")
    assert "connection reset" in site.acquire().failed.message


@pytest.mark.parametrize(("result", "status", "word"), [(1, 409, "failed"), (2, 502, "message error"), (3, 502, "not supported")])
def test_the_terminal_refuses(site, device, result, status, word):
    wish, other = site.acquire(), site.acquire()
    [(header, _)] = device.commands()
    device.answer(header, result)
    for problem in (wish.failed, other.failed):
        assert (problem.status, problem.code, problem.hop) == (status, "refused_by_terminal", "answered")
        assert word in problem.message
    assert site.state() is State.IDLE
    assert device.commands() == []
    body = wish.failed.as_dict()
    assert body["error"] == "refused_by_terminal"
    assert [hop["hop"] for hop in body["trace"]["hops"]] == ["requested", "sent", "answered"]


def test_no_answer(site, device):
    wish = site.acquire()
    site.run(14.5)
    assert wish.pending
    site.run(0.5)
    problem = wish.failed
    assert (problem.status, problem.code, problem.hop) == (504, "no_answer", "answered")
    assert "15 s" in problem.message
    sent = [message for _, message in device.commands()]
    assert [message.KEY for message in sent] == [0x9101, 0x9102]
    assert site.events_named("stream.start_failed")[0]["code"] == "no_answer"
    assert site.state() is State.IDLE


def test_no_connection_hints_at_the_address():
    site = Site(advertise="192.168.1.10")
    device = settled(site.online(host="8.8.4.4"))
    wish = site.acquire(timeout_s=10.0)
    device.answer(device.commands()[0][0])
    site.run(10.0)
    problem = wish.failed
    assert (problem.status, problem.code, problem.hop) == (504, "no_media_connection", "connected")
    assert "192.168.1.10:1078" in problem.message
    assert "media.advertise" in problem.hint
    assert "private" in problem.hint


@pytest.mark.parametrize(("advertise", "hint"), [("127.0.0.1", "this machine itself"), ("203.0.113.10", "firewall"), ("media.example", "firewall")])
def test_other_hints(advertise, hint):
    site = Site(advertise=advertise)
    device = settled(site.online())
    wish = site.acquire(timeout_s=5.0)
    device.answer(device.commands()[0][0])
    site.run(5.0)
    assert hint in wish.failed.hint


def test_a_connection_without_packets(site, device):
    site.live.unidentified = lambda host: 1 if host == "10.0.0.7" else 0
    wish = site.acquire(timeout_s=5.0)
    device.answer(device.commands()[0][0])
    site.run(5.0)
    problem = wish.failed
    assert (problem.code, problem.hop) == ("no_packet", "first_packet")


def test_packets_without_a_key_frame(site, device):
    wish = site.acquire(timeout_s=5.0)
    source = Source(site)
    for _ in range(10):
        site.clock.advance(0.5)
        source.send(key=False)
    problem = wish.failed
    assert (problem.status, problem.code, problem.hop) == (504, "no_key_frame", "first_key_frame")
    assert "9 packets" in problem.message
    assert site.state() is State.LINGERING


def test_sound_where_a_picture_was_wanted(site, device):
    wish = site.acquire(media="v", timeout_s=5.0)
    source = Source(site)
    for _ in range(10):
        source.send(kind=AUDIO)
        site.clock.advance(0.5)
    assert wish.failed.code == "only_audio"


def test_sound_is_better_than_nothing(site, device):
    wish = site.acquire(media="av", timeout_s=5.0)
    source = Source(site)
    for _ in range(10):
        source.send(kind=AUDIO)
        site.clock.advance(0.5)
    assert wish.lease is not None


def test_media_of_another_sim_came(site, device):
    wish = site.acquire(timeout_s=5.0)
    wrong = Source(site, sim="013900139000", channel=2)
    assert wrong.refusal == "unknown"
    site.run(5.0)
    problem = wish.failed
    assert problem.code == "wrong_sim"
    assert "13900139000 channel 2" in problem.message
    assert any("13900139000" in note["note"] for note in problem.as_dict()["trace"]["notes"])


def test_no_port_and_no_address():
    site = Site(ports=MediaPorts(0, 0))
    settled(site.online())
    assert site.acquire().failed.code == "no_media_port"
    site = Site(advertise="")
    settled(site.online(local=""))
    assert site.acquire().failed.code == "no_media_address"


def test_too_many_streams():
    site = Site(connections_max=1)
    settled(site.online())
    assert site.acquire(channel=1).pending
    assert site.acquire(channel=2).failed.code == "too_many_streams"
    assert site.acquire(channel=1).pending


def test_waiters_have_their_own_patience(site, device):
    short, long = site.acquire(timeout_s=2.0), site.acquire(timeout_s=10.0)
    site.run(2.0)
    assert short.failed.code == "no_answer"
    assert site.state() is State.REQUESTING
    Source(site).send()
    assert long.lease is not None
    assert site.live.traces(SIM, 1)[0]["failure"] == ""


def test_the_link_is_lost_while_waiting_and_comes_back(site, device):
    wish = site.acquire()
    device.commands()
    device.link.lost("reset")
    site.clock.advance(3.0)
    again = site.device()
    assert again.authenticate(device.code) == 0
    sent = [message.KEY for _, message in again.commands()]
    assert sent == [0x9102, 0x9101]
    Source(site).send()
    assert wish.lease is not None


def test_the_link_is_lost_for_good(site, device):
    wish = site.acquire()
    device.link.lost("reset")
    site.run(15.0)
    assert wish.failed.code == "terminal_offline"
    assert "reset" in wish.failed.message


# ---- stopping -------------------------------------------------------------------------------------------------------------


def test_the_last_release_stops_after_a_while(site, device):
    wish, source = began(site, device)
    other = site.acquire()
    wish.release()
    site.run(20.0, source)
    assert site.state() is State.RUNNING
    other.release()
    assert site.state() is State.LINGERING
    site.run(14.5, source)
    assert device.commands() == []
    site.run(0.5, source)
    [(header, command)] = device.commands()
    assert command == RealtimeAvControl(channel=1, command=0, close_type=0, stream_type=0)
    assert site.state() is State.STOPPING
    device.answer(header)
    source.lose()
    assert site.state() is State.IDLE
    assert site.registry.get(KEY) is None
    assert site.events_named("stream.ended")[0]["reason"] == "stopped"


def test_a_viewer_in_time_keeps_it(site, device):
    wish, source = began(site, device)
    wish.release()
    site.run(14.0, source)
    again = site.acquire()
    assert again.lease is not None
    site.run(30.0, source)
    assert site.state() is State.RUNNING
    assert device.commands() == []


def test_silence_is_stopped_too(site, device):
    wish, source = began(site, device)
    wish.release()
    site.run(15.0, source)
    site.run(4.0)
    assert site.state() is State.IDLE
    assert source.closed == "stopped"


def test_a_terminal_that_goes_on_is_told_again_closed_and_raised(site, device):
    wish, source = began(site, device)
    wish.release()
    site.run(15.0, source)
    for header, _ in device.commands():
        device.answer(header)
    times = []
    start = site.clock.seconds()
    while site.state() is State.STOPPING:
        site.run(0.5, source)
        for header, message in device.commands():
            if message.KEY == 0x9102:
                times.append(round(site.clock.seconds() - start))
                device.answer(header)
    assert times == [5, 15, 35]  # the last one goes with the closing
    assert source.closed == "it did not stop when told to"
    [alarm] = site.events_named("stream.not_stopped")
    assert (alarm["sim"], alarm["channel"], alarm["told"]) == (SIM, 1, 3)
    assert site.state() is State.IDLE


def stubborn(site: Site, device: Device) -> None:
    wish, source = began(site, device)
    wish.release()
    site.run(60.0, source)
    assert site.state() is State.IDLE
    device.read()


def test_a_stubborn_terminal_that_comes_back_is_refused_and_raised_again(site, device):
    stubborn(site, device)
    site.run(30.0)
    assert Source(site).refusal == "stopping"
    assert len(site.events_named("stream.not_stopped")) == 1  # within a minute of the first
    site.run(30.0)
    assert Source(site).refusal == "stopping"
    assert len(site.events_named("stream.not_stopped")) == 2
    assert [message.KEY for _, message in device.commands()] == [0x9102]
    device.send(0x0002)
    site.clock.advance(100.0)
    device.send(0x0002)


def test_a_stubborn_terminal_is_welcome_when_somebody_wants_it(site, device):
    stubborn(site, device)
    wish = site.acquire()
    assert [message.KEY for _, message in device.commands()] == [0x9101]
    Source(site).send()
    assert wish.lease is not None


def test_wanted_again_while_stopping(site, device):
    wish, source = began(site, device)
    wish.release()
    site.run(15.0, source)
    assert site.state() is State.STOPPING
    again = site.acquire()
    assert source.closed == "wanted again"
    assert [message.KEY for _, message in device.commands()] == [0x9102, 0x9101]
    assert again.pending
    Source(site, peer="10.0.0.7:50001").send()
    assert again.lease is not None
    assert site.state() is State.RUNNING


def test_a_connection_that_comes_while_stopping_is_refused(site, device):
    wish, source = began(site, device)
    wish.release()
    site.run(15.0, source)
    source.stream.source_lost(source, "closed")
    assert site.state() is State.IDLE


def test_stopping_an_offline_terminal_closes_the_connection(site, device):
    wish, source = began(site, device)
    device.link.lost("reset")
    site.run(10.0, source)
    assert site.state() is State.RUNNING  # media goes on without signalling
    wish.release()
    site.run(15.0, source)
    assert site.state() is State.IDLE
    assert source.closed == "nobody watches"


def test_the_operator_stops_it_at_once(site, device):
    wish, source = began(site, device)
    waiting = site.acquire(channel=2)
    done = []
    site.live.stop(PHONE, 1).addCallback(done.append)
    site.live.stop(PHONE, 2).addCallback(done.append)
    site.live.stop(PHONE, 9).addCallback(done.append)
    assert done == [True, True, False]
    assert wish.ended == ["stopped by the operator"]
    assert waiting.failed.code == "stream_ended"
    source.lose()
    assert site.state() is State.IDLE


def test_idle_stop_zero_stops_at_once():
    site = Site(idle_stop_s=0.0)
    device = settled(site.online())
    wish, _ = began(site, device)
    wish.release()
    site.clock.advance(0.0)
    assert site.state() is State.STOPPING


@pytest.fixture
def called(site):
    """Channels on which a call is made: ``called.add(KEY)``."""
    keys = set()
    site.live.in_call = lambda key: key in keys
    return keys


def test_a_call_on_the_channel_is_not_ended_with_a_picture_that_nobody_watches(site, device, called):
    wish, source = began(site, device)
    called.add(KEY)
    wish.release()
    site.run(60.0, source)
    assert site.state() is State.LINGERING
    assert device.commands() == []
    called.clear()
    site.run(15.0, source)
    assert site.state() is State.STOPPING
    assert [message.KEY for _, message in device.commands()] == [0x9102]


def test_a_call_that_begins_while_it_stops_is_not_ended_by_a_second_0x9102(site, device, called):
    wish, source = began(site, device)
    wish.release()
    site.run(15.0, source)
    assert [message.KEY for _, message in device.commands()] == [0x9102]
    called.add(KEY)
    site.run(60.0, source)
    assert site.state() is State.STOPPING
    assert device.commands() == []
    called.clear()
    site.run(2.0, source)
    assert [message.KEY for _, message in device.commands()] == [0x9102]


def test_a_start_that_fails_or_is_repeated_ends_no_call(site, device, called):
    called.add(KEY)
    wish = site.acquire(timeout_s=20.0)
    site.run(16.0)
    assert [message.KEY for _, message in device.commands()] == [0x9101, 0x9101]  # without a 0x9102 before the second
    site.run(5.0)
    assert wish.failed is not None
    site.run(30.0)
    assert device.commands() == []
    called.clear()
    site.run(15.0)
    assert [message.KEY for _, message in device.commands()] == [0x9102]


def test_the_stop_watch_by_itself():
    watch = StopWatch()
    watch.begin(100.0, 50)
    watch.say(100.0)
    seen = []
    packets = 50
    for second in range(1, 60):
        packets += 1
        judgement = watch.look(100.0 + second, packets)
        if judgement is Judgement.AGAIN:
            watch.say(100.0 + second)
        if judgement is not Judgement.WAIT:
            seen.append((second, judgement))
        if judgement is Judgement.GIVE_UP:
            break
    assert seen == [(5, Judgement.AGAIN), (15, Judgement.AGAIN), (35, Judgement.GIVE_UP)]
    assert watch.stubborn(734.0)
    assert not watch.stubborn(735.0)
    watch.begin(200.0, 10)
    watch.say(200.0)
    assert watch.look(202.0, 10) is Judgement.WAIT
    assert watch.look(203.0, 10) is Judgement.QUIET


# ---- recovery ---------------------------------------------------------------------------------------------------------------


def test_a_broken_connection_is_asked_for_again_and_the_viewers_stay(site, device):
    wish, source = began(site, device)
    stream = source.stream
    source.lose("reset")
    assert site.state() is State.REQUESTING
    assert device.commands() == []
    site.run(2.0)
    assert [message.KEY for _, message in device.commands()] == [0x9102, 0x9101]
    again = Source(site, peer="10.0.0.7:50001")
    again.send()
    assert again.stream is stream
    assert wish.ended == []
    assert site.state() is State.RUNNING
    assert len(site.live.traces(SIM, 1)) == 2


def test_a_terminal_that_reconnects_by_itself_is_welcome(site, device):
    _, source = began(site, device)
    source.lose("reset")
    site.clock.advance(1.0)
    again = Source(site, peer="10.0.0.7:50001")
    assert again.stream is source.stream
    site.run(30.0, again)
    assert device.commands() == []
    assert site.state() is State.RUNNING


def test_even_where_nothing_unrequested_is_let_in():
    site = Site(unrequested="reject")
    device = settled(site.online())
    _, source = began(site, device)
    source.lose("reset")
    site.clock.advance(1.0)
    assert Source(site, peer="10.0.0.7:50001").stream is source.stream
    assert Source(site, channel=2).refusal == "unrequested"


def test_it_ends_when_the_terminal_does_not_come_back(site, device):
    wish, source = began(site, device)
    source.lose("reset")
    asked = []
    for _ in range(20):
        site.run(1.0)
        asked += [message.KEY for _, message in device.commands() if message.KEY == 0x9101]
    assert len(asked) >= 2
    assert len(wish.ended) == 1
    assert site.state() is State.IDLE
    assert not site.live.channel(SIM, 1).leases


def test_it_comes_back_while_somebody_new_waits(site, device):
    wish, source = began(site, device)
    source.lose("reset")
    site.run(10.0)
    new = site.acquire()
    assert new.pending
    site.run(8.0)  # the hub has given the old viewers up by now
    assert wish.ended
    assert new.pending
    again = Source(site, peer="10.0.0.7:50001")
    again.send()
    assert new.lease is not None
    assert new.lease.stream is again.stream


def test_a_terminal_that_registers_anew_with_its_media_silent_is_asked_anew(site, device):
    wish, source = began(site, device)
    site.clock.advance(4.0)
    again = site.device()
    again.authenticate(device.code)
    assert [message.KEY for _, message in again.commands()] == [0x9101]
    new = Source(site, peer="10.0.0.7:50001")
    assert new.stream is source.stream
    assert source.closed == "replaced"
    assert wish.ended == []


def test_a_terminal_that_registers_anew_while_it_sends_is_left_alone(site, device):
    _, source = began(site, device)
    site.run(5.0, source)
    again = site.device()
    again.authenticate(device.code)
    assert again.commands() == []
    assert site.state() is State.RUNNING


# ---- main and sub, picture and sound -------------------------------------------------------------------------------------------


def switches(device: Device) -> list[tuple[int, int]]:
    return [(message.command, message.stream_type) for _, message in device.commands() if message.KEY == 0x9102]


def test_the_highest_wish_wins_while_anybody_has_it(site, device):
    sub, source = began(site, device)
    main = site.acquire(stream="main")
    assert main.lease is not None
    assert switches(device) == [(1, 0)]
    other = site.acquire(stream="sub")
    assert switches(device) == []
    main.release()
    assert switches(device) == [(1, 1)]
    other.release()
    assert switches(device) == []
    sub.release()
    site.run(1.0, source)


def test_no_wish_is_content_with_what_runs(site, device):
    main, _ = began(site, device, stream="main")
    any_one = site.acquire()
    main.release()
    assert switches(device) == []
    assert any_one.lease is not None
    machine = site.live.channel(SIM, 1)
    assert machine.leases.wanted(machine.asked_stream) == "main"


def test_no_wish_gets_the_sub_stream_of_an_idle_channel_whatever_ran_before(site, device):
    began(site, device, stream="main")
    site.live.stop(PHONE, 1)
    site.run(5.0)
    device.commands()
    site.acquire()
    assert [message.stream_type for _, message in device.commands() if message.KEY == 0x9101] == [1]


def test_main_is_asked_for_at_the_start(site, device):
    site.acquire(stream="main")
    [(_, request)] = device.commands()
    assert request.stream_type == 0


def test_a_refused_switch_becomes_a_restart(site, device):
    sub, source = began(site, device)
    site.acquire(stream="main")
    [(header, _)] = device.commands()
    device.answer(header, 3)
    assert [(m.KEY, getattr(m, "command", None)) for _, m in device.commands()] == [(0x9102, 0), (0x9101, None)]
    new = Source(site, peer="10.0.0.7:50001")
    new.send()
    assert source.closed == "replaced"
    assert new.stream is source.stream
    assert sub.ended == []
    assert site.state() is State.RUNNING


def test_a_restart_that_the_terminal_answers_over_its_old_connection(site, device):
    _, source = began(site, device)
    site.acquire(stream="main")
    [(header, _)] = device.commands()
    device.answer(header, 3)
    device.commands()
    site.run(30.0, source)
    assert site.state() is State.RUNNING
    assert device.commands() == []


def test_sound_that_is_wanted_later_is_asked_for(site, device):
    picture, source = began(site, device, media="v")
    both = site.acquire(media="av")
    assert [(m.KEY, getattr(m, "data_type", None)) for _, m in device.commands()] == [(0x9102, None), (0x9101, 0)]
    assert both.lease is not None
    Source(site, peer="10.0.0.7:50001").send()
    assert picture.ended == []
    assert source.closed == "replaced"


# ---- who may come in -------------------------------------------------------------------------------------------------------------


def test_unrequested_media_of_an_online_terminal_is_adopted_by_who_wants_it(site, device):
    source = Source(site)
    assert not source.stream.requested
    source.send()
    assert site.state() is State.LINGERING
    wish = site.acquire()
    assert wish.lease is not None
    site.run(60.0, source)
    assert device.commands() == []


def test_an_orphan_that_nobody_wants_is_stopped(site, device):
    source = Source(site)
    site.run(15.0, source)
    assert site.state() is State.STOPPING
    assert [message.KEY for _, message in device.commands()] == [0x9102]


def test_terminals_that_are_not_online_are_refused(site):
    assert Source(site).refusal == "unknown"
    device = site.online()
    device.link.lost("gone")
    assert Source(site).refusal == "offline"
    refused = site.events_named("stream.refused")
    assert [event["peer"] for event in refused] == ["10.0.0.7:50000"] * 2


def test_accept_lets_in_terminals_whose_signalling_is_elsewhere():
    site = Site(unrequested="accept")
    source = Source(site, sim="013900139000")
    source.send()
    wish = site.acquire("13900139000")
    assert wish.lease is not None
    wish.release()
    machine = site.live.channel("13900139000", 1)
    site.run(60.0, source)
    assert machine.state is State.RUNNING
    assert source.closed == ""


def test_an_unrequested_connection_never_takes_a_running_streams_place(site, device):
    wish, source = began(site, device)
    thief = Source(site, peer="198.51.100.9:1")
    assert thief.refusal == "running"
    source.send()
    assert wish.ended == []
    assert "running" in site.events_named("stream.refused")[0]["reason"]


def test_reject_lets_in_only_what_was_asked_for():
    site = Site(unrequested="reject")
    device = settled(site.online())
    assert Source(site).refusal == "unrequested"
    began(site, device)


def test_playback_that_nobody_asked_for_is_refused(site, device):
    assert Source(site, kind="playback").refusal == "unrequested"


def test_a_playback_session_is_found_by_its_channel(site, device):
    key = StreamKey(SIM, 1, "playback", "7")
    site.admission.expect(key, "10.0.0.7", 30.0)
    source = Source(site, kind="playback")
    assert source.stream.key == key
    assert Source(site, kind="playback", peer="10.0.0.7:50009").refusal == "unrequested"


def test_an_expectation_is_used_once_and_ends():
    site = Site(unrequested="reject")
    settled(site.online())
    site.admission.expect(KEY, "10.0.0.7", 30.0)
    site.clock.advance(31.0)
    assert Source(site).refusal == "unrequested"


@pytest.mark.parametrize("sim", ["013800138000", "000013800138000", "00000000013800138000"])
def test_zeros_do_not_matter(site, device, sim):
    site.acquire()
    assert Source(site, sim=sim).stream.key == KEY


def test_a_long_number_cut_to_twelve_digits_is_recognised():
    phone = "12345678901234567890"
    site = Site(Rows(KnownTerminal(phone=phone)))
    device = site.device(phone)
    device.version = 1
    site.rows.codes[phone] = "right"
    assert device.authenticate("right") == 0
    source = Source(site, sim="901234567890")
    assert source.stream.key.sim == phone


def test_the_operator_can_name_the_media_number():
    site = Site(Rows(KnownTerminal(phone=PHONE, alias="56aebc2a")))
    settled(site.online())
    assert Source(site, sim="000056AEBC2A", peer="198.51.100.9:1").stream.key == KEY


def test_a_foreign_number_is_joined_to_the_one_request_of_its_address(site, device):
    wish = site.acquire()
    source = Source(site, sim="000056aebc2a")
    source.send()
    assert wish.lease is not None
    assert source.stream.key == KEY
    [event] = site.events_named("stream.sim_differs")
    assert (event["sim"], event["media_sim"]) == (SIM, "000056aebc2a")
    assert any("000056aebc2a" in note["note"] for note in site.live.traces(SIM, 1)[0]["notes"])
    source.lose("reset")
    site.clock.advance(1.0)
    assert Source(site, sim="000056aebc2a").stream.key == KEY  # remembered


@pytest.mark.parametrize("fault", ["address", "channel", "known number", "nobody waits"])
def test_a_foreign_number_is_not_joined_otherwise(site, device, fault):
    if fault == "known number":
        site.rows.rows["56aebc2a"] = KnownTerminal(phone="000056aebc2a")
        site.online("000056aebc2a", host="10.0.0.9")
    wish = site.acquire() if fault != "nobody waits" else None
    source = Source(
        site, sim="000056aebc2a", peer="198.51.100.9:1" if fault == "address" else "10.0.0.7:50000", channel=2 if fault == "channel" else 1
    )  # fmt: skip
    if fault == "known number":
        assert source.stream.key.sim == "56aebc2a"
    else:
        assert source.refusal == "unknown"
    assert wish is None or wish.pending


def test_two_requests_from_one_address_join_nothing(site, device):
    other = "013900139000"
    site.rows.rows["13900139000"] = KnownTerminal(phone=other)
    settled(site.online(other))
    site.acquire()
    site.acquire(other)
    assert Source(site, sim="000056aebc2a").refusal == "unknown"


@pytest.mark.parametrize(("peer", "host"), [("10.0.0.7:1", "10.0.0.7"), ("[fe80::1]:1", "fe80::1"), ("::ffff:10.0.0.7:1", "10.0.0.7")])
def test_host_of(peer, host):
    assert host_of(peer) == host


# ---- loss reports, shutdown, bounds --------------------------------------------------------------------------------------------------


def test_loss_is_reported_while_it_receives():
    site = Site(loss_report_s=10.0)
    device = settled(site.online())
    _, source = began(site, device)
    device.read()
    for i in range(20):
        site.clock.advance(0.5)
        source.send(lost=1 if i % 4 == 0 else 0)
    reports = [message for _, message in device.commands()]
    assert [type(report) for report in reports] == [RealtimeAvStatus]
    assert reports[0].channel == 1
    assert 15 <= reports[0].packet_loss_rate <= 25
    site.clock.advance(10.0)
    device.read()
    site.clock.advance(10.0)  # nothing came any more: nothing is told, and the unanswered report is no fault
    assert device.commands() == []
    assert site.state() is State.RUNNING


def test_shutdown_tells_the_terminals_and_leaves_nothing(site, device):
    wish, _source = began(site, device)
    waiting = site.acquire(channel=2)
    device.commands()
    site.live.close()
    assert sorted(message.channel for _, message in device.commands()) == [1, 2]
    assert waiting.failed.code == "stream_ended"
    assert wish.ended == ["the relay stops"]
    assert site.acquire().failed.code == "stream_ended"


def test_idle_channels_are_forgotten(site, device, monkeypatch):
    monkeypatch.setattr("relay.core.live.CHANNELS_KEPT", 3)
    for channel in range(1, 7):
        wish = site.acquire(channel=channel)
        [(header, _)] = device.commands()
        device.answer(header, 1)
        assert wish.problem is not None
    assert len(site.live._channels) == 3


def test_what_runs_is_described(site, device):
    began(site, device, purpose="recorder", who="disk")
    [row] = site.live.describe()
    assert (row["sim"], row["channel"], row["state"], row["stream"]) == (SIM, 1, "running", "sub")
    assert row["leases"] == [{"purpose": "recorder", "who": "disk", "stream": "", "media": "av"}]
    assert site.live.active == 1


# ---- what is told of those who watch ------------------------------------------------------------------------------------


def test_viewers_are_told_from_the_first_wish_to_the_last_farewell(site, device):
    begun = len(site.told)
    wish, source = began(site, device, who="anna")
    late = site.acquire(who="bert")
    recorder = site.acquire(purpose="recorder", who="disk")
    wish.release()
    recorder.release()
    late.release()
    told = [(event["event"], event.get("who", "")) for event in site.told[begun:] if event["event"].startswith(("stream.", "viewer."))]
    assert told == [
        ("stream.not_found", "anna"),
        ("stream.connected", ""),
        ("stream.started", ""),
        ("viewer.began", "anna"),
        ("viewer.began", "bert"),
        ("viewer.ended", "anna"),
        ("viewer.ended", "bert"),
        ("stream.unwatched", ""),
    ]
    assert source.stream.source is not None
    assert not any(event["event"].startswith("viewer.") for event in site.events.recent), "a thousand viewers push nothing else out"


def test_viewers_whose_stream_ends_have_gone(site, device):
    _, source = began(site, device, who="anna")
    source.stream.end("kicked")
    assert [event["who"] for event in site.events_named("viewer.ended")] == ["anna"]
    assert site.events_named("stream.unwatched") == []
