"""The settings, one frozen dataclass a section of the configuration file; defaults are the contract's.

``relay.app.config`` reads them from TOML, files and environment; ``etc/jt1078relay.toml`` holds every key with its
default and a comment, and a test compares the two. Units are in the names: ``_s`` seconds, ``_ms``, ``_bytes``.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Terminals:
    """JT/T 808 listeners, who is admitted, timers."""

    host: str = "0.0.0.0"
    advertise: str = ""  #: address told to others; empty = guessed from the connection
    tcp_port: int = 7808  #: 0 switches a listener off
    udp_port: int = 7808
    tls_port: int = 0  #: JT/T 808 in TLS
    tls_certificate: str = ""
    tls_key: str = ""
    registration: str = "known"  #: known | first-seen | open
    idle_timeout_s: float = 180.0  #: no byte for so long closes the link (common practice: three heartbeats)
    register_timeout_s: float = 30.0  #: a connection that has not authenticated by then is closed
    reply_timeout_s: float = 10.0  #: how long a request waits for the terminal's answer
    retries: int = 2  #: repeats of a request, same serial, T(N+1) = T(N) x (N+1)
    subpackage_timeout_s: float = 60.0  #: age at which an unfinished message is given up
    loss_report_s: float = 10.0  #: interval of 0x9105; 0 = never


@dataclass(frozen=True, slots=True)
class Media:
    """JT/T 1078 listeners, streams, viewers."""

    host: str = "0.0.0.0"
    advertise: str = ""  #: address told to terminals in 0x9101; empty = the address the terminal's signalling link came in on
    live_tcp_port: int = 1078
    live_udp_port: int = 1079
    playback_tcp_port: int = 1178
    playback_udp_port: int = 1179
    talk_tcp_port: int = 1278
    talk_extra_ports: str = "1279-1299"
    tls_certificate: str = ""
    tls_key: str = ""
    unrequested: str = "known"  #: known | accept | reject
    prefer: str = "tcp"  #: tcp | udp: which port 0x9101 names; the other one is sent as 0
    idle_stop_s: float = 15.0
    start_timeout_s: float = 15.0
    first_packet_timeout_s: float = 15.0  #: a media connection without a whole packet is closed
    silent_timeout_s: float = 30.0  #: a media connection without a packet for so long is closed
    max_body_bytes: int = 65535  #: body of one packet; the standard says 950, the field sends more
    sim_bytes: int = 0  #: width of the SIM field: 0 = detected, 6, 10
    loss_policy: str = "keyframe"  #: keyframe: after a lost frame drop to the next key frame | keep: deliver what is whole
    gop_frames: int = 300  #: limits of the GOP cache: frames,
    gop_bytes: int = 8388608  #: bytes,
    gop_s: float = 12.0  #: seconds
    viewer_queue_bytes: int = 524288
    viewer_queue_ms: int = 3000
    viewer_stuck_s: float = 30.0  #: a viewer that takes nothing for so long is closed
    merge_ms: str = "auto"  #: 0 = every frame at once | 20-350 | auto
    merge_max_ms: int = 80  #: what auto may reach
    reorder_packets: int = 64  #: UDP window
    reorder_ms: int = 150
    connections_max: int = 20000


@dataclass(frozen=True, slots=True)
class Http:
    """Pages, API, media."""

    host: str = "0.0.0.0"
    advertise: str = ""  #: host[:port] in the URLs the API gives out; empty = the request's Host
    port: int = 8080
    platform_port: int = 8078
    tls_port: int = 0
    tls_certificate: str = ""
    tls_key: str = ""
    header_timeout_s: float = 10.0
    body_timeout_s: float = 20.0
    keepalive_s: float = 60.0
    body_max_bytes: int = 1048576
    connections_max: int = 20000
    connections_per_address: int = 0  #: 0 = no limit: carriers' NAT and proxies bring thousands from one address
    trusted_proxies: tuple[str, ...] = ()  #: addresses whose X-Forwarded-* headers are believed
    frame_ancestors: str = "'none'"  #: who may embed the page (Content-Security-Policy)
    cors_origins: tuple[str, ...] = ()  #: origins that may call the API from a browser


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound in outputs."""

    flv: str = "aac"  #: what FLV carries by default: aac (needs the media extra, else no sound) | source | none
    mp4: str = "flac"  #: what fMP4 carries by default: flac | aac | source | none
    aac_bitrate: int = 32000  #: bit/s
    transcodes_max: int = 200  #: admission: audio transcodes at a time
    g726_pure_max: int = 10  #: G.726 channels decoded without the media extra
    g726_order: str = "auto"  #: auto | le | be


@dataclass(frozen=True, slots=True)
class Auth:
    """Tokens."""

    signing_key: str = ""  #: made at first start and kept beside the store when absent
    signing_key_old: str = ""  #: still accepted, for rotation
    media_token_s: int = 120  #: life of the URLs that the API gives out: time to start
    page_token_s: int = 86400
    leeway_s: int = 30  #: clock difference forgiven


@dataclass(frozen=True, slots=True)
class Store:
    """Where things are kept."""

    url: str = "sqlite:///jt1078relay-data/relay.db"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that protect the process."""

    unregistered_max: int = 500  #: 808 connections that have not authenticated
    terminals_max: int = 20000
    subpackage_bytes: int = 4194304  #: in assembly, a terminal (photos of 0x0801 are large)
    subpackage_messages: int = 64  #: in assembly, a terminal
    subpackage_bytes_all: int = 67108864
    log_peer_s: float = 1.0  #: at most one log line about a bad peer in so long


@dataclass(frozen=True, slots=True)
class Log:
    """Logging."""

    level: str = "info"  #: debug | info | warn | error
    format: str = "text"  #: text | json


@dataclass(frozen=True, slots=True)
class Metrics:
    """Prometheus."""

    enabled: bool = True
    token: str = ""  #: a fixed token for the scraper; empty = an API token of any role


@dataclass(frozen=True, slots=True)
class Settings:
    """All sections."""

    terminals: Terminals = field(default_factory=Terminals)
    media: Media = field(default_factory=Media)
    http: Http = field(default_factory=Http)
    audio: Audio = field(default_factory=Audio)
    auth: Auth = field(default_factory=Auth)
    store: Store = field(default_factory=Store)
    limits: Limits = field(default_factory=Limits)
    log: Log = field(default_factory=Log)
    metrics: Metrics = field(default_factory=Metrics)
