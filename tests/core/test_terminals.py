"""Who is let in, who is online, and requests that await replies."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from relay.core.link import BadReplyError, NoReplyError, RefusedError, TerminalOfflineError, TooManyRequestsError
from relay.core.throttle import Flapping, PeerLog
from relay.jt808.items import VideoAlarms
from relay.jt808.messages.general import LinkCheck, TerminalGeneralResponse
from relay.jt808.messages.location import BatchLocation, Location, LocationQuery, LocationQueryResponse, LocationReport
from relay.jt808.messages.parameters import ParametersResponse, QueryAttributes, QueryParameters, TerminalAttributes
from relay.jt808.messages.video import AvAttributes
from relay.jt808.params import AvChannel, AvChannels
from relay.settings import Limits
from relay.store.terminals import KnownTerminal
from tests.core.fakes import PHONE, SIM, WALL, Device, Rows, World

OTHER = "013900139000"


def failure_of(waiting):
    failures = []
    waiting.addErrback(failures.append)
    [failure] = failures
    return failure.value


# ---- policies -------------------------------------------------------------------------------------------------------


def test_a_known_terminal_registers_authenticates_and_is_online():
    world = World()
    device = world.device()
    assert device.register() == 0
    assert device.code == "code1"
    assert not world.terminals.is_online(PHONE)
    assert world.terminals.unregistered_count == 1
    assert device.authenticate() == 0
    assert world.terminals.is_online(SIM)
    assert world.terminals.is_online("00000000013800138000")
    assert world.terminals.unregistered_count == 0
    terminal = world.terminals.get(PHONE)
    assert terminal is not None
    assert (terminal.sim, terminal.phone, terminal.plate, terminal.edition) == (SIM, PHONE, "粤B12345", 2013)
    assert world.names() == ["terminal.online"]
    assert world.told[0]["sim"] == SIM
    assert world.told[0]["peer"] == "10.0.0.7:40000"
    shown = terminal.as_dict()
    assert shown["online"] is True
    assert shown["name"] == "粤B12345"
    device.link.lost("gone")
    assert not world.terminals.is_online(SIM)
    assert world.told[-1]["event"] == "terminal.offline"
    assert world.told[-1]["reason"] == "gone"


def test_an_unknown_number_is_refused_and_named():
    world = World()
    device = world.device(OTHER)
    assert device.register() == 4
    assert device.authenticate("anything") == 1
    refused = [event for event in world.told if event["event"] == "terminal.refused"]
    assert [(event["sim"], event["reason"]) for event in refused] == [("13900139000", "unknown sim")] * 2
    assert world.terminals.counts["refused: unknown sim"] == 2
    assert world.rows.issued == 0


def test_a_disabled_terminal_is_refused_in_every_policy():
    for policy in ("known", "first-seen", "open"):
        world = World(Rows(KnownTerminal(phone=PHONE, enabled=False)), registration=policy)
        device = world.device()
        assert device.register() == 4
        assert device.authenticate("x") == 1
        assert world.told[-1]["reason"] == "disabled"


def test_the_operators_code_is_enough():
    world = World()
    world.rows.codes[SIM] = "preset"
    assert world.device().authenticate("preset") == 0


def test_a_wrong_code_is_refused_and_the_third_ends_the_link():
    world = World()
    world.rows.codes[SIM] = "right"
    device = world.device()
    assert device.authenticate("wrong") == 1
    assert device.authenticate("") == 1
    assert device.wire.closed == ""
    assert device.authenticate("wrong") == 1
    assert device.wire.closed == "3 failed authentications"
    assert world.terminals.counts["refused: wrong code"] == 3


def test_why_a_terminal_is_offline_is_its_refusal_until_it_was_let_in():
    world = World()
    device = world.device()
    device.register()
    assert device.authenticate("wrong") == 1
    assert world.terminals.why_offline("0" + device.phone) == "refused: wrong code, authentication"
    assert device.authenticate() == 0
    assert world.terminals.why_offline(device.phone) == ""
    device.link.lost("connection lost")
    assert world.terminals.why_offline(device.phone) == "connection lost"


def test_first_seen_adds_unknown_numbers_and_takes_their_first_code():
    world = World(Rows(), registration="first-seen")
    device = world.device(OTHER)
    assert device.authenticate("old-platform") == 0
    device.link.lost("gone")
    assert world.device(OTHER).authenticate("something else") == 1
    assert world.device(OTHER).authenticate("old-platform") == 0
    assert world.rows.rows["13900139000"].origin == "first-seen"
    assert world.device("013700137000").register() == 0


def test_first_seen_wants_a_code():
    world = World(Rows(), registration="first-seen")
    assert world.device(OTHER).authenticate("") == 1


def test_open_lets_everybody_in():
    world = World(Rows(), registration="open")
    assert world.device(OTHER).authenticate("whatever") == 0
    silent = world.device("013700137000")
    serial = silent.send(0x0002)
    [(header, answer)] = silent.read()
    assert (header.msg_id, answer.reply_serial, answer.result) == (0x8001, serial, 0)
    assert world.terminals.is_online("013700137000")


@pytest.mark.parametrize("policy", ["known", "first-seen"])
def test_other_policies_want_authentication(policy):
    world = World(registration=policy)
    device = world.device()
    device.send(0x0200, bytes(28))
    [(_, answer)] = device.read()
    assert answer.result == 1
    assert world.told[-1]["reason"] == "not authenticated"
    assert not world.terminals.is_online(PHONE)


def test_codes_that_are_no_gbk_are_told_apart():
    world = World(Rows(), registration="first-seen")
    for bad in (b"\xff\xfe\x01", b"\xff\xfe\x02"):
        device = world.device(OTHER)
        serial = device.send(0x0102, bad)
        [(_, answer)] = device.read()
        assert (answer.reply_serial, answer.result) == (serial, 0 if bad.endswith(b"\x01") else 1)


def test_deregistration_makes_the_code_worthless():
    world = World()
    device = world.online()
    device.send(0x0003)
    [(_, answer)] = device.read()
    assert answer.result == 0
    assert not world.terminals.is_online(PHONE)
    assert world.told[-1]["reason"] == "deregistered"
    assert device.authenticate() == 1
    assert device.register() == 0
    assert device.authenticate() == 0
    assert world.terminals.is_online(PHONE)


# ---- one link per terminal --------------------------------------------------------------------------------------------


def test_a_second_link_takes_over_only_once_it_has_authenticated():
    world = World()
    first = world.online()
    second = world.device(host="10.0.0.8")
    second.send(0x0002)
    assert second.authenticate("guess") == 1
    assert first.wire.closed == ""
    assert world.terminals.get(SIM).link is first.link
    second.code = first.code
    assert second.authenticate() == 0
    assert first.wire.closed == "replaced by 10.0.0.8:40000"
    assert world.terminals.get(SIM).link is second.link
    assert world.terminals.online_count == 1
    assert "terminal.offline" not in world.names()
    assert world.names()[-2:] == ["terminal.address_changed", "terminal.replaced"]
    first.link.lost("late")
    assert world.terminals.is_online(SIM)


def test_an_online_number_is_not_registered_by_another_terminal():
    world = World()
    first = world.online()
    thief = world.device(host="203.0.113.66")
    assert thief.register(terminal_id="T666666") == 3
    assert world.told[-1]["reason"] == "someone else's sim"
    assert world.terminals.get(SIM).link is first.link
    first.link.lost("gone")
    again = world.device()
    assert again.authenticate(first.code) == 0  # its code was not replaced


def test_the_same_terminal_may_register_anew_while_its_old_link_lingers():
    world = World()
    first = world.online()
    second = world.device()
    assert second.register() == 0
    assert second.authenticate() == 0
    assert first.wire.closed


def test_another_terminal_id_under_the_number_is_an_alarm():
    world = World()
    world.online().link.lost("gone")
    other = world.device()
    assert other.register(terminal_id="T000002") == 0
    [event] = [event for event in world.told if event["event"] == "terminal.identity_changed"]
    assert event["changed"] == ["terminal id T000001 -> T000002"]


def test_frames_of_another_number_on_the_link_are_refused_and_named():
    world = World()
    device = world.online()
    device.phone = OTHER
    device.send(0x0200, bytes(28))
    [(header, answer)] = device.read()
    assert (header.phone, answer.result) == (OTHER, 1)
    assert world.told[-1]["reason"] == "someone else's sim"
    assert world.told[-1]["sim"] == "13900139000"


def test_flapping_is_banned():
    world = World(registration="open")
    for _ in range(15):
        device = world.device()
        assert device.authenticate("x") == 0
        device.link.lost("gone")
        world.clock.advance(1.0)
    assert "terminal.flapping" in world.names()
    assert world.device().authenticate("x") == 1
    assert world.device().register() == 3
    world.clock.advance(300.0)
    assert world.device().authenticate("x") == 0


def test_an_address_whose_links_never_authenticate_is_banned_unless_it_has_good_terminals():
    world = World()
    for _ in range(100):
        world.device(host="203.0.113.66", link=True).link.lost("gone")
    assert world.device(host="203.0.113.66").link is None
    assert world.device(host="203.0.113.67").link is not None
    world.clock.advance(61.0)
    good = world.device(host="203.0.113.66")
    good.register()
    good.authenticate()
    for _ in range(100):
        world.device(host="203.0.113.66").link.lost("gone")
    assert world.device(host="203.0.113.66").link is not None


def test_unregistered_links_are_bounded():
    world = World(limits=Limits(unregistered_max=3, log_peer_s=0.0))
    devices = [world.device(host=f"10.0.1.{i}") for i in range(4)]
    assert [device.link is not None for device in devices] == [True, True, True, False]
    devices[0].register()
    devices[0].authenticate()
    assert world.device().link is not None


def test_connections_that_say_nothing_make_room_for_one_that_does():
    world = World(limits=Limits(unregistered_max=3, log_peer_s=0.0))
    silent = [world.device(host=f"10.0.1.{i}") for i in range(3)]
    world.clock.advance(5.0)
    good = world.device()
    assert good.register() == 0
    assert good.authenticate() == 0
    assert [device.wire.closed for device in silent] == ["said nothing, and others wait", "", ""]


def test_this_machine_itself_is_never_banned():
    world = World()
    for _ in range(300):
        world.device(host="127.0.0.1").link.lost("gone")
    assert world.device(host="127.0.0.1").link is not None


def test_authenticating_again_on_the_same_link_is_no_flapping():
    world = World()
    device = world.online()
    for _ in range(30):
        assert device.authenticate() == 0
    assert world.names().count("terminal.online") == 1
    assert "terminal.flapping" not in world.names()


def test_a_registration_under_an_online_number_tells_nothing_until_it_authenticates():
    world = World()
    world.online()
    second = world.device()
    assert second.register(plate="粤B99999") == 0
    assert world.terminals.get(SIM).plate == "粤B12345"
    assert second.authenticate() == 0
    assert world.terminals.get(SIM).plate == "粤B99999"
    [event] = [event for event in world.told if event["event"] == "terminal.identity_changed"]
    assert event["changed"] == ["plate 粤B12345 -> 粤B99999"]


def test_terminals_are_bounded():
    world = World(limits=Limits(terminals_max=2, log_peer_s=0.0), registration="open")
    assert world.device("1001").authenticate("x") == 0
    assert world.device("1002").authenticate("x") == 0
    third = world.device("1003")
    assert third.authenticate("x") == 1
    assert third.wire.closed == "too many terminals"
    assert world.device("1002", host="10.9.9.9").authenticate("x") == 0


def test_offline_terminals_are_forgotten_oldest_first():
    world = World(limits=Limits(terminals_max=2, log_peer_s=0.0), registration="open")
    for phone in ("1001", "1002", "1003"):
        device = world.device(phone)
        device.authenticate("x")
        device.link.lost("gone")
    assert [terminal.sim for terminal in world.terminals.seen()] == ["1002", "1003"]


def test_a_link_that_does_not_authenticate_is_closed():
    world = World()
    device = world.device()
    world.clock.advance(29.9)
    assert device.wire.closed == ""
    world.clock.advance(0.2)
    assert device.wire.closed == "not authenticated within 30 s"
    assert world.terminals.unregistered_count == 0


def test_silence_closes_and_heartbeats_do_not():
    world = World()
    device = world.online()
    for _ in range(5):
        world.clock.advance(100.0)
        device.send(0x0002)
    device.read()
    world.clock.advance(179.9)
    assert device.wire.closed == ""
    world.clock.advance(0.2)
    assert device.wire.closed == "no message for 180 s"
    assert world.told[-1]["event"] == "terminal.offline"


# ---- the store --------------------------------------------------------------------------------------------------------


def test_a_slow_store_holds_the_terminals_messages():
    world = World()
    world.rows.codes[SIM] = "right"
    device = world.device()
    world.rows.held = []
    device.send(0x0102, b"right")
    device.send(0x0002)
    assert device.read() == []
    world.rows.release()
    assert [message.result for _, message in device.read()] == [0, 0]


def test_a_link_lost_while_the_store_thinks_is_no_terminal():
    world = World()
    world.rows.codes[SIM] = "right"
    device = world.device()
    world.rows.held = []
    device.send(0x0102, b"right")
    device.link.lost("gone")
    world.rows.release()
    assert not world.terminals.is_online(PHONE)


def test_a_failing_store_costs_the_link_and_nothing_else():
    world = World()
    online = world.online()
    world.rows.broken = True
    device = world.device()
    device.send(0x0102, b"right")
    assert device.wire.closed == "the store failed"
    assert online.wire.closed == ""
    assert world.terminals.counts["store failures"] == 1


def test_what_the_operator_changes_is_seen_within_seconds():
    version = [1]
    from twisted.internet.defer import succeed

    world = World(changes=lambda: succeed(version[0]))
    device = world.online()
    world.clock.advance(6.0)
    world.rows.rows[SIM] = KnownTerminal(phone=PHONE, alias="bus-1")
    version[0] = 2
    world.clock.pump([5.0])
    assert world.terminals.get(SIM).known.alias == "bus-1"
    assert device.wire.closed == ""
    del world.rows.rows[SIM]
    version[0] = 3
    world.clock.pump([5.0])
    assert device.wire.closed == "removed by the operator"
    world.terminals.close()


# ---- what they tell -----------------------------------------------------------------------------------------------------


def location(time: str = "261121093000", alarm: int = 0, **more) -> LocationReport:
    return LocationReport(alarm_flags=alarm, status_flags=3, latitude=22_540_000, longitude=114_050_000, altitude=12, speed=365, time=time, **more)


def test_positions_are_kept_in_human_units():
    world = World()
    device = world.online()
    device.say(location())
    assert [m.result for _, m in device.read()] == [0]
    position = world.terminals.get(SIM).as_dict()["position"]
    assert position["latitude"] == 22.54
    assert position["longitude"] == 114.05
    assert position["speed"] == 36.5
    assert position["time"] == "2026-11-21T09:30:00+08:00"
    assert position["acc"] is True


def test_hemispheres_and_negative_numbers():
    world = World()
    device = world.online()
    device.say(LocationReport(status_flags=4 | 8, latitude=33_868_800, longitude=151_209_300, time="000000000000"))
    position = world.terminals.get(SIM).as_dict()["position"]
    assert (position["latitude"], position["longitude"], position["time"]) == (-33.8688, -151.2093, None)
    device.say(LocationReport(latitude=(-33_868_800) & 0xFFFFFFFF, longitude=1, time="261121093000"))
    assert world.terminals.get(SIM).as_dict()["position"]["latitude"] == -33.8688


def test_a_batch_from_a_blind_area_does_not_move_the_vehicle_back():
    world = World()
    device = world.online()
    device.say(location("261121093000"))
    old = Location(latitude=1, longitude=1, time="261121080000")
    device.say(BatchLocation(count=1, data_type=1, locations=[old]))
    assert world.terminals.get(SIM).position.time == "261121093000"
    new = Location(latitude=2, longitude=2, time="261121094000")
    device.say(BatchLocation(count=2, data_type=0, locations=[new, old]))
    assert world.terminals.get(SIM).position.time == "261121094000"


def test_alarms_are_told_when_they_change():
    world = World()
    device = world.online()
    device.say(location(alarm=3))
    device.say(location("261121093001", alarm=3))
    world.clock.advance(1.0)
    device.say(location("261121093002", alarm=1, items=[VideoAlarms(video_alarm_flags=2)]))
    first, second = [event for event in world.told if event["event"] == "terminal.alarm"]
    assert first["set"] == ["emergency button (紧急报警)", "overspeed (超速报警)"]
    assert first["cleared"] == []
    assert second["set"] == ["video signal occlusion (视频信号遮挡报警)"]
    assert second["cleared"] == ["overspeed (超速报警)"]


def test_flickering_alarms_are_told_once_a_second():
    world = World()
    device = world.online()
    for i in range(50):
        device.say(location(f"2611210930{i:02}", alarm=i & 1))
    assert world.names().count("terminal.alarm") <= 1


def test_the_server_time_is_told_in_utc():
    world = World()
    device = world.online()
    device.phone, device.version = "00000000013800138000", 1
    device.send(0x0004)
    [(header, message)] = device.read()
    assert header.msg_id == 0x8004
    assert message.time == "261118110640"
    assert WALL == 1_795_000_000.0


def test_it_is_asked_about_itself_politely_one_after_another():
    world = World()
    device = world.online()
    world.clock.advance(1.9)
    assert device.commands() == []
    world.clock.advance(2.2)
    [(header, message)] = device.commands()
    assert isinstance(message, QueryAttributes)
    device.say(
        TerminalAttributes(
            terminal_type=0, manufacturer_id="ABCDE", terminal_model="M1", terminal_id="T000001", iccid="8986" + "0" * 16, hardware_version="h1",
            firmware_version="f2", gnss_attributes=3, comm_attributes=32,
        )
    )  # fmt: skip
    [(header, message)] = device.commands()
    assert header.msg_id == 0x9003
    device.say(
        AvAttributes(
            audio_encoding=6, audio_channels=1, audio_sample_rate=0, audio_sample_bits=1, audio_frame_length=320, audio_output_supported=1,
            video_encoding=98, max_audio_channels=1, max_video_channels=4,
        )
    )  # fmt: skip
    terminal = world.terminals.get(SIM)
    assert [(c.number, c.source) for c in terminal.channel_list()] == [(1, "0x1003"), (2, "0x1003"), (3, "0x1003"), (4, "0x1003")]
    [(header, message)] = device.commands()
    assert isinstance(message, QueryParameters)
    assert message.param_ids == [0x76]
    rows = [
        AvChannel(physical_channel=1, logical_channel=1, channel_type=0, ptz_connected=1),
        AvChannel(physical_channel=2, logical_channel=36, channel_type=1, ptz_connected=0),
    ]
    channels = AvChannels(av_channel_count=1, audio_channel_count=1, video_channel_count=0, channels=rows)
    device.say(ParametersResponse(reply_serial=header.serial, params=[channels]))
    assert [(c.number, c.kind, c.source, c.ptz) for c in terminal.channel_list()] == [(1, "av", "0x0076", True), (36, "audio", "0x0076", None)]
    shown = terminal.as_dict()
    assert (shown["firmware"], shown["video_codec"], shown["audio_codec"]) == ("f2", "H.264", "G.711A")
    device.read()
    world.clock.advance(100.0)
    assert device.commands() == []


def test_what_somebody_asked_for_is_learnt_too():
    world = World()
    device = world.online()
    replies = []
    world.terminals.request(PHONE, LocationQuery()).addCallback(replies.append)
    [(header, _)] = device.commands()
    device.say(LocationQueryResponse(reply_serial=header.serial, location=Location(latitude=1_000_000, longitude=2_000_000, time="261121093000")))
    assert len(replies) == 1
    assert world.terminals.get(SIM).as_dict()["position"]["latitude"] == 1.0


def test_silence_about_itself_is_tolerated():
    world = World()
    device = world.online()
    asked = []
    for _ in range(60):
        world.clock.advance(1.0)
        asked += [header.msg_id for header, _ in device.commands()]
    assert asked == [0x8107, 0x9003, 0x8106]
    assert device.wire.closed == ""
    assert world.terminals.counts["questions unanswered"] == 3
    assert [(c.number, c.source) for c in world.terminals.get(SIM).channel_list()] == [(n, "assumed") for n in (1, 2, 3, 4)]


def test_a_terminal_that_comes_back_is_not_asked_again():
    world = World()
    device = world.online()
    device.link.lost("gone")
    again = world.device()
    again.authenticate(device.code)
    again.read()
    world.clock.advance(10.0)
    assert again.commands() == []


# ---- requests -------------------------------------------------------------------------------------------------------------


def test_a_request_fires_with_the_reply():
    world = World()
    device = world.online()
    replies = []
    world.terminals.request(PHONE, LinkCheck()).addCallback(replies.append)
    [(header, _)] = device.commands()
    device.answer(header)
    [reply] = replies
    assert isinstance(reply, TerminalGeneralResponse)


def test_offline_is_said_at_once():
    world = World()
    problem = failure_of(world.terminals.request(OTHER, LinkCheck()))
    assert isinstance(problem, TerminalOfflineError)
    assert (problem.code, problem.sim) == ("terminal_offline", "13900139000")
    assert world.terminals.send(OTHER, LinkCheck()) is None


def test_a_refusal_is_named():
    world = World()
    device = world.online()
    waiting = world.terminals.request(PHONE, LinkCheck())
    [(header, _)] = device.commands()
    device.answer(header, 3)
    problem = failure_of(waiting)
    assert isinstance(problem, RefusedError)
    assert problem.result == 3
    assert "not supported" in str(problem)
    assert "0x8204" in str(problem)


def test_silence_is_named_with_its_time():
    world = World()
    device = world.online()
    waiting = world.terminals.request(PHONE, LinkCheck(), timeout_s=15.0)
    world.clock.pump([1.0] * 15)
    assert sum(header.msg_id == 0x8204 for header, _ in device.commands()) == 2
    problem = failure_of(waiting)
    assert isinstance(problem, NoReplyError)
    assert "15.0 s" in str(problem)
    assert "sent 2 times" in str(problem)


def test_a_lost_link_fails_what_waits():
    world = World()
    device = world.online()
    waiting = world.terminals.request(PHONE, LinkCheck())
    device.link.lost("gone")
    problem = failure_of(waiting)
    assert isinstance(problem, TerminalOfflineError)
    assert "lost" in str(problem)


def test_an_answer_that_cannot_be_read_is_named():
    world = World()
    device = world.online()
    waiting = world.terminals.request(PHONE, QueryAttributes())
    device.send(0x0107, b"\x00")
    assert isinstance(failure_of(waiting), BadReplyError)


def test_a_cancelled_request_is_forgotten():
    world = World()
    device = world.online()
    waiting = world.terminals.request(PHONE, LinkCheck())
    waiting.cancel()
    assert isinstance(failure_of(waiting), CancelledError)
    [(header, _)] = device.commands()
    device.answer(header)


def test_too_many_requests_are_refused():
    world = World()
    world.online()
    waiting = [world.terminals.request(PHONE, LinkCheck()) for _ in range(65)]
    assert isinstance(failure_of(waiting[-1]), TooManyRequestsError)
    world.terminals.close()
    for one in waiting[:-1]:
        assert isinstance(failure_of(one), TerminalOfflineError)


def test_closing_ends_all_links_and_leaves_no_timer():
    world = World()
    devices = [world.online(), world.device(OTHER)]
    world.terminals.close()
    assert [device.wire.closed for device in devices] == ["the relay stops"] * 2
    assert world.clock.getDelayedCalls() == []
    assert world.device().link is None


def test_messages_are_passed_on_raw_or_read():
    world = World()
    device = world.online()
    seen = []
    stop = world.terminals.watch_messages(lambda terminal, received: seen.append((terminal.sim, received.header.msg_id, received.message is None)))
    device.send(0x0900, b"\xf0hello")
    device.send(0x6006, b"vendor")
    stop()
    device.send(0x6006, b"vendor", 77)
    assert seen == [(SIM, 0x0900, False), (SIM, 0x6006, True)]


def test_a_wrong_protocol_is_said_in_one_clear_line():
    from twisted.logger import globalLogPublisher

    lines = []

    def observe(event):
        lines.append(event)

    world = World()
    globalLogPublisher.addObserver(observe)
    try:
        device: Device = world.device()
        device.link.received(b"GET / HTTP/1.1\r\nHost: relay\r\n\r\n")
        world.clock.advance(5.0)
    finally:
        globalLogPublisher.removeObserver(observe)
    assert device.wire.closed == "wrong protocol"
    assert any("this is HTTP, not JT/T 808" in event.get("detail", "") for event in lines)


# ---- throttles --------------------------------------------------------------------------------------------------------------


def test_one_log_line_a_second_and_peer():
    lines = []

    class Log:
        def emit(self, level, text, **fields):
            lines.append((text, fields["host"], fields["withheld"]))

    clock = Clock()
    peers = PeerLog(Log(), clock.seconds, 1.0)
    clock.advance(10.0)
    assert [peers.warn("a", "bad") for _ in range(5)] == [True, False, False, False, False]
    assert peers.warn("b", "bad") is True
    clock.advance(1.0)
    peers.warn("a", "bad")
    assert lines == [
        ("bad", "a", 0),
        ("bad", "b", 0),
        ("bad ({withheld} more about this address since the last line)", "a", 4),
    ]


def test_flapping_counts_within_its_window():
    flapping = Flapping(3, 60.0, 300.0)
    assert [flapping.count("x", t) for t in (0.0, 30.0, 61.0, 62.0)] == [False, False, False, True]
    assert flapping.banned("x", 361.0)
    assert not flapping.banned("x", 362.0)
    assert not flapping.banned("y", 0.0)


def test_flapping_is_bounded():
    flapping = Flapping(3, 60.0, 300.0)
    for i in range(10_000):
        flapping.count(f"{i}", float(i))
    assert len(flapping._times) <= 4096

