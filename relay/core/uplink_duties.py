"""The base duties of JT/T 809 that concern platforms: statistics, registrations and exchanges, post queries, messages, resending, alarms, static data.

    0x9101 numbers received         noted                     0x9301 post query            rule, or a person (Requests)
    0x9102 link report wanted       0x1102                    0x9302 message               told, 0x1302
    0x9103 serial numbers           compared; holes: 0x1303   0x9303 resend                the messages again
    0x9201 registration answered    noted                     0x9401 supervision           a person (Requests) → 0x1401
    0x9202–0x9204 others' vehicles  told                      0x9402, 0x9403 alarms        told
    0x9205, 0x9206 exchange         0x1205, 0x1206            0x9601 static data           0x1601
    0x9207–0x9209 our own requests  told                      0x9702, 0x9700 passwords     0x1701 again
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from relay.core import uplink_vehicle
from relay.core.alias import tidy_plate
from relay.core.positions import block_2011
from relay.core.superior_requests import POST_QUERY, SUPERVISION, Send
from relay.core.superior_vehicles import car_info, cut_text
from relay.core.uplink import Reply, Request, origin_of, replier, request_of
from relay.jt809.messages.alarms import SupervisionAnswer, SupervisionRequest
from relay.jt809.messages.base import SUPPLEMENT
from relay.jt809.messages.exchange import ExchangeEndAnswer, ExchangeStartAnswer
from relay.jt809.messages.link import LinkReport, LinkReportRequest, SerialNumbersDown
from relay.jt809.messages.platform import (
    PlatformInfo,
    PlatformInfoAnswer,
    PostQuery,
    PostQueryAnswer,
    ResendRequestDown,
    ResendRequestUp,
)
from relay.jt809.messages.supervision import CarInfoAnswer
from relay.store.errors import StoreError

if TYPE_CHECKING:
    from relay.core.superior import Superior
    from relay.core.superiors import Superiors

log = Logger()

#: 0 in progress (处理中), 1 done (已处理完毕), 2 no action (不作处理), 3 later (将来处理)
HANDLING_WORDS = {"in_progress": 0, "done": 1, "no_action": 2, "later": 3}
RESEND_AT_ONCE = 255  #: 重传消息总数 is one byte
#: events of one kind and superior within TELL_EVERY_S: others' positions may come by the thousand
TELL_AT_ONCE, TELL_EVERY_S = 5, 1.0
EMERGENCY = 2  #: reason of 0x9205: locations go back at once


def register_duties(hub: Superiors) -> None:
    """Put the base duties into the hub's table."""
    duties = _Duties(hub)
    on = hub.uplink.on
    hub.requests.revive = duties.revive
    on(0x9101, 0, duties.note)
    on(0x9102, 0x9102, duties.link_report)
    on(0x9103, 0x9103, duties.serial_numbers)
    on(0x9200, 0x9201, duties.note)
    on(0x9200, 0x9202, duties.tell)
    on(0x9200, 0x9203, duties.tell)
    on(0x9200, 0x9204, duties.tell)
    on(0x9200, 0x9205, duties.exchange_start)
    on(0x9200, 0x9206, duties.exchange_end)
    for kind in (0x9207, 0x9208, 0x9209, 0x920D, 0x920E):
        on(0x9200, kind, duties.tell)
    on(0x9300, 0x9301, duties.post_query)
    on(0x9300, 0x9302, duties.platform_info)
    on(0x9300, 0x9303, duties.resend)
    on(0x9400, 0x9401, duties.supervision)
    on(0x9400, 0x9402, duties.tell)
    on(0x9400, 0x9403, duties.tell)
    on(0x9600, 0x9601, duties.static_data)
    on(0x9700, 0x9702, duties.passwords)
    uplink_vehicle.register(hub)


class _Duties:
    def __init__(self, hub: Superiors) -> None:
        self.hub = hub
        self._told: dict[tuple[str, int], tuple[float, int]] = {}  #: (superior, kind) -> since when, events since then; kinds are those of the table

    # ---- noted and told -------------------------------------------------------------------------------------------------

    def note(self, superior: Superior, request: Request, reply: Reply) -> None:
        """Counted (``Superior.received``); a registration that was refused is told."""
        result = getattr(request.data, "result", 0)
        if request.kind == 0x9201 and result in (2, 3):
            superior.counts["registrations refused"] += 1
            log.warn("superior {name}: a registration (0x1201) was refused, result {result}", name=superior.name, result=result)
        total = getattr(request.data, "dynamic_info_total", None)
        if total is not None:
            superior.counts["positions received by the superior (0x9101)"] += total

    def tell(self, superior: Superior, request: Request, reply: Reply) -> None:
        """Vehicles and alarms of others, answers to our own requests: an event, for whoever is interested; a few a second, the rest is counted."""
        now = self.hub.clock.seconds()
        key = superior.name, request.kind
        told = self._told.get(key, (0.0, 0))
        if now >= told[0] + TELL_EVERY_S:
            told = now, 0
        self._told[key] = told[0], told[1] + 1
        if told[1] >= TELL_AT_ONCE:
            superior.counts["messages not told"] += 1
            return
        self.hub.events.publish("superior.message", superior=superior.name, kind=f"0x{request.kind:04X}", fields=request.business.fields())

    # ---- statistics -----------------------------------------------------------------------------------------------------

    def link_report(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9102 → 0x1102."""
        data = request.data
        if not isinstance(data, LinkReportRequest):
            return
        lost, breaks, seconds = superior.lost_between(data.start_time, data.end_time)
        reply(
            LinkReport(
                platform_id=superior.settings.platform_id, start_time=data.start_time, end_time=data.end_time,
                lose_dynamic_sum=min(lost, 0xFFFFFFFF), disconnect_num=min(breaks, 255), disconnect_time=min(int(seconds), 0xFFFFFFFF),
            )
        )  # fmt: skip

    def serial_numbers(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9103: what the superior has sent; what we lack of it is asked for (0x1303)."""
        data = request.data
        if not isinstance(data, SerialNumbersDown):
            return
        for item in data.items:
            have = superior.peer_serials.get(item.sub_data_type)
            if have is None or item.sub_data_type == request.kind:
                continue
            missing = (item.msg_sn - have) & 0xFFFFFFFF
            if 0 < missing <= RESEND_AT_ONCE:
                superior.counts["resend wanted (0x1303)"] += 1
                reply(
                    ResendRequestUp(
                        retran_data_type=item.sub_data_type, serial_count=missing, begin_msg_sn=(have + 1) & 0xFFFFFFFF, end_msg_sn=item.msg_sn,
                        time=item.time,
                    )
                )  # fmt: skip

    # ---- exchange -------------------------------------------------------------------------------------------------------

    def exchange_start(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9205 → 0x1205; in an emergency the last position goes back at once."""
        reply(ExchangeStartAnswer())
        vehicle = self.hub.find(request.plate, request.color)
        if vehicle is None or getattr(request.data, "reason_code", 0) != EMERGENCY:
            return
        position = vehicle.terminal.position
        if position is not None:
            body = position.encode(vehicle.terminal.edition)
            superior.position(vehicle, body, block_2011(body))

    def exchange_end(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9206 → 0x1206."""
        reply(ExchangeEndAnswer())

    # ---- between platforms ------------------------------------------------------------------------------------------------

    def post_query(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9301 (查岗): answered by the first rule that fits, else by a person within the time allowed."""
        query = request.data
        if not isinstance(query, PostQuery):
            return
        settings = superior.settings
        for rule in settings.post_query_rules:
            pattern, _, answer = rule.partition("=>")
            if fnmatchcase(query.info_content.strip(), pattern.strip()):
                superior.counts["post queries answered by rule"] += 1
                reply(_post_answer(superior, query, answer.strip(), settings.responder, settings.responder_tel))
                return
        limit = query.answer_time * 60.0 if query.answer_time else float(settings.post_query_s)
        details = {"object_type": query.object_type, "object_id": str(query.object_id), "info_id": query.info_id}
        send, deadline = _post_query_sender(superior, query, reply), self.hub.wall() + limit
        self.hub.requests.add(superior.name, POST_QUERY, str(query.info_content), deadline, details, send, origin_of(request))

    def platform_info(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9302 → 0x1302, and told to people."""
        data = request.data
        if not isinstance(data, PlatformInfo):
            return
        self.tell(superior, request, reply)
        reply(PlatformInfoAnswer(info_id=data.info_id if superior.body_edition < 2019 else None))

    def resend(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9303: what is still here goes up again."""
        data = request.data
        if isinstance(data, ResendRequestDown):
            found = superior.resend(data.retran_data_type or 0, data.begin_msg_sn, data.end_msg_sn)
            superior.counts["resent (0x9303)"] += found

    # ---- alarms ---------------------------------------------------------------------------------------------------------

    def supervision(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9401 (报警督办): a person answers with what is done about the alarm."""
        data = request.data
        if not isinstance(data, SupervisionRequest):
            return
        fields = data.fields()
        details = {**fields, "plate": request.business.vehicle_no, "plate_color": request.business.vehicle_color}
        text = f"{request.business.vehicle_no} 报警督办 {data.supervisor}".strip()
        deadline = float(data.supervision_endtime) or self.hub.wall() + superior.settings.post_query_s
        deadline = min(deadline, self.hub.wall() + 30 * 86400.0)
        self.hub.requests.add(superior.name, SUPERVISION, text, deadline, details, _supervision_sender(data, reply), origin_of(request))

    def revive(self, name: str, kind: str, origin: dict[str, Any]) -> Send | None:
        """What sends the answer to a request of before the start."""
        superior, request = self.hub.get(name), request_of(origin)
        if superior is None or request is None:
            return None
        reply = replier(superior, request)
        if kind == POST_QUERY and isinstance(request.data, PostQuery):
            return _post_query_sender(superior, request.data, reply)
        if kind == SUPERVISION and isinstance(request.data, SupervisionRequest):
            return _supervision_sender(request.data, reply)
        return None

    # ---- static data ------------------------------------------------------------------------------------------------------

    async def static_data(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9601 → 0x1601, of a vehicle that was seen or that the store knows. Nothing is told of one that is neither."""
        vehicle = self.hub.find(request.plate, request.color)
        known = vehicle.terminal.known if vehicle is not None else None
        plate, color = (vehicle.plate, vehicle.color) if vehicle is not None else ("", 0)
        if vehicle is None:
            try:
                row = await self.hub.rows.resolve(request.plate)
            except StoreError as problem:
                log.warn("superior {name}: 0x9601 not answered: {problem}", name=superior.name, problem=str(problem))
                return
            if row is not None and row.plate_color in (None, request.color):
                plate, color, known = tidy_plate(row.plate), request.color, row
        if not plate:
            superior.counts["static data of unknown vehicles asked for"] += 1
            return
        details = known.details if known is not None else {}
        reply(CarInfoAnswer(car_info=car_info(superior.settings.car_info, superior.body_edition, plate, color, details)))

    def passwords(self, superior: Superior, request: Request, reply: Reply) -> None:
        """0x9700 meant as a demand for the passwords; what is in a real 0x9702 is for other government platforms."""
        superior.send_passwords()


def _post_query_sender(superior: Superior, query: PostQuery, reply: Reply) -> Send:
    def send(answer: dict[str, Any]) -> bool:
        responder = answer.get("responder") or superior.settings.responder
        return reply(_post_answer(superior, query, answer["text"], responder, answer.get("responder_tel", ""))) is not None

    return send


def _supervision_sender(data: SupervisionRequest, reply: Reply) -> Send:
    def send(answer: dict[str, Any]) -> bool:
        return reply(SupervisionAnswer(supervision_id=data.supervision_id or 0, result=HANDLING_WORDS[answer["result"]])) is not None

    return send


def _post_answer(superior: Superior, query: PostQuery, text: str, responder: str, tel: str) -> PostQueryAnswer:
    """0x1301 in the layout of the query: object_id as wide as it came."""
    new = superior.body_edition >= 2019
    message = PostQueryAnswer(
        object_type=query.object_type, object_id=query.object_id, info_id=None if new else query.info_id, info_content=text,
        responder=cut_text(responder, 16) if new else None, responder_tel=cut_text(tel, 20) if new else None,
    )  # fmt: skip
    if not new and query.edition == SUPPLEMENT:
        message.edition = SUPPLEMENT
    return message
