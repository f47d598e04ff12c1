"""The steps of the self-test, in the order of JT/T 1077's subjects: links, passwords, positions, alarms, requests, live, catalogue, playback and its control,
download and its control, disconnection and supplements, logout. Each is tried with both superior platforms, each with its own vehicle.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from relay.app.selftest import PLATFORM, Bench, SelfTestError, Side
from relay.app.selftest_report import Result
from relay.jt808.messages.location import LocationReport
from relay.jt808.messages.video import FileUpload
from relay.jt809.messages.platform import PostQuery
from relay.jt809.messages.supervision import PhotoRequest, TextRequest
from relay.sim.superior import NotAnsweredError, Position
from relay.sim.superior_asks import FASTER, KEYFRAMES, PAUSE, PLAY, SEEK, STOP, Asks
from relay.sim.superior_player import StreamPlayer
from relay.sim.uploads import files_of
from relay.sim.vehicle import from_bcd

GAP_S = 3.5  #: without a main link
SETTLE_S = 0.5  #: for what is under way to the other superior
FRAMES = 60  #: of a picture that is compared
WRONG = "0" * 64
SEEK_S = 60  #: into the recording


class Step(NamedTuple):
    """One subject."""

    id: str
    zh: str
    en: str
    messages: str
    run: Callable[[Bench, Side, Result], Awaitable[None]]
    limit_s: float = 15.0
    alone: bool = False  #: one superior after the other: measured, or about one vehicle


# ---- links ------------------------------------------------------------------------------------------------------------------------


async def links(bench: Bench, side: Side, result: Result) -> None:
    superior = side.superior
    await superior.logged_in(timeout_s=10)
    await bench.until(lambda: bench.state(side).as_dict()["state"] == "both_up", "both links are up for the relay too")
    login = next(heard.business.data for heard in superior.heard if heard.kind == 0x1001)
    options = superior.options
    result.expect("主链路登录用户", "user of the main link's login", options.user_id, getattr(login, "user_id", None))
    header = next(heard.header for heard in superior.heard if heard.kind == 0x1001)
    result.expect("接入码", "access code", options.access_code, header.msg_gnsscenterid)
    result.expect("报文加密标志", "encryption flag", options.encrypt, bool(header.encrypt_flag))
    result.expect("从链路登录结果", "result of the subordinate link's login", [0], [
        int(getattr(heard.business.data, "result", -1)) for heard in superior.heard if heard.kind == 0x9002
    ])  # fmt: skip
    await superior.until(lambda: superior.kinds[0x1005] > 0 and superior.kinds[0x9006] > 0, 8)
    result.expect("主链路保持 0x1005", "keep-alive of the main link", "≥ 1", superior.kinds[0x1005], superior.kinds[0x1005] > 0)
    result.expect("从链路保持应答 0x9006", "keep-alive of the subordinate link, answered", "≥ 1", superior.kinds[0x9006], superior.kinds[0x9006] > 0)
    broken = {name: count for name, count in superior.counts.items() if name.startswith("broken")}
    result.expect("错误报文", "broken frames", {}, broken)


async def passwords(bench: Bench, side: Side, result: Result) -> None:
    superior, known = side.superior, bench.parts.superiors.passwords
    await superior.until(lambda: bool(superior.passwords[0]), 5)
    first = superior.passwords
    for at, (zh, en) in enumerate((("归属地区时效口令", "home-domain password"), ("跨域地区时效口令", "cross-domain password"))):
        value = first[at]
        result.expect(f"{zh}：64 位字母数字", f"{en}: 64 letters and digits", 64, len(value), len(value) == 64 and value.isascii() and value.isalnum())
        result.expect(f"{zh}一致", f"{en} is the same on both sides", "…", "…" if known.pair(side.name)[at] == value else "≠")
    known.renew(side.name)
    bench.state(side).send_passwords()
    await superior.until(lambda: superior.passwords != first, 5)
    result.expect("更新后一致", "the same after a renewal", "…", "…" if known.pair(side.name) == superior.passwords else "≠")
    old = Asks(superior, *side.vehicle, timeout_s=10)
    fresh, superior.passwords = superior.passwords, first
    try:
        answer = await old.live(4)
        result.expect("重叠期内旧口令有效", "the former password is good for the overlap", 0, int(answer.result))
    finally:
        superior.passwords = fresh
    await side.asks.live_stop(4)


# ---- vehicles, positions, alarms --------------------------------------------------------------------------------------------------


async def registration(bench: Bench, side: Side, result: Result) -> None:
    superior = side.superior
    for terminal in bench.terminals:
        vehicle = terminal.plate, 2
        await superior.until(lambda vehicle=vehicle: vehicle in superior.vehicles, 10)  # type: ignore[misc]
        told = superior.vehicles[vehicle]
        result.expect("车牌与颜色", "plate and colour", vehicle, vehicle)
        result.expect("终端手机号", "terminal's number", terminal.phone.lstrip("0"), str(told.terminal_simcode).lstrip("0"))
        result.expect("平台唯一编码", "platform", PLATFORM, str(told.platform_id))
        result.expect("终端编号", "terminal's id", terminal.phone[-7:], str(told.terminal_id).strip("\0 "))


def facts_sent(report: LocationReport) -> tuple[Any, ...]:
    """What must come as it was sent: time, place, height, direction, status, alarms."""
    return (
        str(report.time), int(report.latitude), int(report.longitude), int(report.altitude), int(report.direction), int(report.status_flags),
        int(report.alarm_flags),
    )  # fmt: skip


def facts_received(position: Position) -> tuple[Any, ...]:
    """The same of what came: the 36 bytes of 2011, or the terminal's 0x0200 in 2019."""
    gnss = position.gnss
    if gnss.gnss_data is None:
        return position.time, gnss.lat, gnss.lon, gnss.altitude, gnss.direction, gnss.state, gnss.alarm
    data = bytes(gnss.gnss_data)
    alarm, status, lat, lon = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8, 12))
    altitude, _, direction = (int.from_bytes(data[at : at + 2], "big") for at in (16, 18, 20))
    return position.time, lat, lon, altitude, direction, status, alarm


def speed_received(position: Position) -> float:
    """In km/h."""
    gnss = position.gnss
    return float(gnss.vec1 or 0) if gnss.gnss_data is None else int.from_bytes(bytes(gnss.gnss_data)[18:20], "big") / 10


def all_came(side: Side, plate: str, wanted: list[tuple[Any, ...]]) -> bool:
    """Whether every one of these positions is there."""
    return {facts_received(one) for one in side.superior.positions.get((plate, 2), ())} >= set(wanted)


async def positions(bench: Bench, side: Side, result: Result) -> None:
    for terminal in bench.terminals:
        await bench.until(lambda terminal=terminal: len(terminal.positions) >= 4, "the terminal reports positions")  # type: ignore[misc]
        wanted = [facts_sent(report) for report in terminal.positions]
        with suppress(NotAnsweredError):  # what is missing is told by the comparison
            await side.superior.until(partial(all_came, side, terminal.plate, wanted), 5)
        got = side.superior.positions.get((terminal.plate, 2), [])
        received = [facts_received(one) for one in got]
        name = f"{terminal.plate} ({len(wanted)})"
        missing = [one for one in wanted if one not in received]
        result.expect(f"{name} 时间、经纬度、高程、方向、状态、报警", "time, place, height, direction, status, alarms of each", wanted[0],
                      received[0] if received else "—", not missing)  # fmt: skip
        result.expect(f"{name} 缺失", "missing ones", [], missing)
        order = list(dict.fromkeys(one for one in received if one in wanted))
        sorted_right = order == list(dict.fromkeys(one for one in wanted if one in order))
        result.expect(f"{name} 次序", "in their order", "↑", "↑" if sorted_right else order)
        by_facts = {facts_received(one): speed_received(one) for one in got}
        off = [abs(report.speed / 10 - by_facts[facts]) for report, facts in zip(terminal.positions, wanted, strict=False) if facts in by_facts]
        result.expect(f"{name} 速度", "speed within 1 km/h", "≤ 1", round(max(off, default=-1.0), 2), bool(off) and max(off) <= 1)


def _alarms(side: Side, plate: str) -> list[Any]:
    found = (heard.business for heard in side.superior.heard if heard.kind == 0x1402)
    return [one.data for one in found if plate in (one.vehicle_no, getattr(one.data, "vehicle_no", None))]


def _report(terminal: Any, flags: int) -> LocationReport:
    report: LocationReport = terminal.location_report()
    report.alarm_flags = flags
    return report


def _when(data: Any) -> int:
    return int(data.warn_time or data.start_time or 0)


async def alarms(bench: Bench, side: Side, result: Result) -> None:
    """An emergency (bit 0) and a forward collision of ADAS: 0x1402 with type and time."""
    terminal = side.terminal
    before = len(_alarms(side, terminal.plate))
    emergency = _report(terminal, 1)
    terminal.send(emergency)
    terminal.raise_alarm()
    collision = terminal.positions[-1]
    terminal.send(_report(terminal, 0))
    try:
        await side.superior.until(lambda: len(_alarms(side, terminal.plate)) >= before + 2, 8)
    finally:
        told = {int(data.warn_type): data for data in _alarms(side, terminal.plate)[before:]}
        result.expect("报警类型：紧急报警、碰撞", "types: emergency, collision", ["0x0003", "0x0011"], [f"0x{kind:04X}" for kind in sorted(told)])
    for kind, sent in ((0x0003, emergency), (0x0011, collision)):
        result.expect(f"0x{kind:04X} 报警时间", "time of the alarm", from_bcd(str(sent.time)), _when(told[kind]) if kind in told else "—")


async def requests(bench: Bench, side: Side, result: Result) -> None:
    superior = side.superior
    query = PostQuery(object_type=1, object_id="1", answer_time=5, info_id=7, info_content="是否在岗？")
    answer: Any = await superior.ask(query, timeout_s=8)
    result.expect("平台查岗应答 0x1301", "post query, answered by rule", "在岗", str(answer.info_content))
    text = TextRequest(msg_sequence=7, msg_priority=0, msg_content="前方事故，减速慢行")
    told: Any = await superior.ask(text, *side.vehicle, timeout_s=8)
    result.expect("下发车辆报文应答 0x1503", "text, answered", 0, int(told.result))
    heard = [str(getattr(one, "text", "")) for one in (side.terminal.operator.told if side.terminal.operator is not None else [])]
    result.expect("终端收到的文本 0x8300", "text that the terminal got", text.msg_content, heard[-1] if heard else "—")
    photo: Any = await superior.ask(PhotoRequest(lens_id=1, size=1), *side.vehicle, timeout_s=10)
    result.expect("车辆拍照应答 0x1502", "photo: taken", 1, int(photo.photo_rsp_flag))
    taken = [kept.jpeg for kept in side.terminal.operator.photos.values()] if side.terminal.operator is not None else []
    same = bool(taken) and bytes(photo.photo) == taken[-1]
    result.expect("照片内容", "the picture, byte for byte", f"{len(taken[-1]) if taken else 0} bytes", f"{len(photo.photo)} bytes", same)


# ---- media ------------------------------------------------------------------------------------------------------------------------


def compare_media(result: Result, side: Side, channel: int, player: StreamPlayer) -> None:
    """What the player got against what the terminal's camera gave: the same bodies, in the same order, none missing between."""
    given = side.terminal.witness.given.get(channel, [])
    first = player.first
    result.expect("首帧为关键帧", "begins with a key frame", 0, first.data_type if first is not None else "—")
    result.expect("通道", "channel", [channel], sorted(player.counts))
    result.expect("终端号", "terminal's number in the packets", side.terminal.phone.lstrip("0"), first.sim.lstrip("0") if first is not None else "—")
    result.expect("丢包", "lost packets", 0, player.lost_packets)
    for zh, en, audio in (("视频", "pictures", False), ("音频", "sound", True)):
        sent = [one for one in given if (one[1] == 3) is audio]
        got = [(frame.pt, frame.data_type, hash(frame.body)) for frame in player.frames if (frame.data_type == 3) is audio]
        start = _find(sent, got[:3])
        same = bool(got) and start is not None and sent[start : start + len(got)] == got
        wrong = sum(count for count in (Counter(got) - Counter(sent)).values())
        result.expect(f"{zh}逐帧一致", f"{en}: the same bytes, in order, none missing", f"{len(got)} frames",
                      f"{len(got)} frames" + ("" if same else f"; {wrong} that were not sent, or gaps"), same)  # fmt: skip


def _find(sent: list[Any], part: list[Any]) -> int | None:
    return next((at for at in range(len(sent)) if sent[at : at + len(part)] == part), None) if part else None


async def live(bench: Bench, side: Side, result: Result) -> None:
    """Channels one after the other, each cold: measured; the first one is compared frame by frame."""
    answer_ms, byte_ms = bench.figures
    witness = side.terminal.witness
    for channel in (1, 2, 3):
        witness.forget(channel)
        answer = await side.asks.live(channel)
        answer_ms.values_ms.append(round(side.asks.took_s * 1000, 1))
        if not result.expect(f"通道 {channel} 应答 0x1801", f"answer for channel {channel}", 0, int(answer.result)):
            return
        player = side.asks.player(answer, channel)
        try:
            await player.frames_came(FRAMES if channel == 1 else 1)
            if player.byte_at is not None and channel in witness.key_at:
                byte_ms.values_ms.append(round(max(0.0, player.byte_at - witness.key_at[channel]) * 1000, 1))
            if channel == 1:
                result.expect("播放地址", "address of the stream", f"127.0.0.1:{bench.settings.http.platform_port}", f"{answer.server_ip}:{answer.server_port}")
                compare_media(result, side, channel, player)
            stopped = await side.asks.live_stop(channel)
            result.expect(f"通道 {channel} 停止应答 0x1802", f"stop of channel {channel}, answered", 0, int(stopped.result))
            await player.over.addTimeout(5, bench.reactor)
        finally:
            player.close()
    await bench.until(lambda: not side.terminal.media.sending, "the terminal was told to stop (0x9102)")
    result.expect("终端停止发送 0x9102", "the terminal sends no more", [], side.terminal.media.sending)
    result.expect("下级平台已释放", "nothing is left open in the relay", [], bench.parts.video_uplink.bridge.as_list(side.name))


async def checks(bench: Bench, side: Side, result: Result) -> None:
    """What must be refused, and with which result."""
    superior, asks = side.superior, side.asks
    right = superior.passwords
    superior.passwords = WRONG, WRONG
    try:
        result.expect("时效口令错误", "wrong password", 4, int((await asks.live(1)).result))
    finally:
        superior.passwords = right
    result.expect("通道不存在", "no such channel", 2, int((await asks.live(9)).result))
    result.expect("车辆不存在", "no such vehicle", 1, int((await Asks(superior, "粤B00000", 2, timeout_s=8).live(1)).result))
    cross = Asks(superior, *side.vehicle, cross_domain=True, timeout_s=8)
    known = superior.positions.pop(side.vehicle, [])
    try:
        result.expect("跨域请求无位置", "cross-domain request without a position", 5, int((await cross.live(1)).result))
    finally:
        superior.positions[side.vehicle] = known + superior.positions.get(side.vehicle, [])
    result.expect("跨域请求附车辆位置", "cross-domain request with the vehicle's position", 0, int((await cross.live(1)).result))
    await cross.live_stop(1)
    refused = [one["result"] for one in bench.parts.video_uplink.bridge.refused(side.name)]
    result.expect("下级平台所记拒绝", "refusals as the relay tells them", [1, 2, 4, 5], sorted(refused))


# ---- recordings -------------------------------------------------------------------------------------------------------------------


async def catalogue(bench: Bench, side: Side, result: Result) -> None:
    now = int(time.time())
    answer = await side.asks.search(1, now - 5400, now)
    result.expect("应答 0x1902", "answer", 0, int(answer.result))
    sent = [
        (one.channel, int(from_bcd(one.start_time) or 0), int(from_bcd(one.end_time) or 0), int(one.media_type), int(one.stream_type), int(one.file_size))
        for one in side.terminal.catalogue
    ]
    got = [
        (one.channel_id, int(one.start_time), int(one.end_time), int(one.avitem_type), int(one.stream_type), int(one.file_size)) for one in answer.item_list
    ]
    result.expect("资源目录项总数", "number of items", len(sent), int(answer.item_num), len(sent) == int(answer.item_num) > 0)
    result.expect("目录项逐项一致", "items: channel, begin, end, kind, stream, size", sent, got, sorted(sent) == sorted(got) and bool(got))


async def playback(bench: Bench, side: Side, result: Result) -> None:
    terminal, asks = side.terminal, side.asks
    end = int(time.time()) - 3600
    terminal.witness.forget(1)
    answer = await asks.playback(1, end - 1200, end)
    if not result.expect("应答 0x1A01", "answer", 0, int(answer.result)):
        return
    player = asks.player(answer, 1)
    try:
        await player.frames_came(FRAMES // 2)
        compare_media(result, side, 1, player)
        target = end - 1200 + SEEK_S
        asked = (
            ("暂停", "pause", PAUSE, 1, 0), ("恢复", "resume", PLAY, 1, 0), ("4 倍快进", "four times as fast", FASTER, 4, 0),
            ("拖动", "seek", SEEK, 1, target), ("关键帧播放", "key frames only", KEYFRAMES, 1, 0), ("结束", "stop", STOP, 1, 0),
        )  # fmt: skip
        codes = {PAUSE: 1, PLAY: 0, FASTER: 3, SEEK: 5, KEYFRAMES: 6, STOP: 2}
        for zh, en, kind, times, when in asked:
            told = terminal.when_received(0x9202)
            moved = await asks.control(kind, times, when)
            result.expect(f"{zh} 应答 0x1A02", f"{en}, answered", 0, int(moved.result))
            got: Any = (await told.addTimeout(5, bench.reactor)).message
            result.expect(f"终端收到 0x9202 {zh}", f"control that the terminal got: {en}", codes[kind], int(got.playback_control))
            if kind == SEEK:
                result.expect("拖动位置", "time to go to", target, int(from_bcd(str(got.seek_time)) or 0))
            if kind != STOP:
                await bench.sleep(0.15)
        await player.over.addTimeout(5, bench.reactor)
        after = await asks.control(PAUSE)
        result.expect("会话结束后的控制", "control after the end: session over", 3, int(after.result))
    finally:
        player.close()


def _upload_request(terminal: Any) -> FileUpload:
    found = [event.message for event in terminal.received or () if event.header.msg_id == 0x9206]
    if not found or not isinstance(found[-1], FileUpload):
        raise SelfTestError("the terminal got no 0x9206")
    return found[-1]


async def download(bench: Bench, side: Side, result: Result) -> None:
    end = int(time.time()) // 1800 * 1800 - 1800
    answer = await side.asks.download(1, end - 15, end - 5)
    if not result.expect("应答 0x1B01", "answer", 0, int(answer.result)):
        return
    ready = await side.asks.ready(int(answer.session_id), 15)
    result.expect("下载完成通知 0x1B02", "download ready", [0], [int(one.result) for one in ready])
    request = _upload_request(side.terminal)
    span = [from_bcd(str(request.start_time)), from_bcd(str(request.end_time))]
    result.expect("终端收到的时间段 0x9206", "span that the terminal was asked for", [float(end - 15), float(end - 5)], span)
    wanted = [b"".join(file.chunks()) for file in files_of(side.terminal, request, side.terminal.catalogue)]
    got = [await side.asks.fetch(one) for one in ready if not one.result]
    sizes = [[len(one) for one in files] for files in (wanted, got)]
    result.expect("FTP 取回的文件逐字节一致", "files fetched by FTP, byte for byte", sizes[0], sizes[1], wanted == got and bool(got))


async def download_control(bench: Bench, side: Side, result: Result) -> None:
    terminal = side.terminal
    end = int(time.time()) // 1800 * 1800 - 1800
    before = set(terminal.uploads or {})
    answer = await side.asks.download(2, end - 1800, end)
    session = int(answer.session_id)
    if not result.expect("应答 0x1B01", "answer", 0, int(answer.result)):
        return

    def upload() -> Any:
        return next((one for serial, one in (terminal.uploads or {}).items() if serial not in before and one.sent), None)

    running = await bench.until(upload, "the terminal sends a file")
    for zh, en, kind, state in (("暂停", "pause", 0, "paused"), ("继续", "resume", 1, "uploading"), ("取消", "cancel", 2, "cancelled")):
        moved = await side.asks.download_control(session, kind)
        result.expect(f"{zh} 应答 0x1B03", f"{en}, answered", 0, int(moved.result))
        with suppress(SelfTestError):  # the cancellation is answered at once, and told to the terminal (0x9207) at the same time
            await bench.until(lambda state=state: running.state == state, state, 3)  # type: ignore[misc]
        result.expect(f"终端状态：{zh}", f"the terminal's upload after it: {en}", state, running.state)
        await bench.sleep(0.1)
    result.expect("取消后的控制", "control after the end: session over", 3, int((await side.asks.download_control(session, 0)).result))


# ---- disconnection ----------------------------------------------------------------------------------------------------------------


async def supplement(bench: Bench, side: Side, result: Result) -> None:
    """The superior is gone for a while: what came in meanwhile goes up as 0x1203; the other superior notices nothing."""
    superior, terminal = side.superior, side.terminal
    other = next(each for each in bench.sides if each is not side)

    def waits(one: Side) -> int:
        return int(bench.state(one).as_dict()["queue"]["waiting"])

    await bench.until(lambda: not waits(other), "what the other superior missed in its own gap has gone up", 10)
    await bench.sleep(SETTLE_S)
    before = [len(each.positions) for each in bench.terminals]
    live_before, history_before = other.superior.position_count, other.superior.supplement_count
    alarmed = len(_alarms(side, terminal.plate))
    await superior.stop_listening()
    superior.cut()
    await bench.until(lambda: superior.main is None and superior.sub is None, "both links are down")
    await bench.sleep(GAP_S / 2)
    terminal.send(_report(terminal, 2))
    terminal.send(_report(terminal, 0))
    await bench.sleep(GAP_S / 2)
    waiting = waits(side)
    result.expect("离线期间排队", "waited on disk meanwhile", "≥ 1", waiting, waiting > 0)
    lost = {each.plate: [facts_sent(report) for report in each.positions[at:]] for each, at in zip(bench.terminals, before, strict=True)}
    count = sum(map(len, lost.values()))
    superior.listen(port=side.port)
    await superior.logged_in(timeout_s=10)
    result.expect("重新登录", "logged in again", True, superior.main is not None and superior.main.logged_in)

    def whole() -> bool:
        return all(all_came(side, plate, wanted) for plate, wanted in lost.items()) and len(_alarms(side, terminal.plate)) > alarmed

    with suppress(NotAnsweredError):  # what is missing is told by the comparison
        await superior.until(whole, 10)
    for plate, wanted in lost.items():
        came = [one for one in superior.positions.get((plate, 2), []) if facts_received(one) in wanted]
        result.expect(f"{plate} 断线期间定位", "positions of the gap that came", len(set(wanted)), len({facts_received(one) for one in came}))
        late = [one.time for one in came if one.kind == 0x1203]
        result.expect(f"{plate} 其中补报 0x1203", "of them by 0x1203", "≥ 1", len(late), bool(late))
        result.expect(f"{plate} 补报次序", "in their order", "↑", "↑" if late == sorted(late) else late)
    told = [int(data.warn_type) for data in _alarms(side, terminal.plate)[alarmed:]]
    result.expect("断线期间报警补报", "alarm of the gap that came: speeding", [1], told)
    got = other.superior.position_count - live_before
    result.expect("另一上级平台不受影响", "the other superior got them meanwhile", f"≥ {count - 2}", got, got >= count - 2)
    result.expect("另一上级平台无补报", "and none of them afterwards", 0, other.superior.supplement_count - history_before)


async def logout(bench: Bench, side: Side, result: Result) -> None:
    superior = side.superior
    bench.state(side).disconnect()
    await superior.until(lambda: superior.main is None and superior.sub is None, 8)
    result.expect("主链路注销 0x1003", "logout of the main link", 1, superior.kinds[0x1003])
    await bench.until(lambda: bench.state(side).as_dict()["state"] == "stopped", "the relay's state is stopped")
    result.expect("状态", "state", "stopped", bench.state(side).as_dict()["state"])
    bench.state(side).connect()
    await superior.logged_in(timeout_s=8)
    result.expect("再次登录", "logged in again", "both", "both" if superior.sub is not None and superior.sub.logged_in else "main")


STEPS = (
    Step("links", "链路登录与保持", "links: login and keep-alive", "0x1001 0x1002 0x9001 0x9002 0x1005 0x9005", links, 20),
    Step("registration", "车辆注册信息", "registration of vehicles", "0x1201", registration),
    Step("passwords", "时效口令上报与更新", "time-efficient passwords", "0x1701", passwords),
    Step("positions", "实时定位信息", "positions", "0x0200 → 0x1202", positions, 20),
    Step("alarms", "报警信息上报", "alarms", "0x0200 → 0x1402", alarms),
    Step("requests", "查岗、报文与拍照", "post query, text, photo", "0x9301 0x9503 0x9502 → 0x8300 0x8801", requests, 25),
    Step("live", "实时音视频", "live", "0x9801 0x9802 → 0x9101 0x9102", live, 20, alone=True),
    Step("checks", "鉴权与校验", "what must be refused", "0x9801 → 0x1801", checks),
    Step("catalogue", "音视频资源目录", "catalogue of recordings", "0x9902 → 0x9205 0x1205 → 0x1902", catalogue),
    Step("playback", "远程录像回放与控制", "playback and its control", "0x9A01 0x9A02 → 0x9201 0x9202", playback, 20),
    Step("download", "远程录像下载", "download", "0x9B01 → 0x9206 0x1206 → 0x1B02 → FTP → 0x9B02", download, 25),
    Step("download-control", "下载控制", "control of a download", "0x9B03 → 0x9207 → 0x1B03", download_control),
    Step("supplement", "断线与补报", "disconnection and supplements", "0x1203 0x1402", supplement, 25, alone=True),
    Step("logout", "注销与重新登录", "logout", "0x1003 0x1004", logout),
)
