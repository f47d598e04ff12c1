"""The main link (主链路) from the subordinate platform's side: we connect, log in with 0x1001, and keep it alive with 0x1005.

What a message does in each phase (— : out of place, counted and dropped)::

                              NEW                  UP                      LEAVING
    0x1002 result 0           → UP, LoggedIn       —                       —
    0x1002 other results      LoginRefused, ended  —                       —
    0x1004 logout answered    —                    —                       ended
    0x1005 (some superiors)   answered 0x1006      answered 0x1006         answered 0x1006
    0x1006                    sign of life         KeptAlive               KeptAlive
    0x9005 on the wrong link  —                    answered 0x9006 here    answered 0x9006 here
    0x9007                    —                    SubLinkLost             SubLinkLost
    0x9008                    PeerCloses, ended    PeerCloses, ended       PeerCloses, ended
    business                  —                    Received                Received

    NEW ends after ``login_timeout_s``; UP after ``timeout_s`` without a good frame from the superior; LEAVING after ``LEAVE_S``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from relay.jt809.envelope import Business
from relay.jt809.header import Header
from relay.jt809.link import Link, LinkOptions, LoggedIn, LoginRefused, Phase, Serials
from relay.jt809.messages.link import LOGIN_RESULT, Login, LoginAnswer, Logout

LEAVE_S = 5.0  #: how long 0x1004 is awaited; the superior has nothing to do for it but to answer


class MainLink(Link):
    """One connection to the superior. Call ``login`` once it is made."""

    TABLE: ClassVar[Mapping[tuple[Phase, int], str]] = {
        (Phase.NEW, 0x1002): "_login_answered",
        (Phase.NEW, 0x1005): "_answer_main_test",
        (Phase.NEW, 0x1006): "_ignore",
        (Phase.NEW, 0x9008): "_peer_stops",
        (Phase.UP, 0x1005): "_answer_main_test",
        (Phase.UP, 0x1006): "_kept_alive",
        (Phase.UP, 0x9005): "_answer_sub_test",
        (Phase.UP, 0x9007): "_sub_lost",
        (Phase.UP, 0x9008): "_peer_stops",
        (Phase.LEAVING, 0x1004): "_left",
        (Phase.LEAVING, 0x1005): "_answer_main_test",
        (Phase.LEAVING, 0x1006): "_kept_alive",
        (Phase.LEAVING, 0x9005): "_answer_sub_test",
        (Phase.LEAVING, 0x9007): "_sub_lost",
        (Phase.LEAVING, 0x9008): "_peer_stops",
    }

    def __init__(self, options: LinkOptions, serials: Serials, now: float, epoch: float = 0.0, seed: int = 1) -> None:
        super().__init__(options, serials, now, epoch, seed)
        self._next_probe = 0.0
        self._leaving_since = 0.0

    def login(self, now: float) -> None:
        """Send 0x1001."""
        options = self.options
        code = options.access_code if options.body >= 2019 else None
        message = Login(
            user_id=options.user_id,
            password=options.password,
            msg_gnsscenterid=code,
            down_link_ip=options.down_link_ip,
            down_link_port=options.down_link_port,
        )
        self.send_body(0x1001, 0x1001, message.encode(options.body), now)

    def logout(self, now: float) -> None:
        """Send 0x1003 and await 0x1004."""
        if self.phase is Phase.UP:
            self.phase = Phase.LEAVING
            self._leaving_since = now
            self.send_body(0x1003, 0x1003, Logout(user_id=self.options.user_id, password=self.options.password).encode(self.options.body), now)
        elif self.phase is Phase.NEW:
            self.end("stopped before the login was answered")

    def _login_answered(self, header: Header, business: Business, now: float) -> None:
        answer = business.data
        if not isinstance(answer, LoginAnswer):  # pragma: no cover - the register has no other class for it
            return
        if answer.result == 0:
            self.phase = Phase.UP
            self._next_probe = now + self.options.heartbeat_s
            self._events.append(LoggedIn(answer.verify_code))
            return
        reason = f"login refused: {answer.result} ({LOGIN_RESULT.get(answer.result, 'not a known result')})"
        self._events.append(LoginRefused(answer.result, reason))
        self.end(reason)

    def _kept_alive(self, header: Header, business: Business, now: float) -> None:
        self.answered(now)
        super()._kept_alive(header, business, now)

    def _left(self, header: Header, business: Business, now: float) -> None:
        self.end("logged out")

    def next_deadline(self) -> float | None:
        """See ``Link``."""
        deadline = super().next_deadline()
        if deadline is None or self.phase is Phase.NEW:
            return deadline
        if self.phase is Phase.LEAVING:
            return min(deadline, self._leaving_since + LEAVE_S)
        return min(deadline, self._next_probe)

    def tick(self, now: float) -> None:
        """See ``Link``."""
        super().tick(now)
        if self.phase is Phase.UP and now >= self._next_probe:
            self._next_probe = now + self.options.heartbeat_s
            self.probe(now)
        elif self.phase is Phase.LEAVING and now >= self._leaving_since + LEAVE_S:
            self.end("logged out; 0x1003 was not answered")
