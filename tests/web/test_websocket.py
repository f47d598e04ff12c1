"""RFC 6455 as the server speaks it; wsproto is the other side where one is needed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request, TextMessage

from relay.web.connection import CLOSE_S, MISSES, PING_S, QUEUE_BYTES, UNASKED_BYTES, Connection, WebSocket
from relay.web.router import TAKEN, Call, Permission, Route
from relay.web.websocket import MESSAGE_BYTES, Message, Opcode, Reader, Violation, accept, close_frame, frame, unmask
from tests.web.support import UPGRADE, MemoryTransport, Server, parse, request, routed

KEY = b"\x12\x34\x56\x78"


def masked(first: int, payload: bytes, size: int | None = None) -> bytes:
    """A client's frame; ``size`` tells a lie about the length."""
    length = len(payload) if size is None else size
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = bytes((first, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + length.to_bytes(8, "big")
    return head + KEY + unmask(payload, KEY)


def feed(reader: Reader, pieces: list[bytes]) -> list[Message]:
    """What a reader makes of the pieces."""
    return [message for piece in pieces for message in reader.receive(piece)]


# frames -------------------------------------------------------------------------


def test_the_examples_of_rfc_6455_5_7() -> None:
    assert Reader().receive(bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")) == [Message(Opcode.TEXT, b"Hello")]
    assert Reader().receive(bytes.fromhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")) == [Message(Opcode.PONG, b"Hello")]
    assert frame(Opcode.TEXT, b"Hello") == bytes.fromhex("81 05 48 65 6c 6c 6f")
    assert frame(Opcode.BINARY, bytes(256))[:4] == bytes.fromhex("82 7e 01 00")
    assert frame(Opcode.BINARY, bytes(65536))[:10] == bytes.fromhex("82 7f 00 00 00 00 00 01 00 00")


def test_a_message_in_parts_with_control_frames_between() -> None:
    data = masked(0x01, b"Hel") + masked(0x89, b"ping") + masked(0x00, b"") + masked(0x00, b"l") + masked(0x80, b"o") + masked(0x82, b"\x00")
    expected = [Message(Opcode.PING, b"ping"), Message(Opcode.TEXT, b"Hello"), Message(Opcode.BINARY, b"\x00")]
    assert Reader().receive(data) == expected
    for at in range(len(data)):
        reader = Reader()
        assert reader.receive(data[:at]) + reader.receive(data[at:]) == expected
    reader = Reader()
    assert [message for byte in data for message in reader.receive(bytes((byte,)))] == expected


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
def test_every_form_of_the_length(size: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    assert Reader().receive(masked(0x82, payload[:size])) == [Message(Opcode.BINARY, payload[:size])]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes.fromhex("81 05 48 65 6c 6c 6f"), 1002),  # not masked
        (masked(0xC1, b"x"), 1002),  # compressed, which was not agreed
        (masked(0x91, b"x"), 1002),
        (masked(0x83, b"x"), 1002),  # opcode 3
        (masked(0x8B, b"x"), 1002),
        (masked(0x80, b"x"), 1002),  # a continuation of nothing
        (masked(0x01, b"x") + masked(0x81, b"y"), 1002),  # a message inside another
        (masked(0x09, b"x"), 1002),  # a ping in parts
        (masked(0x89, b"x" * 126), 1002),  # a long ping
        (b"\x82\xfe\x00\x05" + KEY + b"12345", 1002),  # a length not in its shortest form
        (b"\x82\xff" + (65535).to_bytes(8, "big") + KEY, 1002),
        (b"\x82\xff" + (1 << 63).to_bytes(8, "big") + KEY, 1002),
        (masked(0x81, b"\xff"), 1007),
        (masked(0x01, b"\xe7") + masked(0x80, b"\xb2"), 1007),
        (masked(0x88, b"\x03"), 1002),
        (masked(0x88, (1005).to_bytes(2, "big")), 1002),
        (masked(0x88, (999).to_bytes(2, "big")), 1002),
        (masked(0x88, (1000).to_bytes(2, "big") + b"\xff"), 1007),
        (masked(0x82, b"", MESSAGE_BYTES + 1), 1009),
        (masked(0x82, b"", 1 << 40), 1009),
        (masked(0x82, b"", (1 << 63) - 1), 1009),
        (masked(0x02, b"x" * 40000) + masked(0x00, b"y" * 40000), 1009),
    ],
)
def test_violations_have_their_close_code(data: bytes, code: int) -> None:
    with pytest.raises(Violation) as caught:
        Reader().receive(data)
    assert caught.value.code == code
    with pytest.raises(Violation) as caught:
        feed(Reader(), [bytes((byte,)) for byte in data])
    assert caught.value.code == code


def test_a_character_may_be_cut_between_the_parts_of_a_text() -> None:
    text = "粤B".encode()
    assert Reader().receive(masked(0x01, text[:1]) + masked(0x80, text[1:])) == [Message(Opcode.TEXT, text)]


def test_an_endless_message_of_tiny_parts_is_cut_off_and_held_compactly() -> None:
    reader = Reader()
    reader.receive(masked(0x02, b""))
    with pytest.raises(Violation):
        feed(reader, [masked(0x00, b"x") * 1000] * 100)


def test_endless_empty_parts_hold_nothing() -> None:
    reader = Reader()
    reader.receive(masked(0x02, b""))
    for _ in range(1000):
        assert reader.receive(masked(0x00, b"") * 100) == []
    assert reader.receive(masked(0x80, b"end")) == [Message(Opcode.BINARY, b"end")]


@given(st.lists(st.binary(max_size=200), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_messages_or_a_violation(pieces: list[bytes]) -> None:
    caught = None
    try:
        feed(Reader(), pieces)
    except Violation as problem:
        caught = problem.code
    assert caught in (None, 1002, 1007, 1009)


@pytest.mark.parametrize("reason", ["", "x" * 123, "x" * 200, "粤" * 100])
def test_a_close_frame_is_a_control_frame(reason: str) -> None:
    data = close_frame(4404, reason)
    assert len(data) <= 2 + 125
    assert data[:2] == bytes((0x88, len(data) - 2))
    assert reason.startswith(data[4:].decode())


# the handshake -------------------------------------------------------------------


def socket_server() -> tuple[Server, list[WebSocket]]:
    """A server with one WebSocket at ``/ws``."""
    sockets: list[WebSocket] = []

    def open_socket(call: Call) -> Any:
        head = accept(call.request)
        socket = WebSocket()
        sockets.append(socket)
        socket.begin(call.request, server.make_sink, head)
        return TAKEN

    server, _ = routed([Route(method="GET", path="/ws", handler=open_socket, permission=Permission.PUBLIC, summary="A socket", any_query=True)])
    return server, sockets


def test_the_handshake_of_rfc_6455_1_2() -> None:
    server, _ = socket_server()
    transport = server.send("GET", "/ws", {**UPGRADE, "Sec-WebSocket-Protocol": "chat, superchat"})
    answer, rest = parse(transport.value(), head=True)
    assert answer.status == 101
    assert answer.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert answer.headers["sec-websocket-protocol"] == "chat"
    assert rest == b""
    server.end()


@pytest.mark.parametrize(
    "change",
    [
        {"Sec-WebSocket-Version": "8"},
        {"Sec-WebSocket-Version": ""},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": "!" * 24},
        {"Sec-WebSocket-Key": ""},
    ],
)
def test_a_malformed_handshake_is_400(change: dict[str, str]) -> None:
    server, sockets = socket_server()
    answer = server.ask("GET", "/ws", {**UPGRADE, **change})
    assert answer.status == 400
    assert sockets == []
    server.end()


def test_a_hostile_subprotocol_is_not_repeated() -> None:
    server, _ = socket_server()
    assert b"evil" not in server.send("GET", "/ws", {**UPGRADE, "Sec-WebSocket-Protocol": "evil x"}).value()
    server.end()


class Peer:
    """wsproto at the other end."""

    def __init__(self, server: Server, target: str = "/ws") -> None:
        self.client = WSConnection(ConnectionType.CLIENT)
        self.transport: MemoryTransport = server.connect()
        self.transport.feed(self.client.send(Request(host="relay.example", target=target)))
        assert isinstance(self.events()[0], AcceptConnection)

    def events(self) -> list[Any]:
        data = self.transport.value()
        self.transport.clear()
        self.client.receive_data(data)
        return list(self.client.events())

    def send(self, event: Any) -> None:
        self.transport.feed(self.client.send(event))


def test_messages_pings_and_the_closing_handshake_with_wsproto() -> None:
    server, sockets = socket_server()
    peer = Peer(server)
    peer.send(TextMessage("hello"))
    peer.send(Ping(b"are you there"))
    assert [type(event) for event in peer.events()] == [Pong]
    sockets[0].text("粤".encode())
    sockets[0].write(frame(Opcode.BINARY, bytes(70000)))
    events = peer.events()
    assert "".join(event.data for event in events if isinstance(event, TextMessage)) == "粤"
    assert sum(len(event.data) for event in events if isinstance(event, BytesMessage)) == 70000
    peer.send(CloseConnection(1001, "away"))
    events = peer.events()
    assert isinstance(events[0], CloseConnection)
    assert events[0].code == 1001
    assert peer.transport.disconnecting
    server.end()


def test_the_server_closes_with_code_and_reason() -> None:
    server, sockets = socket_server()
    peer = Peer(server)
    sockets[0].end(4404, "unknown terminal")
    event = peer.events()[0]
    assert (event.code, event.reason) == (4404, "unknown terminal")
    server.end()


def test_a_violation_closes_with_its_code() -> None:
    server, _ = socket_server()
    peer = Peer(server)
    peer.transport.feed(masked(0x82, b"", 1 << 62))
    event = peer.events()[0]
    assert event.code == 1009
    peer.transport.feed(b"x" * 100000)  # what still comes is not looked at
    server.clock.advance(CLOSE_S)
    assert peer.transport.aborted
    server.end()


def test_a_client_is_pinged_and_dropped_after_two_misses() -> None:
    server, _ = socket_server()
    peer = Peer(server)
    for _ in range(5):
        server.clock.advance(PING_S)
        assert [type(event) for event in peer.events()] == [Ping]
        peer.send(Pong(b""))
    for _ in range(MISSES):
        assert not peer.transport.aborted
        server.clock.advance(PING_S)
    server.clock.advance(PING_S)
    assert peer.transport.aborted
    server.end()


# connections taken over ------------------------------------------------------------


def test_a_connection_taken_over_leaves_nothing_of_twisted_web() -> None:
    import gc
    import weakref

    server, sockets = socket_server()
    transport = server.connect()
    channel = weakref.ref(transport.protocol)
    gc.disable()
    try:
        transport.feed(request("GET", "/ws", UPGRADE))
        assert transport.protocol is sockets[0]
        assert channel() is None  # by reference counts alone
    finally:
        gc.enable()
    assert server.site.open == 1
    server.end()


def test_what_was_pipelined_behind_an_upgrade_is_not_answered() -> None:
    server, _ = socket_server()
    transport = server.connect()
    transport.feed(request("GET", "/ws", UPGRADE) + request("GET", "/ws", UPGRADE))
    assert transport.value().count(b"HTTP/1.1") == 1
    server.end()


def plain_server() -> tuple[Server, list[Connection]]:
    taken: list[Connection] = []

    def take(call: Call) -> Any:
        connection = Connection()
        taken.append(connection)
        connection.begin(call.request, server.make_sink, b"HEAD ")
        return TAKEN

    server, _ = routed([Route(method="GET", path="/x", handler=take, permission=Permission.PUBLIC, summary="x")])
    return server, taken


def test_writes_keep_their_order_while_the_sink_is_full() -> None:
    server, taken = plain_server()
    transport = server.send("GET", "/x")
    sink = server.sinks[0]
    sink.at_once = False
    sink.room = 3
    taken[0].write(b"abcdef")
    taken[0].write(b"ghi")
    drained: list[int] = []
    taken[0].when_drained(lambda: drained.append(1))
    assert transport.value() == b"HEAD abc"
    sink.room = 1 << 30
    while sink.held:
        assert drained == []
        sink.drain()
    assert transport.value() == b"HEAD abcdefghi"
    assert drained == [1]
    taken[0].close(b" BYE")
    assert transport.value() == b"HEAD abcdefghi BYE"
    server.end()


def test_a_close_waits_for_what_is_queued() -> None:
    server, taken = plain_server()
    transport = server.send("GET", "/x")
    sink = server.sinks[0]
    sink.at_once, sink.room = False, 0
    taken[0].write(b"x" * 40000)
    taken[0].close(b"BYE")
    assert sink.closed is None
    sink.at_once = True
    sink.drain()
    assert transport.value() == b"HEAD " + b"x" * 40000 + b"BYE"
    server.end()


def test_a_client_that_does_not_read_is_cut_off_at_the_limit() -> None:
    server, taken = plain_server()
    transport = server.send("GET", "/x")
    sink = server.sinks[0]
    sink.at_once, sink.room = False, 0
    for _ in range(QUEUE_BYTES // 1000 + 20):
        taken[0].write(b"x" * 1000)
    assert transport.aborted
    server.end()


def test_a_player_that_goes_on_talking_is_cut_off() -> None:
    server, _ = plain_server()
    transport = server.send("GET", "/x")
    for _ in range(UNASKED_BYTES // 4096 + 1):
        assert not transport.aborted
        transport.feed(b"x" * 4096)
    assert transport.aborted
    server.end()


def test_accept_wants_http_1_1() -> None:
    server, _ = socket_server()
    transport = server.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in UPGRADE.items())
    transport.feed(f"GET /ws HTTP/1.0\r\nHost: a\r\n{lines}\r\n".encode())
    assert parse(transport.value())[0].status == 400
    server.end()
