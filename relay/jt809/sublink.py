"""The subordinate link (从链路) from the subordinate platform's side: the superior connects and logs in with 0x9001.

What a message does in each phase (— : out of place, counted and dropped)::

                              NEW                              UP
    0x9001 right code         answered 0, → UP, SubLoggedIn    answered 0
    0x9001 wrong code         answered 1, ended                answered 1, counted; the link stays as it is
    0x9003 logout             —                                answered 0x9004, PeerCloses, ended; with a wrong code counted
    0x9005 keep-alive         —                                answered 0x9006
    0x1006 on the wrong link  —                                KeptAlive
    0x1005                    —                                answered 0x1006 here
    0x9007, 0x9008            —                                SubLinkLost; PeerCloses, ended
    business                  —                                Received

    NEW ends after ``login_timeout_s``; UP after ``timeout_s`` without a good frame.

Several superiors may share one port: the first frame is tried with the edition and keys of each whose access code it carries, and belongs to the one
whose verify code it brings. Where only one superior is expected, its access code is not looked at, since some superiors leave it 0 here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from relay.errors import FrameError, ProtocolError
from relay.jt809 import framing
from relay.jt809.envelope import Business
from relay.jt809.header import Header, decode_frame
from relay.jt809.link import Link, LinkOptions, LoginRefused, PeerCloses, Phase, Serials, SubLoggedIn

SUB_LOGIN = 0x9001
_ACCESS_CODE_AT = 10  #: in the header of either edition

RIGHT, WRONG_CODE, BUSY, OTHER = 0, 1, 2, 3


@dataclass(frozen=True, slots=True)
class Candidate:
    """A superior that may connect here."""

    name: str
    options: LinkOptions
    serials: Serials
    verify_code: Callable[[], int | None]  #: of the present main-link login; None: nobody may log in now


class SubLink(Link):
    """One accepted connection. ``name`` is the superior's once it has logged in."""

    TABLE: ClassVar[Mapping[tuple[Phase, int], str]] = {
        (Phase.NEW, 0x9001): "_login",
        (Phase.UP, 0x9001): "_login_again",
        (Phase.UP, 0x9003): "_logout",
        (Phase.UP, 0x9005): "_answer_sub_test",
        (Phase.UP, 0x1005): "_answer_main_test",
        (Phase.UP, 0x1006): "_kept_alive",
        (Phase.UP, 0x9007): "_sub_lost",
        (Phase.UP, 0x9008): "_peer_stops",
    }

    def __init__(self, candidates: Sequence[Candidate], now: float, epoch: float = 0.0, seed: int = 1) -> None:
        first = candidates[0]
        super().__init__(first.options, first.serials, now, epoch, seed)
        self.candidates = tuple(candidates)
        self.name = ""
        self._chosen = first
        self._code: int | None = None  #: the one this link logged in with: it may be an older login's by the time of 0x9003

    def _decode(self, frame: bytes) -> tuple[Header, bytes]:
        if self.phase is not Phase.NEW or len(self.candidates) == 1:
            return super()._decode(frame)
        inner = framing.unescape(frame[1:-1])
        code = int.from_bytes(inner[_ACCESS_CODE_AT : _ACCESS_CODE_AT + 4], "big")
        fault: ProtocolError = FrameError("access_code", f"no superior with access code {code} is expected here")
        fallback: tuple[Header, bytes] | None = None
        for one in self.candidates:
            if one.options.access_code != code:
                continue
            try:
                header, body, _ = decode_frame(frame, one.options.edition, one.options.keys)
            except ProtocolError as problem:
                fault = problem
                continue
            self._choose(one)
            if header.msg_id == SUB_LOGIN and len(body) == 4 and int.from_bytes(body, "big") == one.verify_code():
                return header, body
            fallback = header, body
        if fallback is None:
            raise fault
        return fallback

    def _choose(self, one: Candidate) -> None:
        self._chosen, self.options, self.serials = one, one.options, one.serials
        self._version = bytes(one.options.version)

    def _verdict(self, business: Business) -> tuple[int, str]:
        expected = self._chosen.verify_code()
        if expected is None:
            return WRONG_CODE, "0x9001 while the main link is not logged in"
        if getattr(business.data, "verify_code", None) != expected:
            return WRONG_CODE, "0x9001 with another verify code than 0x1002 gave"
        return RIGHT, ""

    def _login(self, header: Header, business: Business, now: float) -> None:
        result, reason = self._verdict(business)
        self.send_body(0x9002, 0x9002, bytes((result,)), now)
        if result == RIGHT:
            self.phase = Phase.UP
            self.name = self._chosen.name
            self._code = self._chosen.verify_code()
            self._events.append(SubLoggedIn(self.name))
            return
        self.errors["verify_code"] += 1
        self._events.append(LoginRefused(result, reason))
        self.end(reason)

    def _login_again(self, header: Header, business: Business, now: float) -> None:
        result, reason = self._verdict(business)
        self.send_body(0x9002, 0x9002, bytes((result,)), now)
        if result != RIGHT:
            self._broken("verify_code", reason)

    def _logout(self, header: Header, business: Business, now: float) -> None:
        result, _ = self._verdict(business)
        if result != RIGHT and getattr(business.data, "verify_code", None) != self._code:
            self._broken("verify_code", "0x9003 with another verify code")
            return
        self.send_body(0x9004, 0x9004, b"", now)
        self._events.append(PeerCloses(0, header.msg_id))
        self.end("the superior logged out (0x9003)")
