"""TLS for one machine or a local network: a certificate authority of our own, and the server's certificate."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import socket
import ssl
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from deepfake.keys import read_or_create

CA_YEARS = 10
# Phones refuse certificates that are valid for longer.
SERVER_DAYS = 397
RENEW_DAYS = 30
# The authority can sign for nothing else, should its key ever leave the machine.
PRIVATE_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
                    "::1/128", "fc00::/7", "fe80::/10")  # fmt: skip
LOCAL_DOMAINS = ("localhost", "local", "lan", "home.arpa", "internal")

_served: Certificate | None = None


@dataclass(frozen=True)
class Certificate:
    key_file: Path
    certificate_file: Path
    ca_file: Path | None  # None: somebody else's certificate
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def served_ca() -> bytes | None:
    """The authority's certificate in DER, when this process serves with one of its own."""
    if _served is None or _served.ca_file is None:
        return None
    return x509.load_pem_x509_certificate(_served.ca_file.read_bytes()).public_bytes(serialization.Encoding.DER)


def served_names() -> tuple[str, ...]:
    return _served.names if _served else ()


def serve_with(certificate: Certificate) -> None:
    global _served
    _served = certificate


def fingerprint(der: bytes) -> str:
    digest = hashes.Hash(hashes.SHA256())
    digest.update(der)
    return digest.finalize().hex(":").upper()


# A certificate of somebody else's -------------------------------------------------------------------------------------


def given(certificate_file: Path, key_file: Path) -> Certificate:
    """A certificate and its key from files; raises ValueError with a sentence when they cannot be used."""
    for path in (certificate_file, key_file):
        if not path.is_file():
            raise ValueError(f"There is no file {path}.")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate_file, key_file)
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
    except (ssl.SSLError, ValueError, OSError) as error:
        raise ValueError(
            f"{certificate_file} and {key_file} are not a certificate (PEM, with its chain) and its key: {error}"
        ) from error
    if certificate.not_valid_after_utc < dt.datetime.now(dt.UTC):
        raise ValueError(f"The certificate {certificate_file} ran out on {certificate.not_valid_after_utc:%d %B %Y}.")
    return Certificate(key_file, certificate_file, None, tuple(_names_in(certificate)))


def _names_in(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    addresses = [str(one) for one in found.get_values_for_type(x509.IPAddress)]
    return [*found.get_values_for_type(x509.DNSName), *addresses]


# Our own --------------------------------------------------------------------------------------------------------------


def own(folder: Path, names: list[str]) -> Certificate:
    """Return a certificate for these names, made now unless the one in `folder` still fits."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    ca_key = _key(folder / "tls_ca.key")
    ca_file = folder / "tls_ca.crt"
    pem = read_or_create(ca_file, lambda: _new_ca(ca_key).public_bytes(serialization.Encoding.PEM))
    ca = x509.load_pem_x509_certificate(pem)
    allowed = [name for name in names if _is_permitted(name, ca)]
    server_key = _key(folder / "tls_server.key")
    server_file = folder / "tls_server.crt"
    if not _still_fits(server_file, server_key, ca, allowed):
        _write(server_file, _new_server(server_key, ca_key, ca, allowed).public_bytes(serialization.Encoding.PEM))
    left_out = tuple(name for name in names if name not in allowed)
    return Certificate(folder / "tls_server.key", server_file, ca_file, tuple(allowed), left_out)


def local_names() -> list[str]:
    """localhost, this machine's name, and the addresses under which a local network reaches it."""
    host = socket.gethostname().lower()
    names = ["localhost", "127.0.0.1", "::1", host]
    if "." not in host:
        names.append(f"{host}.local")
    with suppress(OSError):
        names += [str(found[4][0]).partition("%")[0] for found in socket.getaddrinfo(host, None)]
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # No packet is sent: the kernel only says from which address it would.
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            names.append(str(probe.getsockname()[0]).partition("%")[0])
    return list(dict.fromkeys(name for name in names if name))


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    def make() -> bytes:
        return ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    key = serialization.load_pem_private_key(read_or_create(path, make), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{path} is not a key that this server made.")
    return key


def _new_ca(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    host = socket.gethostname().lower()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Deepfake Detection on {host}"[:64])])
    now = dt.datetime.now(dt.UTC)
    permitted: list[x509.GeneralName] = [x509.DNSName(domain) for domain in dict.fromkeys((*LOCAL_DOMAINS, host))]
    permitted += [x509.IPAddress(ipaddress.ip_network(network)) for network in PRIVATE_NETWORKS]
    for address in local_names():
        parsed = _address(address)
        if parsed and not any(parsed in ipaddress.ip_network(network) for network in PRIVATE_NETWORKS):
            permitted.append(x509.IPAddress(ipaddress.ip_network(address)))
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=365 * CA_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _new_server(
    key: ec.EllipticCurvePrivateKey, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, names: list[str]
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    alternatives: list[x509.GeneralName] = []
    for name in names:
        address = _address(name)
        alternatives.append(x509.IPAddress(address) if address else x509.DNSName(name))
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Deepfake Detection")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _still_fits(path: Path, key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, names: list[str]) -> bool:
    if not path.exists():
        return False
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    with suppress(Exception):
        certificate.verify_directly_issued_by(ca)
        return (
            left > dt.timedelta(days=RENEW_DAYS)
            and set(_names_in(certificate)) == set(names)
            and certificate.public_key() == key.public_key()
        )
    return False


def _is_permitted(name: str, ca: x509.Certificate) -> bool:
    found = ca.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    address = _address(name)
    for one in found:
        if address and isinstance(one, x509.IPAddress) and address in ipaddress.ip_network(str(one.value)):
            return True
        if not address and isinstance(one, x509.DNSName) and (name == one.value or name.endswith(f".{one.value}")):
            return True
    return False


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _write(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
