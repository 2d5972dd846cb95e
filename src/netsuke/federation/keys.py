"""Who may take part: a certificate of the server, a key of each client, a secret of what runs on one machine."""

import datetime
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netsuke.core.errors import NetsukeError
from netsuke.core.files import beside

DAYS = 365
HOUR = datetime.timedelta(hours=1)
"""A clock may be as late as that."""


@dataclass(frozen=True)
class Keys:
    """In a folder of the server's own, which only its owner reads."""

    folder: Path

    @property
    def authority(self) -> Path:
        """By which clients know the server."""
        return self.folder / "authority.pem"

    @property
    def certificate(self) -> Path:
        return self.folder / "server.pem"

    @property
    def private(self) -> Path:
        return self.folder / "server.key"

    @property
    def secret(self) -> Path:
        """What the processes of one machine know of each other by."""
        return self.folder / "secret"

    def client(self, name: str) -> Path:
        """Of a client its private key; the public one is beside it, ending in ``.pub``."""
        return self.folder / f"client-{name}"


def made(folder: Path, hosts: tuple[str, ...]) -> Keys:
    """New ones for a server of these names and addresses; those that are there are taken."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    keys = Keys(folder)
    if not keys.secret.exists():
        _write_server(keys, hosts)
        _write(keys.secret, secrets.token_hex(32).encode(), 0o600)
    _check(keys)
    return keys


def admit(keys: Keys, name: str) -> Path:
    """A new client's key, or the one it has. Returns the private one's path."""
    path = keys.client(name)
    if not path.exists():
        key = ec.generate_private_key(ec.SECP384R1())
        public = key.public_key().public_bytes(
            serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        )
        _write(path.with_suffix(".pub"), public, 0o644)
        _write(path, _private(key, serialization.PrivateFormat.OpenSSH), 0o600)
    return path


def _check(keys: Keys) -> None:
    """Raise where others of this machine could read what is secret."""
    for path in (keys.secret, keys.private, *keys.folder.glob("client-*")):
        if path.suffix != ".pub" and path.stat().st_mode & 0o077:
            raise NetsukeError(f"{path}: others may read it; give chmod 600 {path}")


def _write_server(keys: Keys, hosts: tuple[str, ...]) -> None:
    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _signed(_builder("netsuke authority", root, "netsuke authority", True), root)
    certificate = _signed(
        _builder(hosts[0], own, "netsuke authority", False)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False
        ),
        root,
    )
    pem = serialization.Encoding.PEM
    _write(keys.authority, authority.public_bytes(pem), 0o644)
    _write(keys.certificate, certificate.public_bytes(pem), 0o644)
    _write(keys.private, _private(own, serialization.PrivateFormat.PKCS8), 0o600)


def _builder(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, signs: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
        decipher_only=False,
    )  # fmt: skip
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - HOUR)
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(signs, None), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _private(key: ec.EllipticCurvePrivateKey, form: serialization.PrivateFormat) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _write(path: Path, content: bytes, mode: int) -> None:
    with beside(path, mode) as draft:
        draft.write_bytes(content)
