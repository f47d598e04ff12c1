"""What goes in and comes out of the API, as types; the OpenAPI document is made of these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

LIMIT_MAX = 1000  #: items of one page of a list: a terminal is some 1.5 KB

Limit = Annotated[int, Meta(ge=1, le=LIMIT_MAX, description="How many at most.")]
After = Annotated[str, Meta(max_length=64, description="`next` of the page before.")]
Timeout = Annotated[float, Meta(ge=0.1, le=300, description="Seconds to wait for the terminal.")]
Phone = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{1,20}$", description="终端手机号; zeros in front do not matter.")]
_CONTROLS = r"\u0000-\u001f\u007f-\u009f"  #: what no name may hold
WORDS = f"^[^{_CONTROLS}]*$"
_IN_ALIAS = rf"{_CONTROLS}/\\_.?#%*"  #: what an alias may not hold besides: it stands in URLs before _channel
ALIAS = rf"^([^{_IN_ALIAS}\s]([^{_IN_ALIAS}]*[^{_IN_ALIAS}\s])?)?$"
Short = Annotated[str, Meta(max_length=30, pattern=WORDS)]
Alias = Annotated[str, Meta(max_length=64, pattern=ALIAS, description="Another name for URLs, unique; none of `/ \\ _ . ? # % *`.")]
ChannelKey = Annotated[str, Meta(pattern="^[0-9]{1,3}$")]
DetailKey = Annotated[str, Meta(pattern="^[A-Z0-9_]{1,40}$")]
StreamWord = Literal["main", "sub"]
MediaWord = Literal["av", "v", "a"]


class Query(msgspec.Struct, forbid_unknown_fields=True):
    """Base of queries."""


class PageQuery(Query):
    """A list in pages."""

    limit: Limit = 100
    after: After = ""


class TerminalQuery(PageQuery):
    """Which terminals."""

    online: Annotated[bool | None, Meta(description="Only those that are online, or offline.")] = None
    q: Annotated[str, Meta(max_length=64, description="Part of the number, plate, alias or name.")] = ""


class PlayQuery(Query):
    """What the play URLs ask for."""

    stream: Annotated[StreamWord | None, Meta(description="Main or sub stream; without it whatever runs, else the sub stream.")] = None
    media: MediaWord = "av"
    audio: Literal["aac", "flac", "opus", "source", "none"] | None = None
    hevc: Literal["enhanced", "legacy"] | None = None


# terminals --------------------------------------------------------------------------


class ChannelView(msgspec.Struct):
    """One logical channel of a terminal."""

    channel: int
    kind: str  #: "av" | "audio" | "video"
    source: str  #: how it is known: "0x0076" | "0x1003" | "seen" | "assumed"
    ptz: bool | None = None
    name: str = ""  #: what the operator calls it
    streaming: bool = False
    viewers: int = 0


class Position(msgspec.Struct):
    """Where a terminal was last; WGS-84 or GCJ-02 as the terminal has it."""

    latitude: float
    longitude: float
    altitude: int
    speed: float
    direction: int
    time: str | None
    located: bool
    acc: bool
    alarm_flags: int
    status_flags: int
    mileage: float | None = None
    fuel: float | None = None
    signal: float | None = None
    satellites: float | None = None


class TerminalView(msgspec.Struct):
    """A terminal, online or not."""

    sim: str
    phone: str
    online: bool
    name: str
    plate: str
    plate_color: int | None
    alias: str
    aliases: list[str]
    group: str
    details: dict[str, str]
    known: bool
    enabled: bool
    edition: int | None
    manufacturer: str
    model: str
    terminal_id: str
    iccid: str
    imei: str
    hardware: str
    firmware: str
    peer: str
    transport: str
    online_since: str | None
    last_seen: str | None
    offline_reason: str
    connects: int
    bytes_in: int
    bytes_out: int
    messages: int
    position: Position | None
    position_at: str | None
    clock_offset_s: float | None
    alarms: list[str]
    alarm_flags: int
    video_alarm_flags: int
    channels: list[ChannelView]
    audio_codec: str | None
    video_codec: str | None


class TerminalList(msgspec.Struct):
    """One page of terminals."""

    items: list[TerminalView]
    total: int
    next: str | None = None


class TerminalChange(msgspec.Struct, forbid_unknown_fields=True):
    """What an operator says of a terminal; what is left out is emptied by PUT."""

    plate: Annotated[str, Meta(max_length=21, pattern=WORDS)] = ""
    plate_color: Annotated[int, Meta(ge=0, le=255)] | None = None
    alias: Alias = ""
    manufacturer: Annotated[str, Meta(max_length=11, pattern=WORDS)] = ""
    model: Short = ""
    terminal_id: Short = ""
    edition: Literal[2011, 2013, 2019] | None = None
    enabled: bool = True
    group: Annotated[str, Meta(max_length=64, pattern=WORDS, description="What the operator sorts by: a fleet, a depot.")] = ""
    aliases: Annotated[list[Alias], Meta(max_length=20, description="More names for URLs, each unique.")] = []
    channels: Annotated[
        dict[ChannelKey, Annotated[str, Meta(max_length=64, pattern=WORDS)]], Meta(max_length=64, description="Channel number to its name.")
    ] = {}
    details: Annotated[
        dict[DetailKey, Annotated[str, Meta(max_length=200, pattern=WORDS)]],
        Meta(max_length=64, description="Static data of the vehicle by the keys of JT/T 809 CAR_INFO: VEHICLE_TYPE, OWERS_NAME …"),
    ] = {}
    code: Annotated[str, Meta(max_length=64, pattern=WORDS, description="An authentication code it already has; kept as a hash, never shown.")] = ""


class TerminalNew(TerminalChange, kw_only=True, forbid_unknown_fields=True):
    """A terminal to be added."""

    phone: Phone


# playing ------------------------------------------------------------------------------


class PlayUrls(msgspec.Struct):
    """One address a format."""

    flv: str
    ws_flv: str
    mp4: str
    ws_mp4: str
    hls: str
    ts: str
    jt1078: str
    rtmp: str = ""  #: empty when RTMP is switched off


class Play(msgspec.Struct):
    """Where a channel can be played, with tokens that are good for a start until ``expires``."""

    id: str
    sim: str
    channel: int
    urls: PlayUrls
    token: str
    expires: str


class LiveStart(msgspec.Struct, forbid_unknown_fields=True):
    """How to start a channel."""

    stream: StreamWord | None = None
    media: MediaWord = "av"
    timeout_s: Timeout | None = None
    hold_s: Annotated[float, Meta(ge=0, le=86400, description="Keep it running so long although nobody watches.")] = 0


class LiveStarted(Play, kw_only=True):
    """A channel that runs."""

    trace: dict[str, Any] | None = None


class TokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A media token to be made; lengths are such that it fits into an address."""

    pattern: Annotated[
        str, Meta(min_length=1, max_length=80, pattern=rf"^[^{_CONTROLS}\s]+$", description="`13800138000_1`, `13800138000_*`, or `*`.")
    ]
    expires_s: Annotated[int, Meta(ge=1, le=31622400)] | None = None
    viewer: Annotated[str, Meta(max_length=50, pattern=WORDS)] = ""
    address: Annotated[str, Meta(max_length=45, pattern=WORDS, description="The only client address that may use it.")] = ""


class Token(msgspec.Struct):
    """A token that was made."""

    token: str
    expires: str


# streams ------------------------------------------------------------------------------


class VideoView(msgspec.Struct):
    """A picture track."""

    codec: str
    width: int
    height: int
    rfc6381: str


class AudioView(msgspec.Struct):
    """A sound track as the terminal sends it."""

    codec: str
    sample_rate: int
    channels: int


class TranscodeView(msgspec.Struct):
    """Sound or picture of a stream that is turned into another codec, and what that costs."""

    source: str
    target: str
    blocks: int
    frames: int
    dropped: int
    filled_ms: int
    cpu_s: float


class CauseView(msgspec.Struct):
    """Something that is wrong with a picture or its sound."""

    code: str
    message: str


class QualityView(msgspec.Struct):
    """How good picture and sound are, judged without decoding."""

    score: int  #: 0 to 100
    causes: list[CauseView]


class StreamView(msgspec.Struct):
    """One stream."""

    id: str
    sim: str
    channel: int
    kind: str
    state: str
    requested: bool
    peer: str
    transport: str
    video: VideoView | None
    audio: AudioView | None
    fps: float
    bitrate: int
    loss_percent: float
    delay_p50_ms: float
    delay_p99_ms: float
    packets: int
    lost: int
    bytes: int
    frames: int
    key_frames: int
    dropped_frames: int
    gop_frames: int
    gop_bytes: int
    viewers: int
    sent_bytes: int
    queue_drops: int
    merge_ms: int
    uptime_s: float
    since: str
    transcodes: list[TranscodeView]
    quality: QualityView | None  #: None: not a live channel, or not looked at yet


class StreamList(msgspec.Struct):
    """One page of streams."""

    items: list[StreamView]
    total: int
    next: str | None = None


class ViewerView(msgspec.Struct):
    """One viewer of a stream."""

    id: int
    state: str
    format: str
    peer: str
    who: str
    bytes: int
    drops: int
    queue_bytes: int
    queue_ms: int
    since: str
    first_byte_ms: int | None
    note: str


class ViewerList(msgspec.Struct):
    """The viewers of a stream."""

    items: list[ViewerView]
    total: int
    next: str | None = None


class TraceList(msgspec.Struct):
    """The last starts of a channel, newest first: which hop was reached when."""

    items: list[dict[str, Any]]
    total: int
    next: str | None = None


# messages -----------------------------------------------------------------------------


class MessageRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A JT/T 808 message to be sent, by the names of its fields."""

    fields: dict[str, Any] = {}
    timeout_s: Timeout | None = None
    confirm: Annotated[bool, Meta(description="Yes, although it may do harm (0x8105, 0x8108, 0x8400, 0x8500, server addresses in 0x8103).")] = False


class Reply(msgspec.Struct):
    """A message of the terminal."""

    id: str
    name: str
    label: str
    fields: dict[str, Any]


class MessageAnswer(msgspec.Struct):
    """What came back; ``reply`` is null for messages that nobody answers."""

    sent: str
    reply: Reply | None


# accounts -----------------------------------------------------------------------------

UserName = Annotated[str, Meta(min_length=1, max_length=64, pattern=rf"^[^{_CONTROLS}\s/\\\\]+$", description="No spaces and no slashes.")]
Password = Annotated[str, Meta(min_length=8, max_length=256)]
RoleWord = Literal["viewer", "operator", "admin"]
GroupList = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=64, pattern=WORDS)]],
    Meta(max_length=50, description="Only the terminals of these groups are shown; none: all terminals."),
]


class LogIn(msgspec.Struct, forbid_unknown_fields=True):
    """Name and password."""

    name: Annotated[str, Meta(max_length=64)]
    password: Annotated[str, Meta(max_length=256)]


class FirstAdmin(msgspec.Struct, forbid_unknown_fields=True):
    """The first administrator; ``token`` is in the link that the first start logs."""

    token: Annotated[str, Meta(max_length=1024)]
    name: UserName
    password: Password


class PasswordChange(msgspec.Struct, forbid_unknown_fields=True):
    """One's own password."""

    old: Annotated[str, Meta(max_length=256)]
    new: Password


class SessionView(msgspec.Struct):
    """Who asks. ``csrf`` goes into X-CSRF-Token of everything that changes something; empty for tokens, which need none."""

    name: str
    role: str
    groups: list[str]
    csrf: str
    expires: str | None


class UserNew(msgspec.Struct, forbid_unknown_fields=True):
    """A user to be added."""

    name: UserName
    role: RoleWord
    password: Password
    groups: GroupList = []


class UserChange(msgspec.Struct, forbid_unknown_fields=True):
    """What is to change of a user."""

    role: RoleWord | None = None
    enabled: bool | None = None
    groups: GroupList | None = None
    password: Annotated[str, Meta(max_length=256, pattern="^(.{8,})?$")] = ""


class UserView(msgspec.Struct):
    """A user."""

    name: str
    role: str
    enabled: bool
    groups: list[str]
    added: str


class UserList(msgspec.Struct):
    """All users."""

    items: list[UserView]
    total: int
    next: str | None = None


class NewTokenRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An API token to be made."""

    role: RoleWord
    name: Annotated[str, Meta(max_length=64, pattern=WORDS, description="What it is for: shown in lists, logs and audits.")] = ""
    expires_s: Annotated[int, Meta(ge=1, le=315576000)] = 86400
    groups: GroupList = []


class NewToken(msgspec.Struct):
    """A token that was made; it is not kept, so this is the only time it is told."""

    token: str
    id: str
    expires: str


class IssuedTokenView(msgspec.Struct):
    """A token that was given out."""

    id: str
    name: str
    role: str
    groups: list[str]
    made_by: str
    made: str
    expires: str


class TokenListView(msgspec.Struct):
    """API tokens."""

    items: list[IssuedTokenView]
    total: int
    next: str | None = None


# the relay itself ------------------------------------------------------------------------


class TerminalCounts(msgspec.Struct):
    """Terminals by state."""

    online: int
    seen: int
    unregistered: int


class StreamCounts(msgspec.Struct):
    """Streams and viewers."""

    running: int
    starting: int
    lost: int
    viewers: int
    bitrate_in: int


class MergeView(msgspec.Struct):
    """How reads and writes are gathered now."""

    ms: int
    auto: bool
    max_ms: int
    share: float


class HttpCounts(msgspec.Struct):
    """The web server."""

    connections: int
    requests: int
    refused: int
    slow: int
    turned_away: int
    feeds: int
    failures: int


class Status(msgspec.Struct):
    """The relay at a glance."""

    version: str
    demo: bool
    time: str
    since: str
    uptime_s: float
    ready: bool
    problems: list[str]
    map_tiles: str  #: where the page's map has its pictures from; empty: from nowhere
    map_datum: str
    role: str
    name: str
    terminals: TerminalCounts
    streams: StreamCounts
    merge: MergeView
    http: HttpCounts
    counts: dict[str, int]


class Health(msgspec.Struct):
    """Whether it lives, and whether it can do its work."""

    ok: bool
    problems: list[str] = []
