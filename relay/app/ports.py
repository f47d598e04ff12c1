"""Which ports the settings ask for, and under which key each stands among the listeners."""

from __future__ import annotations

from typing import Any

from relay.settings import Settings, Superior

MANY = "media.talk_extra_ports"  #: the one key that names several ports; each is bound as ``key:NUMBER``


def speaks_tls(section: Any, name: str) -> bool:
    """Whether a section's listener (``port``, ``tcp_port`` … or ``tls_port``) has TLS: with a certificate, the one at ``tls_port``, or all without that."""
    return bool(section.tls_certificate) and (name == "tls_port" or not getattr(section, "tls_port", 0))


def sublink_key(superior: Superior) -> str:
    """The name of the listener on which a superior's subordinate link comes in."""
    return f"superior.sublink {superior.sublink_host}:{superior.sublink_port}"


def listeners(settings: Settings) -> list[tuple[str, str, str, int]]:
    """Every port that these settings bind: (key, "tcp" or "udp", host, port)."""
    t, m, h, r = settings.terminals, settings.media, settings.http, settings.rtmp
    found = [
        ("terminals.tcp_port", "tcp", t.host, t.tcp_port),
        ("terminals.udp_port", "udp", t.host, t.udp_port),
        ("terminals.tls_port", "tcp", t.host, t.tls_port),
        ("media.live_tcp_port", "tcp", m.host, m.live_tcp_port),
        ("media.live_udp_port", "udp", m.host, m.live_udp_port),
        ("media.playback_tcp_port", "tcp", m.host, m.playback_tcp_port),
        ("media.playback_udp_port", "udp", m.host, m.playback_udp_port),
        ("media.talk_tcp_port", "tcp", m.host, m.talk_tcp_port),
        ("http.port", "tcp", h.host, h.port),
        ("http.tls_port", "tcp", h.host, h.tls_port),
        ("attachments.port", "tcp", settings.attachments.host, settings.attachments.port),
        ("rtmp.port", "tcp", r.host, r.port),
        ("rtmp.tls_port", "tcp", r.host, r.tls_port),
    ]
    if settings.superior:  # their players are the only ones to use it
        found.append(("http.platform_port", "tcp", h.host, h.platform_port))
    shared: set[tuple[str, int]] = set()
    for one in settings.superior:
        if (one.sublink_host, one.sublink_port) not in shared:  # superiors on one port are told apart by access code and verify code
            shared.add((one.sublink_host, one.sublink_port))
            found.append((sublink_key(one), "tcp", one.sublink_host, one.sublink_port))
    found.append(("ftp.port", "tcp", settings.ftp.host, settings.ftp.port))
    if m.talk_extra_ports:
        first, _, last = m.talk_extra_ports.partition("-")
        found += [(MANY, "tcp", m.host, n) for n in range(int(first), int(last or first) + 1)]
    return [one for one in found if one[3]]
