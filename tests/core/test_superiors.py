"""Superior platforms: links and their states, what goes up, what waits, what has been delivered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from relay.core.superior_state import State
from relay.core.superior_vehicles import goes_up
from relay.core.superiors import UNKNOWN_LINKS_MAX
from relay.jt808.messages.location import BatchLocation
from relay.jt809.messages.link import LoginAnswer
from relay.jt809.messages.platform import PlatformInfo, PostQuery
from relay.sim.superior import time_of
from relay.store.terminals import KnownTerminal
from tests.core.fakes import Rows
from tests.core.superior_world import CODE, COLOR, NEW, PLATE, Peer, SuperiorWire, SuperiorWorld, location, report, superior_settings

Make = Callable[..., SuperiorWorld]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Worlds over one folder; each is ended before the next, as a restart is."""
    made: list[SuperiorWorld] = []

    def build(*settings: Any, **more: Any) -> SuperiorWorld:
        if made:
            made[-1].finish()
        made.append(SuperiorWorld(tmp_path, *(settings or (superior_settings(),)), **more))
        return made[-1]

    yield build
    if made:
        made[-1].finish()


def times(peer: Peer, kind: int) -> list[str]:
    """The times of the positions that came in messages of a kind."""
    found = []
    for _, business in peer.read():
        if business.data_type == kind:
            data: Any = business.data
            assert (business.vehicle_no, business.vehicle_color) == (PLATE, COLOR)
            found += [time_of(block)[-4:] for block in (data.gnss if kind == 0x1203 else [data.gnss])]
    return found


# -- links


def test_login_passwords_registration_positions(make: Make) -> None:
    world = make()
    device = world.online()
    peer = world.main("a", login=False)
    ((header, business),) = peer.read()
    assert header.msg_id == 0x1001
    login: Any = business.data
    assert (login.user_id, login.password, login.down_link_ip, login.down_link_port) == (10001, "12345678", "192.0.2.1", 8809)
    assert world["a"].state is State.LOGIN
    report(device, 1)
    peer.send(LoginAnswer(result=0, verify_code=CODE))
    assert world["a"].state is State.MAIN_UP
    assert peer.kinds() == [0x1701]
    world.advance(1.0)
    assert peer.kinds() == [0x1201, 0x1203], "the vehicle, and what had to wait"
    report(device, 2, 3)
    world.advance(0.1)
    assert times(peer, 0x1202) == ["4002", "4003"]
    world.advance(3.0)
    assert world["a"].outbox.waiting == 0
    assert [event["state"] for event in world.told if event["event"] == "superior.state"] == ["main_up"]


def test_a_vehicle_that_comes_online_is_registered_before_its_positions(make: Make) -> None:
    world = make(superior_settings(), superior_settings("b", **NEW))
    old, new = world.attempts
    peers = [world.main(one.name) for one in (new, old)]
    device = world.online()
    report(device, 5)
    for peer in peers:
        assert peer.kinds() == [0x1701, 0x1201, 0x1202]


def test_positions_in_both_editions(make: Make) -> None:
    world = make(superior_settings(), superior_settings("b", **NEW))
    b, a = world.main("b"), world.main("a")
    report(world.online(), 7)
    (old,) = [business for _, business in a.read() if business.data_type == 0x1202]
    (new,) = [business for _, business in b.read() if business.data_type == 0x1202]
    gnss: Any = old.data
    assert (gnss.gnss.lon, gnss.gnss.lat, gnss.gnss.vec1, gnss.gnss.state) == (113937930, 22577648, 58, 0x000C0003)
    assert (gnss.gnss.year, gnss.gnss.month, gnss.gnss.day, gnss.gnss.hour, gnss.gnss.second) == (2026, 11, 29, 15, 7)
    data: Any = new.data
    assert (data.gnss.platform_id1 == "44030012345" and data.gnss.gnss_data[16:18] == (22577648 & 0xFFFF).to_bytes(2, "big")) or data.gnss.data_length == 28


def test_vehicles_go_where_they_belong(make: Make) -> None:
    rows = Rows(KnownTerminal(phone="013800138000", plate="粤B12345", plate_color=1, alias="bus-1"), KnownTerminal(phone="2", plate="粤BT001", plate_color=2))
    world = make(superior_settings(vehicles=("粤B*", "!粤BT*")), superior_settings("b", vehicles=("粤BT*",), access_code=2), rows=rows)
    b, a = world.main("b"), world.main("a")
    world.online()
    world.device("2").register(plate="粤BT001")
    device = world.device("2")
    device.register(terminal_id="", plate="粤BT001")
    device.authenticate()
    assert [business.vehicle_no for _, business in a.read() if business.data_type == 0x1201] == ["粤B12345"]
    assert [business.vehicle_no for _, business in b.read() if business.data_type == 0x1201] == ["粤BT001"]


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [((), True), (("粤B*",), True), (("京*",), False), (("bus-*",), True), (("138*",), True), (("!粤B*",), False), (("粤*", "!粤B1*", "粤B12345"), True)],
)
def test_patterns(patterns: tuple[str, ...], wanted: bool) -> None:
    assert goes_up(patterns, "粤B12345", "bus-1", "13800138000") is wanted


def test_states_and_the_fall_back_to_the_subordinate_link(make: Make) -> None:
    world = make()
    device = world.online()
    main = world.main("a")
    sub = world.sub("a")
    assert world["a"].state is State.BOTH_UP
    assert sub.kinds() == [0x9002]
    main.lose()
    assert world["a"].state is State.SUB_ONLY
    assert sub.kinds() == [0x1007]
    report(device, 9)
    assert sub.kinds() == [0x1201, 0x1202]
    assert world["a"].outbox.waiting == 0
    world.advance(7.0)
    again = world.main("a")
    assert world["a"].state is State.BOTH_UP, "the former subordinate link may stay"
    newer = world.sub("a")
    assert sub.wire.closed.startswith("replaced") and world["a"].sub is newer.link
    again.lose()
    newer.lose()
    assert world["a"].state is State.DOWN
    report(device, 10)
    assert world["a"].outbox.waiting == 1


def test_a_subordinate_link_before_the_main_one_or_with_another_code(make: Make) -> None:
    world = make()
    early = world.sub("a")
    assert [business.data.result for _, business in early.read() if business.data is not None] == [1]  # type: ignore[attr-defined]
    assert early.wire.closed
    early.link.lost("closed")
    world.main("a")
    wrong = world.sub("a", 1)
    assert wrong.wire.closed and world["a"].state is State.MAIN_UP
    assert world["a"].sub is None


def test_pauses_grow_with_jitter_and_a_refused_login_waits_long(make: Make) -> None:
    world = make(superior_settings(reconnect_s=5.0, reconnect_max_s=300.0))
    pauses = []
    for _ in range(9):
        world.attempts.pop().connect_failed("refused")
        begun = world.clock.seconds()
        while not world.attempts:
            world.clock.advance(0.5)
        pauses.append(world.clock.seconds() - begun)
    for pause, nominal in zip(pauses, (5, 10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert 0.74 * nominal <= pause <= 1.26 * nominal + 0.5
    assert len(set(pauses)) > 3
    peer = world.main("a", login=False)
    peer.send(LoginAnswer(result=4, verify_code=0))
    peer.link.lost("closed")
    assert "password wrong" in world["a"].problem
    assert world["a"].next_attempt is not None and world["a"].next_attempt - world.wall() > 200


def test_operators_connect_and_disconnect(make: Make) -> None:
    world = make(superior_settings(enabled=False))
    assert world.attempts == [] and world["a"].state is State.STOPPED
    world["a"].connect()
    main, sub = world.main("a"), world.sub("a")
    main.read()
    sub.read()
    world["a"].disconnect()
    assert (main.kinds(), sub.kinds()) == ([0x1003], [0x1008])
    main.raw(0x1004)
    main.link.lost("closed")
    sub.link.lost("closed")
    world.advance(400.0, 1.0)
    assert world.attempts == [] and world["a"].state is State.STOPPED
    assert world["a"].problem == "stopped by the operator"


def test_a_connection_that_comes_after_an_operator_has_changed_their_mind(make: Make) -> None:
    world = make()
    world["a"].disconnect()
    assert world["a"].connected(SuperiorWire(), "192.0.2.1") is None and world["a"].state is State.STOPPED
    world["a"].connect()
    world["a"].disconnect()
    world.attempts.pop().connect_failed("refused")
    assert world["a"].state is State.STOPPED
    world.advance(60.0, 1.0)
    assert len(world.attempts) == 1, "no further attempt"


def test_the_superior_stops_and_we_come_back(make: Make) -> None:
    world = make()
    main, sub = world.main("a"), world.sub("a")
    main.raw(0x9008, b"\x00")
    assert main.wire.closed and sub.wire.closed
    main.link.lost("closed")
    sub.link.lost("closed")
    world.advance(7.0)
    assert world.attempts == [world["a"]]


def test_a_superior_that_never_connects_back_gets_everything_on_the_main_link(make: Make) -> None:
    world = make()
    main = world.main("a")
    main.raw(0x9007, b"\x00")
    world.online()
    main.read()
    main.raw(0x9005)
    assert main.kinds() == [0x9006]
    assert world["a"].state is State.MAIN_UP


def test_keep_alives_keep_the_link_and_silence_ends_it(make: Make) -> None:
    world = make()
    main, sub = world.main("a"), world.sub("a")
    main.read()
    for _ in range(5):
        world.advance(60.0, 1.0)
        assert main.kinds() == [0x1005]
        sub.raw(0x9005)
        sub.raw(0x1006)  # seen: answered on the subordinate link
    sub.read()
    for _ in range(3):
        world.advance(60.0, 1.0)
        sub.raw(0x9005)
    assert main.wire.closed and not sub.wire.closed, "keep-alives of the subordinate link are no life of the main one"
    assert world["a"].state is State.SUB_ONLY


# -- nothing lost


def test_what_waits_goes_up_in_order_by_fives_also_after_a_restart(make: Make) -> None:
    world = make()
    device = world.online()
    report(device, *range(12))
    world.advance(1.0)
    assert world["a"].outbox.waiting == 12
    world = make()
    assert world["a"].outbox.waiting == 12
    peer = world.main("a")
    world.advance(1.0)
    messages: list[Any] = [business.data for _, business in peer.read() if business.data_type == 0x1203]
    assert [message.gnss_cnt for message in messages] == [5, 5, 2]
    assert [time_of(block)[-2:] for message in messages for block in message.gnss] == [f"{second:02d}" for second in range(12)]
    world.advance(3.0)
    assert world["a"].outbox.waiting == 0
    world = make()
    assert world["a"].outbox.waiting == 0, "delivered rows are gone from the disk"


def test_only_what_was_not_delivered_goes_up_again(make: Make) -> None:
    world = make()
    device = world.online()
    peer = world.main("a")
    report(device, 1)
    peer.link.flush()
    delivered = len(peer.wire.written)
    peer.read()
    report(device, 2, 3)
    peer.lose(delivered=delivered)
    report(device, 4)
    world.advance(7.0)
    again = world.main("a")
    world.advance(1.0)
    assert times(again, 0x1203) == ["4002", "4003", "4004"]


def test_supplements_that_were_under_way_are_sent_once_more_and_only_they(make: Make) -> None:
    world = make()
    report(world.online(), *range(20))
    peer = world.main("a")
    peer.wire.delivered = 0
    world.advance(1.0)
    frames = framing_ends(peer)
    first = frames[[kind for kind, _ in frames].index(0x1203)][1]
    assert len(times(peer, 0x1203)) == 20
    peer.lose(delivered=first)
    world.advance(7.0)
    again = world.main("a")
    world.advance(1.0)
    assert times(again, 0x1203) == [f"40{second:02d}" for second in range(5, 20)]
    world.advance(3.0)
    assert world["a"].outbox.waiting == 0


def framing_ends(peer: Peer) -> list[tuple[int, int]]:
    """(kind, position behind it) of every frame written so far."""
    ends, pos = [], 0
    peer.wire.read_upto = 0
    data = peer.wire.written
    for header, business in Peer(peer.superior, peer.link, peer.wire).read():
        pos = data.index(b"\x5d", pos) + 1
        ends.append((business.data_type or header.msg_id, pos))
    peer.wire.read_upto = 0
    return ends


def test_without_acknowledgements_keep_alives_confirm(make: Make) -> None:
    world = make()
    device = world.online()
    peer = world.main("a")
    peer.wire.unknown = True
    report(device, 1)
    world.advance(60.0, 1.0)
    peer.raw(0x1006)
    report(device, 2)
    peer.lose()
    world.advance(7.0)
    again = world.main("a")
    world.advance(1.0)
    assert times(again, 0x1203) == ["4002"]


def test_after_a_reset_the_last_two_seconds_go_up_twice_rather_than_never(make: Make) -> None:
    world = make()
    device = world.online()
    peer = world.main("a")
    report(device, 1)
    world.advance(3.0)
    report(device, 2)
    world.advance(1.0)
    report(device, 3)
    peer.lose(reset=True)
    world.advance(7.0)
    again = world.main("a")
    world.advance(1.0)
    assert times(again, 0x1203) == ["4002", "4003"]


def test_a_superior_that_reads_slowly_costs_memory_nothing(make: Make) -> None:
    world = make()
    device = world.online()
    peer = world.main("a")
    report(device, 1)
    peer.link.flush()
    peer.wire.full = True
    size = len(peer.wire.written)
    report(device, 2, 3)
    world.advance(2.0)
    assert len(peer.wire.written) == size and world["a"].outbox.waiting == 2
    peer.wire.full = False
    world.advance(1.0)
    assert times(peer, 0x1203) == ["4002", "4003"]


def test_the_pace_of_supplements(make: Make) -> None:
    world = make(superior_settings(supplement_rate=10))
    report(world.online(), *range(40))
    peer = world.main("a")
    world.advance(2.0)
    assert 10 <= len(times(peer, 0x1203)) <= 30
    world.advance(4.0)
    assert world["a"].outbox.waiting == 0


def test_the_queue_is_bounded_by_number_and_age_and_losses_are_counted(make: Make) -> None:
    world = make(superior_settings(queue_max=1000, queue_age_s=60))
    world.advance(1.0)
    outbox = world["a"].outbox
    outbox._most = 10
    report(world.online(), *range(15))
    world.advance(31.0, 1.0)
    assert (outbox.waiting, outbox.counts["dropped: full"]) == (10, 5)
    world.advance(91.0, 1.0)
    assert (outbox.waiting, outbox.counts["dropped: age"]) == (0, 10)
    assert world["a"].lost_between(world.wall() - 300, world.wall())[0] == 15


def test_a_disk_that_refuses_costs_nothing_while_memory_holds(make: Make) -> None:
    world = make()
    world.database.broken = True
    device = world.online()
    report(device, 1, 2)
    world.advance(2.0)
    assert world["a"].outbox.waiting == 2
    world.database.broken = False
    peer = world.main("a")
    world.advance(2.0)
    assert times(peer, 0x1203) == ["4001", "4002"]


def test_positions_from_a_blind_area_are_supplements(make: Make) -> None:
    world = make()
    device = world.online()
    peer = world.main("a")
    device.say(BatchLocation(count=2, data_type=1, locations=[location(1), location(2)]))
    device.say(BatchLocation(count=1, data_type=0, locations=[location(3)]))
    found = peer.read()
    assert [business.data_type for _, business in found][1:] == [0x1201, 0x1203, 0x1203, 0x1202]


def test_one_superior_down_slow_or_hostile_does_not_disturb_another(make: Make) -> None:
    world = make(superior_settings(), superior_settings("b", access_code=2), superior_settings("c", access_code=3))
    c, b = world.main("c"), world.main("b")
    device = world.online()
    b.wire.full = True
    c.read()
    for _ in range(50):
        c.send_raw(b"\x5b" + bytes(40) + b"\x5d" + b"garbage")
    report(device, 1)
    assert times(c, 0x1202) == ["4001"]
    assert (world["a"].outbox.waiting, world["b"].outbox.waiting, world["c"].outbox.waiting) == (1, 1, 0)
    assert world["c"].counts["dropped: bad_crc"] == 50


# -- the configuration, reread


def test_what_may_change_while_the_links_are_up(make: Make) -> None:
    world = make(superior_settings(), superior_settings("b", access_code=2))
    b, a = world.main("b"), world.main("a")
    device = world.online()
    a.read()
    b.read()
    waiting = world.superiors.reconfigure([superior_settings(vehicles=("京*",), alarms=False), superior_settings("b", access_code=2, sublink_port=9)])
    assert waiting == ["superior b sublink_port"]
    report(device, 1, alarm=1)
    assert a.read() == [] and b.kinds() == [0x1202, 0x1402]
    assert world["a"].state is State.MAIN_UP and world["b"].settings.sublink_port == 8809
    world.superiors.reconfigure([superior_settings(), superior_settings("b", access_code=2)])
    report(device, 2)
    assert a.kinds() == [0x1202]


def test_what_the_links_stand_on_makes_them_anew(make: Make) -> None:
    world = make()
    main, sub = world.main("a"), world.sub("a")
    assert world.superiors.reconfigure([superior_settings(access_code=7, edition=2019), superior_settings("c")]) == ["superior c (new)"]
    assert "access_code" in main.wire.closed and sub.wire.closed
    main.link.lost("closed")
    sub.link.lost("closed")
    world.advance(7.0)
    peer = world.main("a", login=False)
    ((header, business),) = peer.read()
    assert (header.msg_gnsscenterid, business.edition, len(world.attempts)) == (7, 2019, 0)
    world.superiors.reconfigure([superior_settings(access_code=7, edition=2019, enabled=False)])
    assert peer.wire.closed and world["a"].state is State.STOPPED
    assert world.superiors.reconfigure([]) == ["superior a (gone)"]


# -- what a superior may cause at most


def test_a_superior_that_asks_and_does_not_read_is_ended(make: Make) -> None:
    world = make(superior_settings(post_query_rules=("* => " + "x" * 1000,)))
    peer = world.main("a")
    peer.wire.full = True
    for _ in range(5000):
        if peer.wire.closed:
            break
        peer.send(PostQuery(object_type=1, object_id="1", info_id=1, info_content="?"))
    assert peer.wire.closed == "it does not read what it asks for"
    assert len(peer.wire.written) < 6 << 20
    peer.link.lost("closed")
    world.advance(7.0)
    again = world.main("a")
    for number in range(50):
        again.send(PlatformInfo(object_type=1, object_id="1", info_id=number, info_content="?"))
    assert sum(event["event"] == "superior.message" for event in world.told) == 5
    assert world["a"].counts["messages not told"] == 45
    assert again.kinds().count(0x1302) == 50


def test_connections_that_say_nothing_do_not_keep_the_superior_out(make: Make) -> None:
    world = make()
    world.main("a")
    silent = []
    for _ in range(UNKNOWN_LINKS_MAX + 5):
        wire = SuperiorWire("198.51.100.1", 1)
        link = world.superiors.accepted(wire, "0.0.0.0", 8809)
        assert link is not None
        link.begin()
        silent.append(wire)
    assert [wire.closed != "" for wire in silent] == [True] * 5 + [False] * UNKNOWN_LINKS_MAX
    sub = world.sub("a")
    assert sub.kinds() == [0x9002] and world["a"].state is State.BOTH_UP
    world.advance(21.0, 1.0)
    assert all(wire.closed for wire in silent) and not sub.wire.closed
