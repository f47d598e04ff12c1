"""The signalling of the simulated terminal: registers, reports, answers, comes back (JT/T 808 §5, JT/T 1078 §6)."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionRefusedError
from twisted.python.failure import Failure

from relay.jt808.messages import general, location, parameters, text, video
from relay.jt808.messages.base import MESSAGES
from relay.jt808.params import PARAMETERS
from relay.jt808.session import Session
from relay.jt808.session_events import Failed, Registering, Replied, Role, SessionOptions
from relay.sim.terminal import LinkState
from tests.sim.platform import CODE, PHONE, Platform


@pytest.mark.parametrize("edition", [2011, 2013, 2019])
def test_it_registers_authenticates_and_reports_its_position(edition: int) -> None:
    platform = Platform(edition=edition, plate="粤B{tail}", plate_color=2)
    came: list[object] = []
    platform.terminal.when_online().addCallback(came.append)
    platform.online()
    assert came == [platform.terminal]
    registering = next(e for e in platform.events if isinstance(e, Registering))
    assert registering.header.phone.lstrip("0") == "13800138001"
    assert (registering.header.protocol_version is not None) == (edition == 2019)
    message = registering.message
    assert isinstance(message, general.Registration)
    assert (message.edition, message.plate_no, message.plate_color) == (edition, "粤B38001", 2)
    assert platform.terminal.auth_code == CODE
    platform.advance(0.1)
    (report,) = platform.received(0x0200)
    assert isinstance(report.message, location.LocationReport)
    assert 22_500_000 < report.message.latitude < 22_600_000
    assert 114_000_000 < report.message.longitude < 114_100_000
    assert report.message.time == "231115061320"
    assert {item.id for item in report.message.items} == {0x01, 0x02, 0x03, 0x14, 0x15, 0x30, 0x31}
    platform.finish()


def test_a_code_that_is_known_is_used_at_once() -> None:
    platform = Platform(auth_code=CODE).online()
    assert not any(isinstance(e, Registering) for e in platform.events)
    platform.finish()


def test_a_code_that_is_no_longer_good_leads_to_a_new_registration() -> None:
    platform = Platform(auth_code="old").online()
    assert platform.terminal.auth_code == CODE
    assert "authentication refused" in platform.lines
    assert platform.terminal.registered_count == 1
    platform.finish()


def test_a_refused_terminal_tries_again_later_each_time() -> None:
    platform = Platform()
    platform.register_result = 2
    platform.terminal.start()
    platform.link()
    assert "registration refused: vehicle unknown" in platform.lines
    assert platform.terminal.state is LinkState.WAITING
    waits = []
    for _ in range(8):
        begun = platform.reactor.seconds()
        while not platform.pending():
            platform.reactor.advance(0.1)
        waits.append(round(platform.reactor.seconds() - begun, 3))
        platform.link()
    assert waits == sorted(waits)
    assert 0.8 <= waits[0] <= 1.3
    assert 1.8 * waits[0] < waits[1] < 2.3 * waits[0]
    assert 48 <= waits[7] <= 72.2
    platform.register_result = 0
    platform.advance(75, 0.5)
    platform.link()
    assert platform.terminal.online
    platform.finish()


def test_a_platform_that_is_not_there_is_tried_again() -> None:
    platform = Platform()
    platform.terminal.start()
    platform.refuse()
    assert platform.lines[-1].startswith("no connection:")
    platform.reactor.advance(1.3)
    platform.link()
    assert platform.terminal.online
    platform.finish()


def test_a_lost_link_comes_back_and_authenticates_with_its_code() -> None:
    platform = Platform().online()
    assert platform.wire is not None
    platform.wire.loseConnection()
    assert platform.terminal.state is LinkState.WAITING
    platform.reactor.advance(1.3)
    platform.events.clear()
    platform.link()
    assert platform.terminal.online
    assert platform.terminal.online_count == 2
    assert not any(isinstance(e, Registering) for e in platform.events)
    platform.finish()


def test_heartbeats_and_positions_by_the_clock() -> None:
    platform = Platform(heartbeat_s=20, position_s=10).online()
    platform.advance(61, 0.5)
    assert len(platform.received(0x0002)) == 3
    assert len(platform.received(0x0200)) == 7
    times = [e.message.time for e in platform.received(0x0200)]  # type: ignore[union-attr]
    assert times[:3] == ["231115061320", "231115061330", "231115061340"]
    platform.finish()


def test_unanswered_heartbeats_end_the_link() -> None:
    platform = Platform(heartbeat_s=20, position_s=0).online()
    assert platform.wire is not None
    deaf = platform.wire
    platform.session = None  # nobody reads any more
    for _ in range(130):
        platform.reactor.advance(1)
        if platform.terminal.state is not LinkState.ONLINE:
            break
    assert "heartbeats stay unanswered: the link is dead" in platform.lines
    assert deaf.lost
    platform.finish()


def test_attributes_of_the_terminal_and_of_its_media() -> None:
    platform = Platform(channels=(1, 2, 3)).online()
    about = platform.ask(parameters.QueryAttributes()).message
    assert about.manufacturer_id == "JTSIM"
    assert about.iccid == "00000000" + PHONE
    media = platform.ask(video.AvAttributesQuery()).message
    assert (media.audio_encoding, media.audio_frame_length, media.video_encoding, media.max_video_channels) == (6, 320, 98, 3)
    platform.finish()


def test_parameters_are_kept_and_given_back() -> None:
    platform = Platform(channels=(1, 2, 5), heartbeat_s=60, position_s=30).online()
    everything = platform.ask(parameters.QueryAllParameters()).message
    by_id = {entry.id: entry for entry in everything.params}
    assert by_id[0x0001].value == 60
    channels = by_id[0x0076]
    assert channels.av_channel_count == 3
    assert [c.logical_channel for c in channels.channels] == [1, 2, 5]
    heartbeat = PARAMETERS.classes[0x0001](value=15)
    interval = PARAMETERS.classes[0x0029](value=5)
    vendor = PARAMETERS.classes[0x0083](value="粤B99999")
    assert platform.result(parameters.SetParameters(params=[heartbeat, interval, vendor])) == 0
    some = platform.ask(parameters.QueryParameters(param_ids=[0x0083, 0x0001, 0x7777])).message
    assert [(entry.id, entry.value) for entry in some.params] == [(0x0083, "粤B99999"), (0x0001, 15)]
    platform.events.clear()
    platform.advance(16, 0.5)
    assert len(platform.received(0x0200)) == 3
    platform.finish()


@pytest.mark.parametrize("edition", [2011, 2013])
def test_the_position_on_request_and_tracking_for_a_while(edition: int) -> None:
    platform = Platform(position_s=60, edition=edition).online()
    answer = platform.ask(location.LocationQuery()).message
    assert isinstance(answer, location.LocationQueryResponse)
    assert (answer.reply_serial is None) == (edition == 2011)
    assert answer.location.time == "231115061320"
    platform.advance(1)
    platform.events.clear()
    assert platform.result(location.TrackingControl(interval=2, duration=20)) == 0
    platform.advance(20, 0.5)
    assert 9 <= len(platform.received(0x0200)) <= 10
    platform.events.clear()
    platform.advance(30, 0.5)
    assert len(platform.received(0x0200)) <= 1
    platform.finish()


def test_texts_confirmations_and_commands_to_the_camera_are_accepted() -> None:
    platform = Platform().online()
    for message in (
        text.TextMessage(flags=1, text="请靠边停车"),
        location.AlarmConfirmation(alarm_serial=0, alarm_types=1),
        video.PtzRotate(channel=1, direction=3, speed=100),
        video.PtzZoom(channel=1, zoom_direction=0),
        video.RealtimeAvStatus(channel=2, packet_loss_rate=7),
    ):
        assert platform.result(message) == 0
    assert platform.terminal.losses == {2: 7}
    assert any("请靠边停车" in line for line in platform.lines)
    platform.finish()


def test_what_it_does_not_know_gets_result_3_and_what_it_cannot_read_result_2() -> None:
    platform = Platform().online()
    assert platform.result(_raw(0x8ABD)) == 3
    assert platform.session is not None
    platform.session._put(0x9101, b"\x20short")
    platform.session._put(0x8ABC, b"whatever")
    platform.settle()
    assert platform.general()[-2:] == [(0x9101, 2), (0x8ABC, 3)]
    platform.finish()


def test_every_message_of_the_platform_is_answered_somehow() -> None:
    answered = 0
    for cls in MESSAGES:
        if cls.DIRECTION != "down" or 0x0001 not in cls.REPLY:
            continue
        platform = Platform().online()
        assert platform.session is not None
        request = platform.session.request(_raw(cls.KEY), platform.reactor.seconds(), repeats=0)
        platform.settle()
        assert any(isinstance(e, Replied | Failed) and e.request is request for e in platform.events), hex(cls.KEY)
        platform.finish()
        answered += 1
    assert answered > 20


def _raw(msg_id: int) -> general.LinkCheck:
    """A message with that id and an empty body."""
    made = type("Raw", (general.LinkCheck,), {"KEY": msg_id})
    return made()  # type: ignore[no-any-return]


def test_a_repeated_request_is_answered_again_but_not_done_again() -> None:
    platform = Platform().online()
    assert platform.session is not None
    asking = video.RealtimeAvRequest(server_ip="127.0.0.1", tcp_port=1078, channel=1, stream_type=1)
    request = platform.session.request(asking, platform.reactor.seconds())
    platform.settle()
    assert len(platform.pending()) == 1
    platform.events.clear()
    platform.wire.protocol.dataReceived(request.frames[0])  # type: ignore[union-attr]
    platform.settle()
    assert len(platform.pending()) == 1
    assert platform.lines[-1].endswith("(repeated)")
    platform.finish()


@pytest.mark.parametrize("edition", [2013, 2019])
def test_a_long_answer_goes_in_pieces_and_lost_ones_are_sent_again(edition: int) -> None:
    platform = Platform(channels=tuple(range(1, 9)), edition=edition).online()
    platform.uplink = b""
    event = platform.ask(video.ResourceQuery(channel=0))
    assert len(event.message.resources) > 300
    assert {r.channel for r in event.message.resources} == set(range(1, 9))
    pieces = [(header, body) for header, body in platform.frames() if header.msg_id == 0x1205]
    assert len(pieces) == pieces[0][0].package_total
    platform.uplink = b""
    assert platform.session is not None
    platform.session.send(general.PlatformResendRequest(original_serial=pieces[0][0].serial, package_ids=[2, 5]), platform.reactor.seconds())
    platform.settle()
    assert platform.frames() == [pieces[1], pieces[4]]  # unchanged, serials included
    platform.finish()


def test_a_reset_reconnects() -> None:
    platform = Platform().online()
    assert platform.result(parameters.TerminalControl(command=4)) == 0
    platform.advance(2)
    assert len(platform.pending()) == 1
    platform.link()
    assert platform.terminal.online_count == 2
    platform.finish()


def test_over_udp_one_frame_a_datagram() -> None:
    platform = Platform(signalling_udp=True)
    platform.terminal.start()
    (port,) = platform.reactor.ports
    assert port.closed is False
    assert port.remote == ("127.0.0.1", 7808)
    assert len(port.sent) == 1
    assert port.sent[0][0] == port.sent[0][-1] == 0x7E
    platform.session = Session(Role.PLATFORM, SessionOptions(), 0.0)
    for _ in range(3):
        for datagram in port.sent:
            platform.session.receive(datagram, 0.0)
        port.sent.clear()
        for event in platform.session.events():
            platform._decide(event)
        for frame in platform.session.frames_to_send():
            port.protocol.datagramReceived(frame, ("127.0.0.1", 7808))
    assert platform.terminal.online
    platform.finish()
    assert port.closed


# faults -----------------------------------------------------------------------------------------------------------------------------


def test_fault_wrong_auth() -> None:
    platform = Platform(("wrong-auth",))
    platform.terminal.start()
    platform.link()
    assert not platform.terminal.online
    assert platform.lines.count("authentication refused") == 2
    assert platform.terminal.state is LinkState.WAITING
    platform.finish()


def test_fault_no_register() -> None:
    platform = Platform(("no-register",)).online()
    platform.reactor.advance(0.1)
    platform.settle()
    assert any(type(e).__name__ == "Silent" for e in platform.events)
    platform.finish()


def test_fault_silent_heartbeat() -> None:
    platform = Platform(("silent-heartbeat",), heartbeat_s=5, position_s=5).online()
    platform.advance(30, 0.5)
    assert platform.received(0x0002) == platform.received(0x0200) == []
    platform.finish()


def test_fault_slow_answers() -> None:
    platform = Platform(("slow-answers=2",)).online()
    assert platform.ask(text.TextMessage(flags=1, text="x")) is None
    platform.advance(2.1)
    assert any(isinstance(e, Replied) for e in platform.events)
    platform.finish()


def test_fault_no_answer_to_one_message_only() -> None:
    platform = Platform(("no-answer=8300",)).online()
    assert platform.ask(text.TextMessage(flags=1, text="x")) is None
    assert platform.result(video.RealtimeAvStatus(channel=1, packet_loss_rate=0)) == 0
    assert platform.terminal.unanswered == 1
    platform.finish()


def test_fault_endless_subpackages() -> None:
    platform = Platform(("endless-subpackages",), position_s=5).online()
    platform.advance(1)
    assert platform.session is not None
    assert platform.session._parts is not None
    assert len(platform.session._parts) == 1
    assert platform.received(0x0801) == []
    platform.finish()


def test_stopping_leaves_nothing_behind_whatever_was_going_on() -> None:
    for faults, message in ((("slow-answers=9",), text.TextMessage(flags=1, text="x")), ((), parameters.TerminalControl(command=4))):
        platform = Platform(faults).online()
        platform.ask(message)
        platform.finish()
    platform = Platform()
    platform.terminal.start()
    platform.refuse()
    platform.finish()  # while it waits for its next try


def test_addresses_of_ipv6_and_names_that_do_not_exist() -> None:
    platform = Platform(signalling_udp=True, host="::1")
    platform.terminal.start()
    (port,) = platform.reactor.ports
    assert (port.interface, port.remote) == ("::", ("::1", 7808))
    platform.finish()
    platform = Platform(signalling_udp=True, host="nowhere.invalid")
    platform.terminal.start()
    assert platform.lines[0].startswith("no connection: DNS lookup failed")
    assert platform.terminal.state is LinkState.WAITING
    platform.finish()


def test_tls_is_asked_for() -> None:
    platform = Platform(tls=True)
    platform.terminal.start()
    assert [client[:2] for client in platform.reactor.sslClients] == [("127.0.0.1", 7808)]
    platform.reactor.sslClients[0][2].clientConnectionFailed(None, Failure(ConnectionRefusedError()))
    platform.finish()
