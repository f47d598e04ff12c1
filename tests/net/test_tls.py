"""TLS listeners: the certificate is read again when it changes, and an invalid one is refused."""

from __future__ import annotations

import datetime
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL import SSL
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import globalLogPublisher

from relay.errors import ConfigError
from relay.net.tls import ReloadingCertificate, wrap


def make(directory: Path, name: str, key_from: str = "") -> tuple[str, str]:
    """A self-signed certificate for ``name`` in the two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    chain_file, key_file = directory / "chain.pem", directory / "key.pem"
    chain_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    if not key_from:
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        key_file.write_bytes(pem)
    return str(chain_file), str(key_file)


def served(creator: ReloadingCertificate) -> str:
    """The common name that a client is shown."""
    server = creator.serverConnectionForTLS(None)
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    server.set_accept_state()
    client.set_connect_state()
    for _ in range(4):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(one.bio_read(65536))
            except SSL.WantReadError:
                pass
    certificate = client.get_peer_certificate(as_cryptography=True)
    assert certificate is not None
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def touch(*files: str) -> None:
    """A later time of change, whatever the file system's resolution."""
    for file in files:
        later = os.stat(file).st_mtime_ns + 5_000_000_000
        os.utime(file, ns=(later, later))


def test_a_changed_certificate_is_served_at_the_next_handshake(tmp_path):
    clock = Clock()
    chain, key = make(tmp_path, "first")
    creator = ReloadingCertificate(chain, key, clock.seconds)
    assert served(creator) == "first"
    make(tmp_path, "second")
    touch(chain, key)
    assert served(creator) == "first"  # looked a moment ago
    clock.advance(1.0)
    assert served(creator) == "second"
    assert creator.reloads == 1


@pytest.mark.parametrize("fault", ["garbage", "gone", "mismatch"])
def test_an_invalid_one_leaves_the_former_and_is_told_once(tmp_path, fault):
    clock = Clock()
    chain, key = make(tmp_path, "first")
    creator = ReloadingCertificate(chain, key, clock.seconds)
    if fault == "garbage":
        Path(chain).write_text("no certificate")
    elif fault == "gone":
        Path(chain).unlink()
    else:
        make(tmp_path, "second", key_from="first")
    if fault != "gone":
        touch(chain)
    errors = []

    def observe(event):
        if event["log_level"].name == "error":
            errors.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        for _ in range(3):
            clock.advance(1.0)
            assert served(creator) == "first"
    finally:
        globalLogPublisher.removeObserver(observe)
    assert len(errors) == 1
    assert creator.failures == 1
    chain, key = make(tmp_path, "third")
    touch(chain, key)
    clock.advance(1.0)
    assert served(creator) == "third"


def test_files_that_cannot_be_used_at_the_start_are_a_fault_of_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"terminals\.tls_certificate"):
        ReloadingCertificate(str(tmp_path / "none"), str(tmp_path / "none"), Clock().seconds, "terminals")
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with pytest.raises(ConfigError, match="bad"):
        ReloadingCertificate(str(bad), str(bad), Clock().seconds)


def test_an_encrypted_key_fails_and_does_not_ask(tmp_path):
    chain, key = make(tmp_path, "first")
    secret = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass")
    )
    Path(key).write_bytes(secret)
    with pytest.raises(ConfigError):
        ReloadingCertificate(chain, key, Clock().seconds)


def test_a_wrapped_factory_speaks_tls(tmp_path):
    chain, key = make(tmp_path, "relay")
    clock = Clock()

    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data.upper())

    factory = wrap(Factory.forProtocol(Echo), ReloadingCertificate(chain, key, clock.seconds), clock)
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
    client.set_connect_state()
    said = False
    answer = b""
    for _ in range(8):
        try:
            client.do_handshake()
            if not said:
                client.send(b"hello")
                said = True
        except SSL.WantReadError:
            pass
        try:
            protocol.dataReceived(client.bio_read(65536))
        except SSL.WantReadError:
            pass
        clock.advance(0.1)
        if transport.value():
            client.bio_write(transport.value())
            transport.clear()
        if said:
            try:
                answer += client.recv(100)
            except SSL.WantReadError:
                pass
    assert answer == b"HELLO"
