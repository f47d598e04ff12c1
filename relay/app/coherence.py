"""What must fit together among several keys of the configuration: ports, certificates and their keys, a superior's figures."""

from __future__ import annotations

import ipaddress

from relay.app.ports import listeners
from relay.errors import ConfigError
from relay.settings import Settings, Superior


def check(settings: Settings, faults: list[ConfigError]) -> None:
    """Add what does not fit; keys that are among ``faults`` already stand at their defaults and are left out."""
    bad = {fault.path for fault in faults}
    if settings.log.record and not settings.log.record_dir and not bad & {"log.record", "log.record_dir"}:
        faults.append(ConfigError("log.record_dir", "says where recordings go; log.record needs it"))
    for name in ("terminals", "media", "http", "rtmp"):
        section = getattr(settings, name)
        if bad & {f"{name}.tls_certificate", f"{name}.tls_key"}:
            continue
        if bool(section.tls_certificate) != bool(section.tls_key):
            missing = "tls_key" if section.tls_certificate else "tls_certificate"
            faults.append(ConfigError(f"{name}.{missing}", "tls_certificate and tls_key go together"))
        elif section.tls_certificate:
            _certificate(section.tls_certificate, section.tls_key, name, faults)
        if getattr(section, "tls_port", 0) and not section.tls_certificate:
            faults.append(ConfigError(f"{name}.tls_certificate", f"{name}.tls_port needs tls_certificate and tls_key"))
    for at, one in enumerate(settings.superior, 1):
        _superior(one, f"superior[{at}]", bad, faults)
    taken: dict[tuple[str, int], list[tuple[str, str]]] = {}
    told = set()
    for key, kind, host, port in listeners(settings):
        if key in bad or f"{key.partition('.')[0]}.host" in bad:
            continue
        for other, where in taken.setdefault((kind, port), []):
            if (host == where or _any(host) or _any(where)) and (key, other) not in told:
                told.add((key, other))
                faults.append(ConfigError(key, f"{kind.upper()} port {port} is also {other}'s"))
        taken[kind, port].append((key, host))
    if settings.auth.signing_key_old and not settings.auth.signing_key:
        faults.append(ConfigError("auth.signing_key", "missing beside signing_key_old: the new key goes here, the former one there"))


def _superior(one: Superior, section: str, bad: set[str], faults: list[ConfigError]) -> None:
    def fault(key: str, message: str) -> None:
        if f"{section}.{key}" not in bad:
            faults.append(ConfigError(f"{section}.{key}", message))

    if one.encrypt and not (one.m1 or one.ia1 or one.ic1):
        fault("encrypt", "needs m1, ia1 and ic1, which the superior gives")
    if len(one.password.encode("gbk", "replace")) > 8:
        fault("password", "longer than the 8 bytes of 0x1001")
    if one.reconnect_max_s < one.reconnect_s:
        fault("reconnect_max_s", "less than reconnect_s")
    if one.timeout_s <= one.heartbeat_s:
        fault("timeout_s", "must be more than heartbeat_s, else a silent link is given up between two keep-alives")
    if bool(one.tls_certificate) != bool(one.tls_key):
        fault("tls_key" if one.tls_certificate else "tls_certificate", "tls_certificate and tls_key go together")
    elif one.tls_certificate:
        _certificate(one.tls_certificate, one.tls_key, section, faults)
    elif one.sublink_tls:
        fault("sublink_tls", "needs tls_certificate and tls_key")


def _certificate(certificate: str, key: str, section: str, faults: list[ConfigError]) -> None:
    from relay.net.tls import ReloadingCertificate  # OpenSSL takes a tenth of a second to load: only where there is a certificate

    try:
        ReloadingCertificate(certificate, key, lambda: 0.0, section)
    except ConfigError as problem:
        faults.append(problem)


def _any(host: str) -> bool:
    return ipaddress.ip_address(host).is_unspecified
