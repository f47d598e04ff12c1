"""What a simulated terminal answers to each message of the platform, and does about it.

| asked | answered | done |
|---|---|---|
| 0x9101 | 0x0001, then a media connection | opens it (TCP or UDP) and sends in real time |
| 0x9102 | 0x0001 | stops, switches main and sub, pauses, resumes, ends talk |
| 0x9105 | 0x0001 | remembers the loss |
| 0x9003 | 0x1003 | |
| 0x9205 | 0x1205 | lists half-hour recordings, of the last day unless told otherwise |
| 0x9201 | 0x1205, then a media connection | sends the test card with the clock of that time |
| 0x9202 | 0x0001 | pauses, resumes, ends, speeds up, seeks, key frames only |
| 0x9206, 0x9207 | 0x0001 | uploads by FTP, then 0x1206; pauses, goes on, cancels |
| 0x8103, 0x8104, 0x8106 | 0x0001, 0x0104 | keeps parameters; heartbeat and report interval are obeyed |
| 0x8105 | 0x0001 | 4 reset, 6 and 7: reconnects |
| 0x8107 | 0x0107 | |
| 0x8201, 0x8202 | 0x0201, 0x0001 | position; reports more often for a while |
| 0x8203, 0x8204 | 0x0001 | |
| cameras, texts, doors, areas, photos … | ``operator_answers`` | |
| 0x9208 | 0x0001, then a connection for the files | see ``alarms`` |
| 0x8003 | the pieces again (``session`` does it) | |
| anything else | 0x0001 result 3, a broken body result 2 | |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from relay.jt808.header import Header
from relay.jt808.messages import location, parameters, text, video
from relay.jt808.messages.general import Result
from relay.jt808.messages.video import AvCommand, AvDataType, CloseType, PlaybackControlCode, StreamType
from relay.jt808.params import PARAMETERS, AvChannel, AvChannels, AvParameters
from relay.jt808.session_events import Received
from relay.sim import alarms
from relay.sim.uploads import SimulatedUpload, files_of
from relay.sim.vehicle import bcd_time, from_bcd
from relay.sim.vehicle import location as as_location

if TYPE_CHECKING:
    from relay.sim.terminal import SimulatedTerminal

#: length of a simulated recording
_RECORDING_S = 1800
#: playback_speed of 0x9201 and 0x9202
_SPEEDS = {0: 1.0, 1: 1.0, 2: 2.0, 3: 4.0, 4: 8.0, 5: 16.0}

Handler = Callable[["SimulatedTerminal", Header, Any], None]
_HANDLERS: dict[int, Handler] = {}
#: asked again with the same serial: answered again, not done again
_ACTS = frozenset({0x9101, 0x9102, 0x9201, 0x9202, 0x9206, 0x9207, 0x9208, 0x8105})


def on(*msg_ids: int) -> Callable[[Handler], Handler]:
    """Decorator: answers these messages."""

    def register(handler: Handler) -> Handler:
        for msg_id in msg_ids:
            _HANDLERS[msg_id] = handler
        return handler

    return register


def act(terminal: SimulatedTerminal, event: Received, before: int | None) -> None:
    """Answer a message that wants an answer; ``before`` is how it was answered when it came for the first time."""
    header, message = event.header, event.message
    handler = _HANDLERS.get(header.msg_id)
    if message is None:
        broken = event.problem not in ("unknown", "encrypted")
        terminal.answer(header, Result.MESSAGE_ERROR if broken and handler else Result.NOT_SUPPORTED)
    elif handler is None:
        terminal.answer(header, Result.NOT_SUPPORTED)
    elif before is not None and header.msg_id in _ACTS:
        terminal.answer(header, before)
    else:
        handler(terminal, header, message)


def describe(event: Received) -> str:
    """The message in a few words."""
    header, message = event.header, event.message
    if message is None:
        return f"0x{header.msg_id:04X} ({event.problem}), {len(event.body)} bytes"
    words = [f"0x{header.msg_id:04X}", type(message).LABEL]
    if isinstance(message, video.RealtimeAvRequest):
        words.append(f"channel {message.channel}, data type {message.data_type}, {'sub' if message.stream_type else 'main'} stream,")
        words.append(f"to {message.server_ip} TCP {message.tcp_port} UDP {message.udp_port}")
    elif isinstance(message, video.RealtimeAvControl):
        words.append(f"channel {message.channel}, command {message.command}, close type {message.close_type}, stream type {message.stream_type}")
    elif isinstance(message, video.RealtimeAvStatus):
        words.append(f"channel {message.channel}, loss {message.packet_loss_rate} %")
    elif isinstance(message, text.TextMessage):
        words.append(repr(message.text))
    return " ".join(words)


# live -------------------------------------------------------------------------------------------------------------------------------


def _purpose(data_type: int) -> str:
    if data_type in (AvDataType.TALK, AvDataType.BROADCAST):
        return "talk"
    return "data" if data_type == AvDataType.PASSTHROUGH else "live"


@on(0x9101)
def _live(terminal: SimulatedTerminal, header: Header, message: video.RealtimeAvRequest) -> None:
    faults = terminal.options.faults
    if "no-answer" in faults and faults.get("no-answer") == header.msg_id:
        terminal.answer(header)
        return
    if "refuse" in faults:
        terminal.answer(header, int(faults.get("refuse")))
        return
    if message.channel not in terminal.options.channels and message.data_type in (AvDataType.AUDIO_VIDEO, AvDataType.VIDEO):
        terminal.answer(header, Result.FAILURE)
        return
    if message.data_type > AvDataType.PASSTHROUGH:
        terminal.answer(header, Result.NOT_SUPPORTED)
        return

    def begin() -> None:
        terminal.media.open(
            _purpose(message.data_type), message.server_ip, message.tcp_port, message.udp_port, channel=message.channel, data_type=message.data_type,
            sub=message.stream_type == StreamType.SUB,
        )  # fmt: skip

    if "media-before-answer" in faults:
        begin()
        terminal.later(faults.get("media-before-answer"), lambda: terminal.answer(header))
    else:
        terminal.answer(header)
        begin()


@on(0x9102)
def _live_control(terminal: SimulatedTerminal, header: Header, message: video.RealtimeAvControl) -> None:
    if "keeps-sending" in terminal.options.faults:
        terminal.answer(header)
        return
    channel, command = message.channel, message.command
    live = terminal.media.streams.get((channel, "live"))
    result = Result.OK
    if command == AvCommand.CLOSE_TALK:
        terminal.media.close(channel, "talk", "0x9102 command 4")
    elif command == AvCommand.CLOSE:
        closed = terminal.media.close(channel, "talk", "0x9102 command 0") | terminal.media.close(channel, "data", "0x9102 command 0")
        if live is not None and message.close_type == CloseType.AUDIO_VIDEO:
            live.close("0x9102 command 0")
        elif live is not None:
            live.audio = live.audio and message.close_type != CloseType.AUDIO
            live.video = live.video and message.close_type != CloseType.VIDEO
            if not live.audio and not live.video:
                live.close("0x9102 command 0")
        elif not closed:
            result = Result.FAILURE
    elif live is None:
        result = Result.FAILURE
    elif command == AvCommand.SWITCH_STREAM:
        live.switch(message.stream_type == StreamType.SUB)
    elif command == AvCommand.PAUSE:
        live.pause()
    elif command == AvCommand.RESUME:
        live.resume()
    else:
        result = Result.NOT_SUPPORTED
    terminal.answer(header, result)


@on(0x9105)
def _loss(terminal: SimulatedTerminal, header: Header, message: video.RealtimeAvStatus) -> None:
    terminal.losses = {**(terminal.losses or {}), message.channel: message.packet_loss_rate}
    terminal.answer(header)


@on(0x9003)
def _attributes(terminal: SimulatedTerminal, header: Header, message: video.AvAttributesQuery) -> None:
    source, count = terminal.media.source, len(terminal.options.channels)
    answer = video.AvAttributes(
        audio_encoding=source.audio_pt, audio_channels=1, audio_sample_rate=0, audio_sample_bits=1, audio_frame_length=source.audio_bytes,
        audio_output_supported=1, video_encoding=source.video_pt, max_audio_channels=count, max_video_channels=count,
    )  # fmt: skip
    terminal.reply(header, answer)


# playback ---------------------------------------------------------------------------------------------------------------------------


def _recordings(terminal: SimulatedTerminal, channel: int, begin: float | None, end: float | None) -> Iterator[video.Resource]:
    """Half-hour recordings that touch the span; the last one goes on, and bears the mark of an emergency alarm (bit 0)."""
    now = terminal.wall()
    first = (int(now) // _RECORDING_S - terminal.options.recordings + 1) * _RECORDING_S
    for number in terminal.options.channels:
        if channel not in (0, number):
            continue
        for start in range(first, int(now), _RECORDING_S):
            stop = min(start + _RECORDING_S, int(now))
            if (begin is None or stop > begin) and (end is None or start < end):
                yield video.Resource(
                    channel=number, start_time=bcd_time(start), end_time=bcd_time(stop), media_type=video.MediaType.AUDIO_VIDEO,
                    stream_type=video.StoredStream.MAIN, storage_type=video.StorageType.MAIN, file_size=62_500 * (stop - start),
                    alarm_flags=int(stop < start + _RECORDING_S),
                )  # fmt: skip


@on(0x9205)
def _list(terminal: SimulatedTerminal, header: Header, message: video.ResourceQuery) -> None:
    found = list(_recordings(terminal, message.channel, from_bcd(message.start_time), from_bcd(message.end_time)))
    if message.alarm_flags:
        found = [each for each in found if each.alarm_flags & message.alarm_flags]
    terminal.reply(header, video.ResourceList(reply_serial=header.serial, resources=found))


@on(0x9201)
def _playback(terminal: SimulatedTerminal, header: Header, message: video.PlaybackRequest) -> None:
    begin, end = from_bcd(message.start_time), from_bcd(message.end_time)
    found = list(_recordings(terminal, message.channel, begin, end)) if begin is not None else []
    terminal.reply(header, video.ResourceList(reply_serial=header.serial, resources=found))
    if not found or begin is None:
        return
    kinds = {video.MediaType.AUDIO: AvDataType.LISTEN, video.MediaType.VIDEO: AvDataType.VIDEO}
    data_type = kinds.get(video.MediaType(message.media_type) if message.media_type <= 3 else video.MediaType.AUDIO_VIDEO, AvDataType.AUDIO_VIDEO)
    if "playback-ends-live" in terminal.options.faults:
        terminal.media.close(message.channel, "live", "playback begins")
    stream = terminal.media.open(
        "playback", message.server_ip, message.tcp_port, message.udp_port, channel=message.channel, data_type=data_type,
        sub=message.stream_type == video.StoredStream.SUB, begin_wall=begin, end_wall=end,
    )  # fmt: skip
    stream.speed = _SPEEDS.get(message.playback_speed, 1.0)
    stream.keys_only = message.playback_mode == video.PlaybackMode.KEYFRAMES


@on(0x9202)
def _playback_control(terminal: SimulatedTerminal, header: Header, message: video.PlaybackControl) -> None:
    stream = terminal.media.streams.get((message.channel, "playback"))
    if stream is None:
        terminal.answer(header, Result.FAILURE)
        return
    control = message.playback_control
    seek = from_bcd(message.seek_time)
    if control == PlaybackControlCode.START:
        stream.play_at(1.0, keys_only=False)
    elif control == PlaybackControlCode.PAUSE:
        stream.pause()
    elif control == PlaybackControlCode.END:
        stream.close("0x9202")
    elif control == PlaybackControlCode.FAST_FORWARD:
        stream.play_at(_SPEEDS.get(message.playback_speed, 1.0), keys_only=False)
    elif control == PlaybackControlCode.SEEK and seek is not None:
        stream.seek(seek)
    elif control == PlaybackControlCode.KEYFRAMES:
        stream.play_at(1.0, keys_only=True)
    else:
        terminal.answer(header, Result.NOT_SUPPORTED)
        return
    terminal.answer(header)


# uploads ----------------------------------------------------------------------------------------------------------------------------


@on(0x9206)
def _upload(terminal: SimulatedTerminal, header: Header, message: video.FileUpload) -> None:
    terminal.answer(header)
    found = list(_recordings(terminal, message.channel, from_bcd(message.start_time), from_bcd(message.end_time)))
    upload = SimulatedUpload(terminal, header.serial, message, files_of(terminal, message, found), terminal.tell)
    terminal.uploads = {**(terminal.uploads or {}), header.serial: upload}
    terminal.later(0.05, upload.begin)


@on(0x9207)
def _upload_control(terminal: SimulatedTerminal, header: Header, message: video.FileUploadControl) -> None:
    upload = (terminal.uploads or {}).get(message.reply_serial)
    if upload is None or upload.state in ("done", "failed", "cancelled"):
        terminal.answer(header, Result.FAILURE)
        return
    terminal.answer(header)
    if message.command == video.UploadCommand.PAUSE:
        upload.pause()
    elif message.command == video.UploadCommand.RESUME:
        upload.resume()
    else:
        upload.cancel()


# parameters and attributes ----------------------------------------------------------------------------------------------------------


def _parameters(terminal: SimulatedTerminal) -> dict[int, Any]:
    """All parameters by id: what a terminal has from the factory, and what 0x8103 made of it."""
    options = terminal.options
    plain = {
        0x0001: round(options.heartbeat_s), 0x0002: 10, 0x0003: 2, 0x0013: options.host, 0x0018: options.port, 0x0020: 0, 0x0027: 300,
        0x0029: round(options.position_s), 0x0055: 100, 0x0056: 10, 0x0057: 14400, 0x0070: 3, 0x0080: 123_450, 0x0081: 44, 0x0082: 300,
        0x0083: terminal.plate, 0x0084: options.plate_color, 0x0090: 3,
    }  # fmt: skip
    made: dict[int, Any] = {}
    for number, value in plain.items():
        parameter: Any = PARAMETERS.classes[number]
        made[number] = parameter(value=value)
    made[0x0075] = AvParameters(
        live_encode_mode=1, live_resolution=1, live_keyframe_interval=50, live_frame_rate=25, live_bitrate=500,
        store_encode_mode=1, store_resolution=5, store_keyframe_interval=50, store_frame_rate=25, store_bitrate=2000, osd_flags=0b111, audio_output_enabled=1,
    )  # fmt: skip
    made[0x0076] = AvChannels(
        av_channel_count=len(options.channels),
        audio_channel_count=0,
        video_channel_count=0,
        channels=[AvChannel(physical_channel=i + 1, logical_channel=c, channel_type=0, ptz_connected=0) for i, c in enumerate(options.channels)],
    )
    made.update(terminal.parameters or {})
    return dict(sorted(made.items()))


@on(0x8103)
def _set(terminal: SimulatedTerminal, header: Header, message: parameters.SetParameters) -> None:
    terminal.parameters = {**(terminal.parameters or {}), **{entry.id: entry for entry in message.params}}
    interval = terminal.parameters.get(0x0029)
    value = getattr(interval, "value", None)
    if isinstance(value, int) and any(entry.id == 0x0029 for entry in message.params):
        terminal.report_every(value)
    terminal.answer(header)


@on(0x8104, 0x8106)
def _query(terminal: SimulatedTerminal, header: Header, message: Any) -> None:
    known = _parameters(terminal)
    wanted = [known[i] for i in message.param_ids if i in known] if isinstance(message, parameters.QueryParameters) else list(known.values())
    terminal.reply(header, parameters.ParametersResponse(reply_serial=header.serial, params=wanted))


@on(0x8107)
def _terminal_attributes(terminal: SimulatedTerminal, header: Header, message: parameters.QueryAttributes) -> None:
    answer = parameters.TerminalAttributes(
        terminal_type=0b0100_0101, manufacturer_id="JTSIM", terminal_model="SIM-1078", terminal_id=terminal.phone[-7:].rjust(7, "0").upper(),
        iccid=terminal.phone.rjust(20, "0")[-20:], hardware_version="1.0", firmware_version="jt1078relay", gnss_attributes=3, comm_attributes=0x20,
    )  # fmt: skip
    terminal.reply(header, answer)


@on(0x8105)
def _control(terminal: SimulatedTerminal, header: Header, message: parameters.TerminalControl) -> None:
    terminal.answer(header)
    if message.command in (4, 6, 7):
        terminal.later(0.5, terminal.drop_link)


# positions and the rest ----------------------------------------------------------------------------------------------------------------


@on(0x8201)
def _position(terminal: SimulatedTerminal, header: Header, message: location.LocationQuery) -> None:
    report = terminal.location_report()
    serial = None if terminal.options.edition <= 2011 else header.serial
    terminal.reply(header, location.LocationQueryResponse(reply_serial=serial, location=as_location(report)))


@on(0x8202)
def _track(terminal: SimulatedTerminal, header: Header, message: location.TrackingControl) -> None:
    if message.interval:
        terminal.report_every(message.interval, message.duration or 0)
    else:
        terminal.report_every(terminal.options.position_s)
    terminal.answer(header)


@on(0x9208)
def _attachments(terminal: SimulatedTerminal, header: Header, message: Any) -> None:
    terminal.answer(header)
    if terminal.attachments is None:
        terminal.attachments = alarms.Uploads(terminal)
    terminal.attachments.upload(message)


@on(0x8203, 0x8204)
def _accept(terminal: SimulatedTerminal, header: Header, message: Any) -> None:
    terminal.answer(header)
