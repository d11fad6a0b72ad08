"""Evidence bundles: a zip with the original, the signed report and all that it takes to run the analysis again.

Written as a stream, and the same issue gives the same bytes. Read as what a stranger sent: names are checked, nothing
leaves the folder, files are stored and never compressed, and every one is held against the signed manifest.
"""

from __future__ import annotations

import hashlib
import io
import mimetypes
import re
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepfake import signing, storage
from deepfake.errors import DomainError
from detection.models import ExplanationArtifact, Job
from reports import canonical, seals
from reports.services import Issued

SCHEMA = "deepfake-bundle/1"
MANIFEST, README, REPORT_JSON, REPORT_PDF = "MANIFEST.json", "README.txt", "report.json", "report.pdf"
BLOCK_BYTES = 1024 * 1024
MAX_FILES = 500
MAX_NAME = 120
MAX_SIGNED_BYTES = 30_000_000  # of a manifest or report, which are read whole
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,2}", re.ASCII)

READ_ME = """EVIDENCE BUNDLE

Report     {report_id}
Analysis   {job_id}
Issued     {issued_at} UTC
Model      {model_version}

What lies here
  {media:<20} the examined file, byte for byte as it was received
  report.pdf           the report to read and to print, signed
  report.json          the same report for programs, signed
  settings.json        mode, thresholds, versions and SHA-256 of all weights: what it takes to run the analysis again
  models.json          the set of models that gave the verdict
  artifacts/           heatmaps, key frames and the like, as far as they were drawn
  public-key.pem       the public key of the signatures
  MANIFEST.json        size and SHA-256 of every file above, signed

How to check it
  Ask whoever issued the report for their public key by a way that you trust: the key in here proves nothing by itself.
      manage.py verify_report report.pdf --public-key THEIR-KEY.pem --bundle .
  With the same release of the product, and its weights, the analysis runs again and must come to the same score:
      manage.py reproduce BUNDLE.zip --public-key THEIR-KEY.pem

What it shows, and what not
  That nothing in here was changed since it was issued, and that the analysis gives this result. Not that the result is
  right, and not who made the file. The file name and the sender may be personal data: hand this bundle on with care.
"""


class BundleBroken(Exception):
    """The bundle is not whole, not safe to open or not signed; the sentence says which."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True)
class Bundle:
    """A bundle that lies unpacked in `folder` and was found whole."""

    folder: Path
    report: dict[str, Any]
    media: Path
    key_id: str


# Writing --------------------------------------------------------------------------------------------------------------


def check_whole(job: Job) -> None:
    """Raise DomainError when the original is no longer there to be put in."""
    if not storage.exists(job.media.storage_name):
        raise DomainError(
            "The original file is no longer stored, so there is no evidence bundle. The PDF and JSON reports are "
            "still to be had.",
            "original_gone",
            status=410,
        )


def write(job: Job, issued: Issued) -> Iterator[bytes]:
    """Yield the zip piece by piece; what was stored is decrypted block by block."""
    outlet = _Outlet()
    files: list[dict[str, Any]] = []
    media_path = f"media/original{_suffix(job.media.mime_type)}"
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        when = issued.issue.issued_at.utctimetuple()[:6]
        for path, blocks in _contents(job, issued, media_path):
            yield from _add(archive, outlet, path, blocks, when, files)
        manifest = {
            "schema": SCHEMA,
            "report": {"id": issued.issue.public_id},
            "media": media_path,
            "files": sorted(files, key=lambda file: str(file["path"])),
        }
        sealed = seals.seal_json(manifest, issued.signer)
        yield from _add(archive, outlet, MANIFEST, iter([sealed]), when, [])
    yield outlet.take()


def _contents(job: Job, issued: Issued, media_path: str) -> Iterator[tuple[str, Iterator[bytes]]]:
    report = canonical.loads(issued.json)
    words = READ_ME.format(
        report_id=issued.issue.public_id,
        job_id=job.public_id,
        issued_at=f"{issued.issue.issued_at:%Y-%m-%d %H:%M:%S}",
        model_version=issued.issue.model_version,
        media=media_path,
    )
    yield README, iter([words.encode()])
    yield media_path, _stored(job.media.storage_name)
    yield REPORT_PDF, iter([issued.pdf])
    yield REPORT_JSON, iter([issued.json])
    yield "settings.json", iter([canonical.dumps(report["rerun"])])
    yield "models.json", iter([canonical.dumps(report["model"])])
    yield "public-key.pem", iter([signing.keyring()[issued.issue.key_id].pem.encode()])
    for number, file in enumerate(job.result.artifacts.all()):
        if storage.exists(file.storage_name):
            yield _artifact_path(number, file), _stored(file.storage_name)


def _stored(name: str) -> Iterator[bytes]:
    return storage.iter_range(name, 0, storage.size(name), BLOCK_BYTES)


def _artifact_path(number: int, file: ExplanationArtifact) -> str:
    kind = re.sub(r"[^a-z0-9_-]", "", file.kind.lower()) or "artifact"
    return f"artifacts/{number:03d}-{kind}{_suffix(file.mime_type)}"


def _suffix(mime_type: str) -> str:
    return mimetypes.guess_extension(mime_type or "") or ".bin"


def _add(
    archive: zipfile.ZipFile,
    outlet: _Outlet,
    path: str,
    blocks: Iterator[bytes],
    when: Any,
    files: list[dict[str, Any]],
) -> Iterator[bytes]:
    entry = zipfile.ZipInfo(path, when)
    entry.external_attr, entry.create_system = (stat.S_IFREG | 0o644) << 16, 3
    digest, size = hashlib.sha256(), 0
    with archive.open(entry, "w", force_zip64=True) as target:
        for block in blocks:
            digest.update(block)
            size += len(block)
            target.write(block)
            yield outlet.take()
    files.append({"path": path, "size_bytes": size, "sha256": digest.hexdigest()})
    yield outlet.take()


class _Outlet(io.RawIOBase):
    """What the zip is written to: bytes wait here until they are sent on. It cannot be wound back."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._waiting)
        self._waiting.clear()
        return taken


# Reading --------------------------------------------------------------------------------------------------------------


def unpack(path: Path, folder: Path, *, max_bytes: int) -> None:
    """Unpack a bundle into an empty folder, block by block. Raises BundleBroken."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_entries(entries, path.stat().st_size, max_bytes)
            for entry in entries:
                _unpack_one(archive, entry, folder / entry.filename)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise BundleBroken(f"The zip file is damaged, cut off or not a bundle: {error}.") from None


def _check_entries(entries: list[zipfile.ZipInfo], archive_bytes: int, max_bytes: int) -> None:
    """Refuse by the directory of the zip, before anything is unpacked."""
    if len(entries) > MAX_FILES:
        raise BundleBroken(f"The zip file holds {len(entries)} files; a bundle has at most {MAX_FILES}.")
    seen: set[str] = set()
    for entry in entries:
        if not is_safe_name(entry.filename) or entry.filename.lower() in seen:
            raise BundleBroken(f"The zip file holds a name that no bundle has, or one twice: {entry.filename[:80]!r}.")
        seen.add(entry.filename.lower())
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise BundleBroken(f"{entry.filename} is compressed or encrypted; a bundle stores its files as they are.")
        if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise BundleBroken(f"{entry.filename} is no ordinary file.")
    total = sum(entry.file_size for entry in entries)
    if total > max_bytes or total > archive_bytes:
        raise BundleBroken(f"Unpacked, the bundle would take {total:,} bytes, more than it may.")


def is_safe_name(name: str) -> bool:
    """Whether a path stays below its folder on every system: no root, no way up, no hidden or odd character."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def _unpack_one(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = entry.file_size
    with archive.open(entry) as source, target.open("xb") as file:
        while block := source.read(min(BLOCK_BYTES, left + 1)):
            left -= len(block)
            if left < 0:
                raise BundleBroken(f"{entry.filename} is larger than the zip file says.")
            file.write(block)


def check(folder: Path, keys: signing.Keyring) -> Bundle:
    """Return the bundle that lies unpacked in `folder`, once everything in it fits. Raises BundleBroken."""
    manifest = _signed(folder, MANIFEST, keys)
    if manifest.get("schema") != SCHEMA or not isinstance(manifest.get("files"), list):
        raise BundleBroken("MANIFEST.json is not that of a bundle.")
    listed = {str(file["path"]): file for file in manifest["files"]}
    _check_listed(folder, listed)
    report = _signed(folder, REPORT_JSON, keys)
    report_id = report.get("report", {}).get("id")
    try:
        pdf = seals.check((folder / REPORT_PDF).read_bytes(), keys)
    except seals.SealBroken as broken:
        raise BundleBroken(f"{REPORT_PDF}: {broken.message}") from None
    if not report_id == pdf.report_id == manifest["report"]["id"]:
        raise BundleBroken("Manifest, JSON and PDF are not of one report.")
    media = str(manifest.get("media"))
    if media not in listed or listed[media]["sha256"] != report["item"]["sha256"]:
        raise BundleBroken("The media file is not the one that the report speaks of: its SHA-256 differs.")
    return Bundle(folder, report, folder / media, pdf.key.key_id)


def _signed(folder: Path, name: str, keys: signing.Keyring) -> dict[str, Any]:
    path = folder / name
    if not path.is_file() or path.stat().st_size > MAX_SIGNED_BYTES:
        raise BundleBroken(f"{name} is missing, or far too large.")
    try:
        return seals.open_json(path.read_bytes(), keys)[0]
    except seals.SealBroken as broken:
        raise BundleBroken(f"{name}: {broken.message}") from None


def _check_listed(folder: Path, listed: dict[str, Any]) -> None:
    """Every file of the manifest is there and as listed, and nothing else is."""
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()} - {MANIFEST}
    if missing := sorted(set(listed) - there):
        raise BundleBroken(f"Missing from the bundle: {', '.join(missing[:5])}.")
    if added := sorted(there - set(listed)):
        raise BundleBroken(f"Not part of the bundle as it was issued: {', '.join(added[:5])}.")
    for name, file in listed.items():
        path = folder / name
        if not is_safe_name(name) or path.is_symlink():
            raise BundleBroken(f"{name[:80]!r} is no name of a file in a bundle.")
        with path.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if path.stat().st_size != file["size_bytes"] or digest != file["sha256"]:
            raise BundleBroken(f"{name} was altered: its size or SHA-256 is not that of the manifest.")
