"""The settings, one frozen dataclass a section of the configuration file; defaults are the contract's.

``relay.app.config`` reads them from TOML, files and environment; ``etc/jt1078relay.toml`` holds every key with its
default and a comment, and a test compares the two. Units are in the names: ``_s`` seconds, ``_ms``, ``_bytes``.

What a value may be stands beside its default, as metadata that ``relay.app.config`` reads: ``a_port()`` 0-65535,
``a_number(default, low, high)``, ``one_of(default, others...)``, ``a_secret()`` (a text that may also be ``"file:/path"`` or
``"env:NAME"``, never shown), ``an_address()``, ``a_text(default, check)`` and ``texts(check)`` for what has a form of its own, where
``check`` names one of ``relay.app.forms``. ``needed(...)`` has no default: the key must be there. ``tables(cls)`` is an array of tables
(``[[push]]``), each a ``cls``; a key called ``name`` is unique among them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

_N = TypeVar("_N", int, float)
_T = TypeVar("_T")


def a_port(default: int) -> int:
    """A port; 0 switches the listener off."""
    value: int = field(default=default, metadata={"low": 0, "high": 65535})
    return value


def a_number(default: _N, low: _N, high: _N | None = None) -> _N:
    """A number and its bounds, both included."""
    value: _N = field(default=default, metadata={"low": low, "high": high})
    return value


def one_of(default: str, *choices: str) -> str:
    """One of a few words."""
    value: str = field(default=default, metadata={"choices": (default, *choices)})
    return value


def a_secret() -> str:
    """A text that may come from a file or the environment and is never logged."""
    value: str = field(default="", repr=False, metadata={"secret": True})
    return value


def a_text(default: str, check: str) -> str:
    """A text with a form of its own: ``check`` names the rule."""
    value: str = field(default=default, metadata={"check": check})
    return value


def texts(check: str) -> tuple[str, ...]:
    """A list of texts, none by default."""
    value: tuple[str, ...] = field(default=(), metadata={"check": check})
    return value


def needed(check: str = "", secret: bool = False) -> str:
    """A text that must be given; ``check`` names the rule for its form."""
    rules = {"needed": True, "secret": secret} | ({"check": check} if check else {})
    value: str = field(default="", repr=not secret, metadata=rules)
    return value


def tables(cls: type[_T], most: int) -> tuple[_T, ...]:
    """An array of tables, none by default, ``most`` at most."""
    value: tuple[_T, ...] = field(default=(), metadata={"table": cls, "most": most})
    return value


def an_address(default: str) -> str:
    """A numeric address to bind."""
    return a_text(default, "host")


@dataclass(frozen=True, slots=True)
class Terminals:
    """JT/T 808 listeners, who is admitted, timers."""

    host: str = an_address("0.0.0.0")
    advertise: str = a_text("", "name")  #: address told to others; empty = guessed from the connection
    tcp_port: int = a_port(7808)  #: 0 switches a listener off
    udp_port: int = a_port(7808)
    tls_port: int = a_port(0)  #: JT/T 808 in TLS
    tls_certificate: str = ""
    tls_key: str = ""
    registration: str = one_of("known", "first-seen", "open")  #: known | first-seen | open
    idle_timeout_s: float = a_number(180.0, 1.0)  #: no byte for so long closes the link (common practice: three heartbeats)
    register_timeout_s: float = a_number(30.0, 1.0)  #: a connection that has not authenticated by then is closed
    reply_timeout_s: float = a_number(10.0, 0.1)  #: how long a request waits for the terminal's answer
    retries: int = a_number(2, 0, 20)  #: repeats of a request, same serial, T(N+1) = T(N) x (N+1)
    subpackage_timeout_s: float = a_number(60.0, 1.0)  #: age at which an unfinished message is given up
    answer_positions: str = one_of("received", "stored")  #: when 0x8001 goes out for a position: at once | once its row is in the store
    loss_report_s: float = a_number(10.0, 0.0)  #: interval of 0x9105; 0 = never
    ptz_hold_s: float = a_number(2.0, 0.2, 60.0)  #: a rotation of a camera that is not renewed is stopped after so long


@dataclass(frozen=True, slots=True)
class Media:
    """JT/T 1078 listeners, streams, viewers."""

    host: str = an_address("0.0.0.0")
    advertise: str = a_text("", "name")  #: address told to terminals in 0x9101; empty = the address the terminal's signalling link came in on
    live_tcp_port: int = a_port(1078)
    live_udp_port: int = a_port(1079)
    playback_tcp_port: int = a_port(1178)
    playback_udp_port: int = a_port(1179)
    talk_tcp_port: int = a_port(1278)
    talk_extra_ports: str = a_text("1279-1299", "port_range")
    tls_certificate: str = ""
    tls_key: str = ""
    unrequested: str = one_of("known", "accept", "reject")  #: known | accept | reject
    prefer: str = one_of("tcp", "udp")  #: tcp | udp: which port 0x9101 names; the other one is sent as 0
    idle_stop_s: float = a_number(15.0, 0.0)
    start_timeout_s: float = a_number(15.0, 0.5)
    first_packet_timeout_s: float = a_number(15.0, 0.5)  #: a media connection without a whole packet is closed
    silent_timeout_s: float = a_number(30.0, 1.0)  #: a media connection without a packet for so long is closed
    max_body_bytes: int = a_number(65535, 950, 65535)  #: body of one packet; the standard says 950, the field sends more
    sim_bytes: int = field(default=0, metadata={"choices": (0, 6, 10)})  #: width of the SIM field: 0 = detected, 6, 10
    loss_policy: str = one_of("keyframe", "keep")  #: keyframe: after a lost frame drop to the next key frame | keep: deliver what is whole
    gop_frames: int = a_number(300, 0)  #: limits of the GOP cache: frames,
    gop_bytes: int = a_number(8388608, 0)  #: bytes,
    gop_s: float = a_number(12.0, 0.0)  #: seconds
    viewer_queue_bytes: int = a_number(524288, 16384)
    viewer_queue_ms: int = a_number(3000, 100)
    viewer_stuck_s: float = a_number(30.0, 1.0)  #: a viewer that takes nothing for so long is closed
    merge_ms: str = a_text("auto", "merge_ms")  #: 0 = every frame at once | 20-350 | auto
    merge_max_ms: int = a_number(80, 20, 350)  #: what auto may reach, and has for streams of 200 viewers or more
    reorder_packets: int = a_number(64, 0, 4096)  #: UDP window
    reorder_ms: int = a_number(150, 0, 5000)
    connections_max: int = a_number(20000, 1)


def tiles_origin(address: str) -> str:
    """Scheme, host and port of ``http.map_tiles``, as a Content-Security-Policy names them; empty for what is no such address."""
    parts = urlsplit(address)
    right = parts.scheme in ("http", "https") and parts.hostname and not parts.username and re.fullmatch(r"[!#-&(-+\--:<-~]+", address)
    return f"{parts.scheme}://{parts.netloc}" if right else ""


@dataclass(frozen=True, slots=True)
class Http:
    """Pages, API, media."""

    host: str = an_address("0.0.0.0")
    advertise: str = a_text("", "place")  #: host[:port] in the URLs the API gives out; empty = the request's Host
    port: int = a_port(8080)
    platform_port: int = a_port(8078)
    platform_advertise: str = a_text("", "place")  #: host[:port] told to superiors in 0x1801; empty = the address their 0x1001 named
    tls_port: int = a_port(0)
    tls_certificate: str = ""
    tls_key: str = ""
    header_timeout_s: float = a_number(10.0, 0.5)
    body_timeout_s: float = a_number(20.0, 0.5)
    keepalive_s: float = a_number(60.0, 0.5)
    body_max_bytes: int = a_number(1048576, 1024)
    connections_max: int = a_number(20000, 1)
    connections_per_address: int = a_number(0, 0)  #: 0 = no limit: carriers' NAT and proxies bring thousands from one address
    trusted_proxies: tuple[str, ...] = texts("network")  #: addresses whose X-Forwarded-* headers are believed
    frame_ancestors: str = a_text("'none'", "header")  #: who may embed the page (Content-Security-Policy)
    map_tiles: str = a_text("", "tiles")  #: the map's pictures: "https://host/{z}/{x}/{y}.png"; empty = a grid, nothing is fetched
    map_datum: str = one_of("wgs84", "gcj02")  #: what those pictures are drawn in; Chinese maps: gcj02
    cors_origins: tuple[str, ...] = texts("origin")  #: origins that may call the API from a browser
    #: for programs written for others: zlm = some of ZLMediaKit's /index/api, srs = some of SRS's API under /srs/api/v1, both
    compat: str = one_of("none", "zlm", "srs", "both")


@dataclass(frozen=True, slots=True)
class Rtmp:
    """RTMP players."""

    host: str = an_address("0.0.0.0")
    advertise: str = a_text("", "place")  #: host[:port] in the URLs the API gives out; empty = the host the API was called at
    port: int = a_port(1935)
    tls_port: int = a_port(0)  #: rtmps
    tls_certificate: str = ""
    tls_key: str = ""
    handshake_timeout_s: float = a_number(10.0, 0.5)  #: a connection without a connect command by then is closed
    connections_max: int = a_number(20000, 1)
    push_allow: tuple[str, ...] = texts("target")  #: hosts, addresses and networks that the API may push to besides public addresses


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound in outputs."""

    flv: str = one_of("aac", "source", "none")  #: what FLV carries by default: aac (needs the media extra, else no sound) | source | none
    mp4: str = one_of("flac", "aac", "opus", "source", "none")  #: what fMP4 carries by default: flac | aac | opus | source | none
    ts: str = one_of("aac", "source", "none")  #: what MPEG-TS carries by default: aac | source | none
    hls: str = one_of("auto", "aac", "flac", "opus", "source", "none")  #: what HLS in MP4 carries by default; auto: aac with the media extra, else flac
    aac_bitrate: int = a_number(32000, 8000, 512000)  #: bit/s
    transcodes_max: int = a_number(200, 0)  #: admission: audio transcodes at a time
    g726_pure_max: int = a_number(10, 0)  #: G.726 channels decoded without the media extra
    g726_order: str = one_of("auto", "le", "be")  #: auto | le | be


@dataclass(frozen=True, slots=True)
class Video:
    """Pictures that are decoded: costly, so bounded. All of it needs the media extra."""

    h264_max: int = a_number(0, 0, 1000)  #: channels transcoded from H.265 to H.264 at a time, for players that ask with video=h264; 0 = none
    other_stream: bool = True  #: players without H.265 that are not transcoded for get the terminal's other stream, if that is H.264 and nobody has this one
    mjpeg_max: int = a_number(4, 0, 1000)  #: channels given as motion JPEG at a time
    mjpeg_fps: float = a_number(10.0, 0.2, 30.0)  #: pictures a second of motion JPEG at most


@dataclass(frozen=True, slots=True)
class Hls:
    """HTTP Live Streaming."""

    segment_s: float = a_number(2.0, 0.5, 20.0)  #: a segment lasts at least so long, and ends at the next key frame
    part_s: float = a_number(0.5, 0.1, 5.0)  #: parts of low-latency HLS


@dataclass(frozen=True, slots=True)
class Auth:
    """Tokens."""

    signing_key: str = a_secret()  #: made at first start and kept beside the store when absent
    signing_key_old: str = a_secret()  #: still accepted, for rotation
    media_token_s: int = a_number(120, 1)  #: life of the URLs that the API gives out: time to start
    page_token_s: int = a_number(86400, 60)
    session_s: int = a_number(43200, 300, 2678400)  #: a user who has logged in is asked again after so long without the page
    leeway_s: int = a_number(30, 0, 3600)  #: clock difference forgiven


@dataclass(frozen=True, slots=True)
class Store:
    """Where things are kept, and for how long."""

    url: str = a_text("sqlite:///jt1078relay-data/relay.db", "store_url")  #: or postgresql://user@host/database
    password: str = a_secret()  #: PostgreSQL's; libpq's own ways (PGPASSWORD, .pgpass) work too
    directory: str = a_text("", "directory")  #: of the signing key and of files; empty = beside the SQLite file, else jt1078relay-data
    alarms_days: int = a_number(365, 0)  #: alarms and their files older than that are deleted; 0 = kept
    positions_days: int = a_number(90, 0)  #: rows older than that are deleted; 0 = kept
    traffic_days: int = a_number(400, 0)  #: what the SIMs' data was spent on
    audit_days: int = a_number(365, 0)
    multimedia_days: int = a_number(90, 0)  #: pictures, sound and films of 0x0801, with their files
    multimedia_max_bytes: int = a_number(10 << 30, 1)  #: of all of them; the oldest go first


@dataclass(frozen=True, slots=True)
class Attachments:
    """Files of alarms (0x9208), and the port that terminals send them to."""

    host: str = an_address("0.0.0.0")
    advertise: str = a_text("", "name")  #: address told to terminals; empty = media.advertise, else the one the signalling link came in on
    port: int = a_port(7200)
    directory: str = a_text("", "directory")  #: empty = attachments/ beside the store
    types: tuple[str, ...] = texts("file_kind")  #: picture, audio, video, text, face, other; none = all
    file_bytes: int = a_number(67108864, 1024)  #: a larger file is not taken
    free_bytes: int = a_number(1073741824, 0)  #: nothing is fetched while the disk has less left
    delay_s: float = a_number(10.0, 0.0)  #: from the alarm to 0x9208: video is ready some seconds later
    open_per_terminal: int = a_number(1, 1)  #: alarms whose files one terminal sends at a time
    open_max: int = a_number(200, 1)  #: and all terminals together
    queue_max: int = a_number(10000, 1)  #: alarms whose files are wanted
    queue_age_s: float = a_number(86400.0, 1.0)  #: a terminal that does not come online for so long is not asked any more
    accept_s: float = a_number(172800.0, 60.0)  #: files that were asked for may come so long afterwards
    connections_max: int = a_number(1000, 1)


@dataclass(frozen=True, slots=True)
class Budget:
    """Data of the terminals' SIMs, and how long a view lasts."""

    day_bytes: int = a_number(0, 0)  #: each SIM's, both ways; 0 = no budget. A terminal may have its own
    month_bytes: int = a_number(0, 0)
    warn_percent: int = a_number(80, 0, 100)  #: of either spent: an event; 0 = none
    sub_percent: int = a_number(90, 0, 100)  #: of either spent: the sub stream only; 0 = never
    refuse: bool = True  #: all of it spent: streams end and are refused, no files are fetched
    exempt: tuple[str, ...] = texts("purpose")  #: who is never cut: "superior", "recorder", "viewer", "push", "api", "playback"
    view_s: int = a_number(0, 0)  #: a view ends after so long unless somebody says that they are still watching; 0 = never
    view_ask_s: int = a_number(60, 5)  #: they are asked so long before


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that protect the process."""

    unregistered_max: int = a_number(500, 1)  #: 808 connections that have not authenticated
    terminals_max: int = a_number(20000, 1)
    subpackage_bytes: int = a_number(4194304, 1024)  #: in assembly, a terminal (photos of 0x0801 are large)
    subpackage_messages: int = a_number(64, 1)  #: in assembly, a terminal
    subpackage_bytes_all: int = a_number(67108864, 1024)
    viewers_per_user: int = a_number(200, 0)  #: players of one account at once; 0 = no limit
    viewers_per_token: int = a_number(0, 0)  #: of one other name in media tokens: an application's URLs may be for thousands; 0 = no limit
    requests_per_user_s: float = a_number(100.0, 0.0)  #: API requests of one account or API token, in the long run; 0 = no limit
    requests_burst: int = a_number(500, 1)  #: so many at once before that counts
    log_peer_s: float = a_number(1.0, 0.0)  #: at most one log line about a bad peer in so long


@dataclass(frozen=True, slots=True)
class Log:
    """Logging."""

    level: str = one_of("info", "debug", "warn", "error")  #: debug | info | warn | error
    format: str = one_of("text", "json")  #: text | json
    record_dir: str = a_text("", "directory")  #: where recordings of connections go; empty = none are made
    record: tuple[str, ...] = texts("subject")  #: whose connections: numbers of terminals, "superior:NAME", "*" for all terminals
    record_scrub: bool = False  #: numbers, plates, names and secrets are made up before anything is written
    record_max_bytes: int = a_number(1073741824, 1048576)  #: of one recording; it ends there


@dataclass(frozen=True, slots=True)
class Metrics:
    """Prometheus."""

    enabled: bool = True
    token: str = a_secret()  #: a fixed token for the scraper; empty = an API token of any role


@dataclass(frozen=True, slots=True)
class Push:
    """One ``[[push]]``: a channel that is sent to an outside RTMP server."""

    name: str = needed("word")
    url: str = needed("push_url", secret=True)  #: rtmp:// or rtmps://, stream key and all
    terminal: str = needed()  #: number, plate or alias
    channel: int = a_number(1, 1, 255)
    stream: str = one_of("auto", "main", "sub")  #: auto: what runs, else sub
    media: str = one_of("av", "v", "a")
    audio: str = one_of("auto", "aac", "source", "none")  #: auto: what audio.flv says
    hevc: str = one_of("enhanced", "legacy")  #: how H.265 is written
    when: str = one_of("always", "demand")  #: demand: when the API says so
    query: str = one_of("name", "app")  #: where the query of the URL goes: behind the stream's name or behind the application
    tls_ca: str = ""  #: PEM of the authority that signed the server's certificate; empty = the system's


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``[[rule]]``: what is done when an alarm begins."""

    name: str = needed("word")
    alarms: tuple[str, ...] = texts("alarm")  #: "adas", "dsm.1", "terminal.0", "*"; none = all
    terminals: tuple[str, ...] = texts("rule_terminal")  #: numbers, or "group:NAME"; none = all
    level: int = a_number(0, 0, 2)  #: only alarms of that level or above; 0 = any
    attachments: bool = False  #: fetch the alarm's files (0x9208)
    snapshot: bool = False  #: have the terminal take a picture (0x8801)
    record_s: int = a_number(0, 0, 3600)  #: record so long; 0 = no
    channels: tuple[str, ...] = texts("channel")  #: of snapshots and recordings; none = the alarm's own, else 1
    every_s: float = a_number(10.0, 0.0)  #: for one terminal at most so often


@dataclass(frozen=True, slots=True)
class RecordingSettings:
    """Recording channels on this side."""

    directory: str = a_text("", "directory")  #: empty = "videos" beside the store
    file_s: float = a_number(300.0, 10.0, 3600.0)  #: length of one file
    days: int = a_number(30, 0)  #: files older than that are deleted; 0 = kept
    max_bytes: int = a_number(0, 0)  #: of all files; 0 = no limit but the disk
    min_free_bytes: int = a_number(1 << 30, 0)  #: left free on the disk; recording stops before
    make_room: bool = True  #: the oldest files go when there is too much; false: recording stops


@dataclass(frozen=True, slots=True)
class Record:
    """One ``[[record]]``: channels that are recorded always, or by schedule."""

    name: str = needed("word")
    terminals: tuple[str, ...] = texts("vehicle")  #: patterns of numbers and plates, or "group:NAME"; none = all
    channels: tuple[str, ...] = texts("channel")  #: none = all cameras the terminal tells of
    schedule: tuple[str, ...] = texts("schedule")  #: "Mon-Fri 07:00-19:00"; none = always
    stream: str = one_of("sub", "main")


@dataclass(frozen=True, slots=True)
class Superior:
    """One ``[[superior]]``: a superior platform (上级平台) that we are a subordinate platform of, by JT/T 809."""

    name: str = needed("word")
    host: str = needed("name")  #: of its main-link server
    port: int = a_number(10709, 1, 65535)
    enabled: bool = True  #: connect at the start; false: when the API says so
    edition: int = field(default=2011, metadata={"choices": (2011, 2019)})
    body_edition: int = field(default=0, metadata={"choices": (0, 2011, 2019)})  #: of the bodies, where a superior mixes them; 0 = edition
    access_code: int = a_number(0, 0, 0xFFFFFFFF)  #: 下级平台接入码 MSG_GNSSCENTERID
    user_id: int = a_number(0, 0, 0xFFFFFFFF)
    password: str = a_secret()  #: at most 8 bytes
    platform_id: str = a_text("", "platform_id")  #: 平台唯一编码
    version: str = a_text("1.0.0", "version")  #: 协议版本号标识
    encrypt: bool = False  #: our bodies are encrypted; what comes is read either way once m1, ia1 and ic1 are set
    m1: int = a_number(0, 0, 0xFFFFFFFF)
    ia1: int = a_number(0, 0, 0xFFFFFFFF)
    ic1: int = a_number(0, 0, 0xFFFFFFFF)
    sublink_host: str = an_address("0.0.0.0")  #: address to bind
    sublink_port: int = a_port(8809)  #: superiors may share a port; 0: no subordinate link, everything comes by the main link
    sublink_advertise: str = a_text("", "name")  #: address told in 0x1001; empty = the one our main link goes out from
    sublink_advertise_port: int = a_port(0)  #: port told in 0x1001; 0 = sublink_port
    sublink_tls: bool = False
    tls: bool = False  #: the main link is in TLS
    tls_name: str = a_text("", "name")  #: name in its certificate; empty = host
    tls_ca: str = ""  #: PEM of the authority that signed its certificate; empty = the system's
    tls_certificate: str = ""  #: ours: shown on the main link when asked, and on the subordinate link with sublink_tls
    tls_key: str = ""
    heartbeat_s: float = a_number(60.0, 1.0)  #: between 0x1005
    timeout_s: float = a_number(180.0, 2.0)  #: a link without a good frame for so long is dead
    login_timeout_s: float = a_number(20.0, 1.0)
    reconnect_s: float = a_number(5.0, 0.1)  #: first pause; doubled up to
    reconnect_max_s: float = a_number(300.0, 0.1)
    vehicles: tuple[str, ...] = texts("vehicle")  #: patterns of plates, aliases, numbers or "group:NAME"; "!" in front excludes; empty = all with a plate
    producer_id: str = a_text("", "platform_id")  #: 车载终端厂商唯一编码 in 0x1201; empty = the terminal's own
    model_bytes: int = field(default=8, metadata={"choices": (8, 20)})  #: width of the terminal model in 0x1201 (2011): 20 = supplement
    passwords_in_envelope: bool = False  #: 0x1701 with 167 bytes instead of the standard's 141
    passwords_life_s: int = a_number(86400, 600)
    passwords_overlap_s: int = a_number(600, 0)  #: how long the former pair stays valid
    check_cross_domain: bool = True
    report_recordings_s: float = a_number(0.0, 0.0, 3600.0)  #: so long after a special alarm its recordings are told (0x1901); 0 = never
    live_stream: str = one_of("sub", "main", "auto")  #: what 0x9801 opens, which cannot choose; auto: what runs, else sub
    alarms: bool = True  #: 0x1402 for alarms of terminals
    alarm_types: tuple[str, ...] = texts("alarm_type")  #: "bit=type" or "kind.code=type" over the built-in table: "0=0x0003"; type 0 = not told
    post_query_rules: tuple[str, ...] = texts("rule")  #: "pattern => answer": post queries answered at once; the rest waits for a person
    post_query_s: int = a_number(600, 10)  #: time to answer where the query does not say
    responder: str = ""  #: who answers post queries by rule
    responder_tel: str = ""
    car_info: str = a_text("", "car_info")  #: text of 0x1601, with {plate}, {plate_color} and {KEY} of the terminal's details; empty = the edition's own keys
    queue_max: int = a_number(2_000_000, 1000)  #: positions and alarms kept on disk
    queue_age_s: int = a_number(259200, 60)  #: older ones are dropped
    supplement_rate: int = a_number(5000, 1)  #: positions a second in 0x1203


@dataclass(frozen=True, slots=True)
class Hook:
    """One ``[[hook]]``: a program that is told of events by HTTP POST."""

    name: str = needed("word")
    url: str = needed("hook_url", secret=True)  #: http:// or https://
    events: tuple[str, ...] = texts("hook_event")  #: on_terminal_online, on_alarm, on_*; none: all
    secret: str = a_secret()  #: signs deliveries (X-JT1078-Signature)
    timeout_s: float = a_number(3.0, 0.1, 30.0)
    decide: bool = False  #: true: asked before each play whether it may begin
    on_failure: str = one_of("refuse", "allow")  #: what a play gets when a deciding hook does not answer
    form: str = one_of("own", "srs")  #: of the bodies: srs = on_play, on_stop, on_publish, on_unpublish as SRS sends them


@dataclass(frozen=True, slots=True)
class Ftp:
    """The FTP server that terminals upload recordings to (0x9206)."""

    host: str = an_address("0.0.0.0")
    port: int = a_port(2121)
    advertise: str = a_text("", "name")  #: address told to terminals, and in answers to PASV (an IPv4 address there); empty = the one they reached
    passive_ports: str = a_text("30000-30099", "port_range")  #: for data connections; "" = any
    directory: str = a_text("", "directory")  #: empty = uploads beside the store
    file_max_bytes: int = a_number(8 << 30, 1)  #: of one file
    task_max_bytes: int = a_number(64 << 30, 1)  #: of one task
    max_bytes: int = a_number(100 << 30, 1)  #: of all; the oldest that are over go first
    min_free_bytes: int = a_number(1 << 30, 0)  #: left free on the disk
    keep_days: float = a_number(30.0, 0.0)  #: 0 = for ever
    task_hours: float = a_number(72.0, 0.1)  #: from the request to the last file; a vehicle may be parked over a weekend
    stall_s: float = a_number(120.0, 5.0)  #: without a byte for so long the terminal is reminded; the fourth time it has failed
    idle_s: float = a_number(120.0, 5.0)  #: a control or data connection without a byte for so long is closed
    connections_max: int = a_number(200, 1)  #: control connections


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections."""

    terminals: Terminals = field(default_factory=Terminals)
    media: Media = field(default_factory=Media)
    http: Http = field(default_factory=Http)
    rtmp: Rtmp = field(default_factory=Rtmp)
    video: Video = field(default_factory=Video)
    hls: Hls = field(default_factory=Hls)
    audio: Audio = field(default_factory=Audio)
    auth: Auth = field(default_factory=Auth)
    store: Store = field(default_factory=Store)
    attachments: Attachments = field(default_factory=Attachments)
    budget: Budget = field(default_factory=Budget)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)
    recording: RecordingSettings = field(default_factory=RecordingSettings)
    ftp: Ftp = field(default_factory=Ftp)
    push: tuple[Push, ...] = tables(Push, 1000)
    superior: tuple[Superior, ...] = tables(Superior, 64)
    hook: tuple[Hook, ...] = tables(Hook, 100)
    rule: tuple[Rule, ...] = tables(Rule, 200)
    record: tuple[Record, ...] = tables(Record, 1000)
