"""Which message answers which: what a request waits for, and what the platform answers to the terminal's messages.

JT/T 808 §7 of the 2013 text, JT/T 1078 §5. Every message wants an answer, a special one or the general one (0x0001 up, 0x8001 down).
A special answer names its request by 应答流水号 (``reply_serial``, always the body's first WORD), except for the few that name it by
their id alone; then the oldest request that waits for that id is meant.
"""

from __future__ import annotations

from dataclasses import dataclass

TERMINAL_GENERAL = 0x0001
PLATFORM_GENERAL = 0x8001


@dataclass(frozen=True, slots=True)
class Expect:
    """What a request waits for."""

    final: tuple[int, ...]  #: any of these ends it; a general answer ends it only if it is listed
    by_id: bool = False  #: the special answer carries no reply_serial


_GENERAL_UP = Expect((TERMINAL_GENERAL,))
_GENERAL_DOWN = Expect((PLATFORM_GENERAL,))

#: the platform's requests whose answer is not simply 0x0001. A 0x0001 with result 0 that is not listed means "accepted, wait on".
PLATFORM_REQUESTS: dict[int, Expect] = {
    0x8104: Expect((0x0104,)),
    0x8106: Expect((0x0104,)),
    0x8107: Expect((0x0107,), by_id=True),
    0x8201: Expect((0x0201,)),  # the 2011 layout has no serial: matched by id then
    0x8500: Expect((0x0500,)),  # 0x0001 at once, 0x0500 after doing it
    0x8608: Expect((0x0608,), by_id=True),
    0x8700: Expect((0x0700,)),
    0x8702: Expect((0x0702,), by_id=True),
    0x8801: Expect((0x0805, TERMINAL_GENERAL)),  # 2011 knows only 0x0001
    0x8802: Expect((0x0802,)),
    0x8A00: Expect((0x0A00,), by_id=True),
    0x9003: Expect((0x1003,), by_id=True),
    0x9201: Expect((0x1205, TERMINAL_GENERAL)),  # the standard says 0x1205; many terminals send 0x0001, or both
    0x9205: Expect((0x1205,)),
    # 0x9206 is accepted by 0x0001; its 0x1206 may come hours and several links later, so it is no request of one link.
}

#: the same for the terminal's side (simulator)
TERMINAL_REQUESTS: dict[int, Expect] = {
    0x0004: Expect((0x8004,), by_id=True),
    0x0100: Expect((0x8100,)),
    0x0801: Expect((0x8800, PLATFORM_GENERAL), by_id=True),
    0x0A00: Expect((0x8A00, PLATFORM_GENERAL), by_id=True),
}

#: answers by id that begin with a reply_serial in some edition or from some terminals: the serial is tried first, then the id
SERIAL_MAY_LACK = frozenset({0x0201})


def expectation(msg_id: int, platform: bool) -> Expect:
    """What answers a message that this side sends."""
    if platform:
        return PLATFORM_REQUESTS.get(msg_id, _GENERAL_UP)
    return TERMINAL_REQUESTS.get(msg_id, _GENERAL_DOWN)


#: what the terminal sends and the platform need not answer, being answers themselves (0x0001 never: that would loop)
UNANSWERED = frozenset({TERMINAL_GENERAL, 0x0104, 0x0107, 0x0201, 0x0302, 0x0500, 0x0608, 0x0802, 0x0805, 0x1003})

#: ids of the standards that get a positive 0x8001 although nothing here reads them (they are passed on raw); any other unknown id gets
#: result 3, "not supported"
STANDARD_UPLINK = frozenset(
    {
        0x0002, 0x0003, 0x0108, 0x0200, 0x0301, 0x0303, 0x0700, 0x0701, 0x0702, 0x0704, 0x0705, 0x0800, 0x0801, 0x0900, 0x0901,
        0x1005, 0x1205, 0x1206,
    }
)  # fmt: skip

#: what the platform sends and the terminal need not answer (answers themselves)
UNANSWERED_DOWN = frozenset({PLATFORM_GENERAL, 0x8003, 0x8004, 0x8100, 0x8800})

#: 结果 of the general answers, in words for people
RESULT_WORDS = {0: "ok", 1: "failed", 2: "message error", 3: "not supported", 4: "alarm confirmed"}
