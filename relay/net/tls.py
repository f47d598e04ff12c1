"""TLS for any listener, with certificates that are read again when their files change.

At each handshake (at most once a second) the two PEM files are looked at; when either changed, a new context is made for this and all later
handshakes. Files that do not fit together, or are no certificate, leave the old context in place and an error in the log: certbot writes
chain and key one after the other, so the mismatch in between heals by itself.
"""

# mypy: disallow-untyped-calls=False
# (twisted.internet.ssl and twisted.protocols.tls carry few annotations)

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from relay.errors import ConfigError

log = Logger()

LOOK_EVERY_S = 1.0  #: a flood of handshakes must not become a flood of stat calls

_Signature = tuple[tuple[int, int, int], ...]


@implementer(IOpenSSLServerConnectionCreator)
class ReloadingCertificate:
    """Makes the server side of connections from two PEM files: the chain (own certificate first) and the key."""

    def __init__(self, certificate: str, key: str, now: Callable[[], float], section: str = "") -> None:
        """Raises ConfigError when the files cannot be used; ``section`` is the configuration's, for that message."""
        self.certificate = certificate
        self.key = key
        self.reloads = 0
        self.failures = 0
        self._now = now
        self._looked = now()
        try:
            self._signature = self._look()
            self._context = _context(certificate, key)
        except (OSError, ValueError) as problem:
            raise ConfigError(f"{section}.tls_certificate" if section else "", f"{certificate} and {key}: {problem}") from None

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        """One handshake."""
        now = self._now()
        if now >= self._looked + LOOK_EVERY_S:
            self._looked = now
            self._refresh()
        return SSL.Connection(self._context, None)

    def _refresh(self) -> None:
        try:
            signature = self._look()
        except OSError:
            signature = ()  # gone: reading them says why
        if signature == self._signature:
            return
        # remembered before it is tried: a bad file is told once, not at each handshake
        self._signature = signature
        try:
            self._context = _context(self.certificate, self.key)
        except (OSError, ValueError) as problem:
            self.failures += 1
            text = "the certificate {certificate} with key {key} cannot be used, the former one stays: {problem}"
            log.error(text, certificate=self.certificate, key=self.key, problem=str(problem))
            return
        self.reloads += 1
        log.info("the certificate {certificate} was read again", certificate=self.certificate)

    def _look(self) -> _Signature:
        return tuple((s.st_mtime_ns, s.st_size, s.st_ino) for s in (os.stat(self.certificate), os.stat(self.key)))


def wrap(factory: Factory, certificate: ReloadingCertificate, clock: Any) -> TLSMemoryBIOFactory:
    """The same factory, spoken to through TLS."""
    return TLSMemoryBIOFactory(certificate, False, factory, clock)


def _context(certificate: str, key: str) -> SSL.Context:
    """Twisted's defaults (TLS 1.2 and later, modern ciphers) with this chain and key; ValueError when they cannot be used."""
    if b"ENCRYPTED" in Path(key).read_bytes():  # both forms of PEM say so; OpenSSL would ask for the pass phrase at the console
        raise ValueError("the key is encrypted; store it without a pass phrase, readable by the relay alone")
    context: SSL.Context = CertificateOptions().getContext()
    try:
        context.use_certificate_chain_file(certificate)
        context.use_privatekey_file(key)
        context.check_privatekey()
    except SSL.Error as problem:
        raise ValueError(_reason(problem)) from None
    return context


def _reason(problem: SSL.Error) -> str:
    """OpenSSL's own words out of its list of tuples."""
    stack = problem.args[0] if problem.args else None
    if isinstance(stack, list) and stack:
        return "; ".join(str(entry[-1]) for entry in stack)
    return str(problem) or "no certificate"
