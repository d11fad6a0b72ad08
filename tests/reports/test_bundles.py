"""Evidence bundles: whole, the same every time, safe to open, and every change to one is found."""

from __future__ import annotations

import io
import json
import os
import stat
import zipfile
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from accounts.models import AuditLog
from deepfake import signing, storage
from reports import bundles, services
from reports.models import ReportIssue
from tests import factories

ROOM = 50_000_000


@pytest.fixture
def issued(finished, alice):
    return services.issue(job=finished, wanted="bundle", actor=alice)


@pytest.fixture
def archive(finished, issued) -> bytes:
    return b"".join(bundles.write(finished, issued))


def rewritten(archive: bytes, *, without: str = "", **changed: bytes) -> bytes:
    """The same zip with files left out, changed or added; names are given with __ for / and _0 for a dot."""
    wanted = {name.replace("__", "/").replace("_0", "."): content for name, content in changed.items()}
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(target, "w") as copy:
        for entry in source.infolist():
            if entry.filename != without:
                copy.writestr(entry.filename, wanted.pop(entry.filename, source.read(entry)))
        for name, content in wanted.items():
            copy.writestr(name, content)
    return target.getvalue()


def opened(archive: bytes, folder: Path) -> bundles.Bundle:
    path = folder / "bundle.zip"
    path.write_bytes(archive)
    target = folder / "unpacked"
    target.mkdir(exist_ok=True)
    bundles.unpack(path, target, max_bytes=ROOM)
    return bundles.check(target, signing.keyring())


def refusal(archive: bytes, folder: Path) -> str:
    with pytest.raises(bundles.BundleBroken) as caught:
        opened(archive, folder)
    return caught.value.message


# Writing --------------------------------------------------------------------------------------------------------------


def test_a_bundle_holds_everything(archive, finished, issued, tmp_path) -> None:
    found = opened(archive, tmp_path)
    names = set(zipfile.ZipFile(io.BytesIO(archive)).namelist())
    assert names >= {
        "README.txt",
        "MANIFEST.json",
        "media/original.mp4",
        "report.json",
        "report.pdf",
        "settings.json",
        "models.json",
        "public-key.pem",
    }
    assert sum(name.startswith("artifacts/") for name in names) == finished.result.artifacts.count()
    assert found.media.read_bytes() == factories.png_bytes()
    assert found.report["report"]["id"] == issued.issue.public_id
    assert json.loads((found.folder / "settings.json").read_text())["thresholds"] == {"fake": 0.7, "real": 0.3}
    assert "proves nothing by itself" in (found.folder / "README.txt").read_text()


def test_the_same_issue_gives_the_same_bytes(archive, finished, issued) -> None:
    assert b"".join(bundles.write(finished, issued)) == archive


def test_download(client, bearer, outsider_bearer, finished) -> None:
    address = f"/v1/reports/{finished.public_id}?format=bundle"
    response = client.get(address, headers=bearer)
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Disposition"].endswith('.zip"')
    content = b"".join(response)
    assert zipfile.ZipFile(io.BytesIO(content)).testzip() is None
    assert ReportIssue.objects.get().format == "bundle"
    assert AuditLog.objects.get(action="report.issued").details["format"] == "bundle"
    assert client.get(address, headers=outsider_bearer).status_code == 404
    assert client.get(address).status_code == 401


def test_a_viewer_may_take_one_from_the_page(client, vera, charlie, finished) -> None:
    address = reverse("reports:report", args=[finished.id]) + "?format=bundle"
    assert client.get(address).status_code == 302
    client.force_login(vera)
    assert b"".join(client.get(address)).startswith(b"PK")
    client.force_login(charlie)
    assert client.get(address).status_code == 404


def test_no_bundle_without_the_original(client, bearer, finished) -> None:
    storage.destroy(finished.media.storage_name)
    answer = client.get(f"/v1/reports/{finished.public_id}?format=bundle", headers=bearer)
    assert (answer.status_code, answer.json()["code"]) == (410, "original_gone")
    assert not ReportIssue.objects.exists()


def test_a_large_original_is_never_held_whole(finished, issued, organization) -> None:
    content = os.urandom(9_000_000)
    finished.media.storage_name = storage.save_encrypted("media", content, organization_id=organization.id)
    assert max(len(piece) for piece in bundles.write(finished, issued)) < 2_200_000


# Tampering ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["README.txt", "media/original.mp4", "settings.json", "models.json", "public-key.pem"])
def test_a_changed_file(archive, tmp_path, name) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        content = bytearray(source.read(name))
    content[len(content) // 2] ^= 1
    changed = rewritten(archive, **{name.replace("/", "__").replace(".", "_0"): bytes(content)})
    assert name in refusal(changed, tmp_path)


@pytest.mark.parametrize("name", ["report.json", "report.pdf", "MANIFEST.json"])
def test_a_changed_signed_file(archive, tmp_path, name) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        content = source.read(name)
    changed = content.replace(b"1", b"2", 1)
    assert name in refusal(rewritten(archive, **{name.replace(".", "_0"): changed}), tmp_path)


def test_a_missing_file(archive, tmp_path) -> None:
    assert "Missing from the bundle: settings.json" in refusal(rewritten(archive, without="settings.json"), tmp_path)
    assert "MANIFEST.json is missing" in refusal(rewritten(archive, without="MANIFEST.json"), tmp_path / "..")


def test_an_added_file(archive, tmp_path) -> None:
    assert "Not part of the bundle" in refusal(rewritten(archive, extra_0txt=b"hello"), tmp_path)


def test_the_report_of_another_analysis(archive, finished, alice, tmp_path) -> None:
    other = services.issue(job=finished, wanted="bundle", actor=alice)
    assert refusal(rewritten(archive, report_0json=other.json), tmp_path)


def test_a_cut_off_zip(archive, tmp_path) -> None:
    assert "damaged" in refusal(archive[: len(archive) // 2], tmp_path)


def test_an_unknown_key(archive, tmp_path) -> None:
    for path in signing.public_folder().iterdir():
        path.unlink()
    assert "not among" in refusal(archive, tmp_path)


# Hostile zips ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "..\\evil",
        "C:evil",
        "a//b",
        ".hidden",
        "a/b/c/d",
        "a\x01",
        "ü",
        "x" * 200,
    ],
)
def test_a_name_that_would_leave_the_folder(tmp_path, name) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    assert "name that no bundle has" in refusal(target.getvalue(), tmp_path)
    assert not (tmp_path / "evil").exists()
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_a_link_is_not_followed(tmp_path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, b"/etc/passwd")
    assert "no ordinary file" in refusal(target.getvalue(), tmp_path)


def test_a_compressed_bomb(tmp_path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(20_000_000))
    assert "compressed" in refusal(target.getvalue(), tmp_path)


def test_more_than_there_may_be(tmp_path, monkeypatch) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for number in range(bundles.MAX_FILES + 1):
            archive.writestr(f"f{number}", b"")
    assert "at most" in refusal(target.getvalue(), tmp_path)
    large = io.BytesIO()
    with zipfile.ZipFile(large, "w") as archive:
        archive.writestr("large", bytes(2000))
    path = tmp_path / "large.zip"
    path.write_bytes(large.getvalue())
    with pytest.raises(bundles.BundleBroken, match="more than it may"):
        bundles.unpack(path, tmp_path / "unpacked", max_bytes=1000)


def test_one_stretch_of_bytes_claimed_by_many_names(tmp_path) -> None:
    """Overlapping entries: the directory promises more than the zip is long."""
    source = io.BytesIO()
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("a", bytes(100_000))
        first = archive.infolist()[0]
        for number in range(50):
            twin = zipfile.ZipInfo(f"a{number}")
            twin.header_offset, twin.file_size, twin.compress_size, twin.CRC = 0, 100_000, 100_000, first.CRC
            archive.filelist.append(twin)
        archive._didModify = True  # type: ignore[attr-defined]
    assert "more than it may" in refusal(source.getvalue(), tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello"])
def test_what_is_no_zip(tmp_path, content) -> None:
    assert "not a bundle" in refusal(content, tmp_path)


# The command ----------------------------------------------------------------------------------------------------------


def verify(*arguments: object) -> str:
    out = StringIO()
    call_command("verify_report", *map(str, arguments), stdout=out)
    return out.getvalue()


def test_the_command_checks_both_forms_and_bundles(archive, issued, tmp_path) -> None:
    for name, content in {"r.pdf": issued.pdf, "r.json": issued.json, "b.zip": archive}.items():
        (tmp_path / name).write_bytes(content)
    assert issued.issue.public_id in verify(tmp_path / "r.pdf")
    assert "fake, score 0.91" in verify(tmp_path / "r.json")
    assert "every file of the bundle" in verify(tmp_path / "b.zip")
    folder = tmp_path / "unpacked"
    folder.mkdir()
    bundles.unpack(tmp_path / "b.zip", folder, max_bytes=ROOM)
    assert "is whole and belongs to it" in verify(tmp_path / "r.pdf", "--bundle", folder)
    (folder / "models.json").write_bytes(b"{}")
    with pytest.raises(CommandError, match=r"models\.json was altered"):
        verify(tmp_path / "r.pdf", "--bundle", folder)


def test_a_manifest_is_signed_but_is_no_report(archive, tmp_path) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        (tmp_path / "m.json").write_bytes(source.read("MANIFEST.json"))
    with pytest.raises(CommandError, match="it is no report"):
        verify(tmp_path / "m.json")


def test_the_command_needs_no_database_with_a_key_file(issued, tmp_path, django_db_blocker) -> None:
    key = tmp_path / "issuer.pem"
    key.write_text(signing.keyring()[issued.issue.key_id].pem)
    (tmp_path / "r.pdf").write_bytes(issued.pdf)
    with django_db_blocker.block():
        assert "Intact" in verify(tmp_path / "r.pdf", "--public-key", key)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:900] + bytes([data[900] ^ 1]) + data[901:], "at least one byte"),
        (lambda data: data[:-40], "cut off"),
        (lambda data: data + b"more", "bytes were added"),
    ],
)
def test_the_command_says_what_is_wrong(issued, tmp_path, change, sentence) -> None:
    (tmp_path / "r.pdf").write_bytes(change(issued.pdf))
    with pytest.raises(CommandError, match=sentence) as caught:
        verify(tmp_path / "r.pdf")
    assert caught.value.returncode == 1


def test_the_command_with_the_wrong_key(issued, tmp_path) -> None:
    (tmp_path / "r.json").write_bytes(issued.json)
    signing.rotate()
    key = tmp_path / "other.pem"
    key.write_text(signing.keyring()[signing.signer().key_id].pem)
    with pytest.raises(CommandError, match="not among the 1 known here"):
        verify(tmp_path / "r.json", "--public-key", key)
    assert "Intact" in verify(tmp_path / "r.json")  # signed with the key before


def test_the_command_without_keys_or_file(tmp_path, issued, settings) -> None:
    (tmp_path / "r.json").write_bytes(issued.json)
    settings.REPORT_PUBLIC_KEYS_DIR = str(tmp_path / "none")
    with pytest.raises(CommandError, match="no public keys"):
        verify(tmp_path / "r.json")
    settings.REPORT_PUBLIC_KEYS_DIR = ""
    with pytest.raises(CommandError, match="No such file"):
        verify(tmp_path / "missing.pdf")
