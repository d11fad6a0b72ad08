"""Resumable uploads by a standard client, over connections that break and a server that is killed."""

from __future__ import annotations

import hashlib
import io
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from tusclient.client import TusClient

from tests.deepfake.conftest import demo_key as demo_key
from tests.deepfake.conftest import prepared as prepared
from tests.deepfake.conftest import start as start
from tests.detection.conftest import wav_bytes
from tests.detection.test_api_idempotency_live import ask

pytestmark = [pytest.mark.services, pytest.mark.timeout(400)]

CHUNK = 100_000


def break_off(port: int, key: str, upload: str, offset: int, content: bytes, after: int, header: str = "") -> None:
    """Announce a piece, send `after` bytes of it, and hang up."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        head = (
            f"PATCH /v1/uploads/{upload} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
            f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Type: application/offset+octet-stream\r\n"
            f"{header}Content-Length: {CHUNK}\r\n\r\n"
        )
        line.sendall(head.encode() + content[offset : offset + after])


def offset_when_it_moves(uploader: Any, start: int) -> int:
    end = time.monotonic() + 60
    while (offset := uploader.get_offset()) == start and time.monotonic() < end:
        time.sleep(0.1)
    return int(offset)


def test_upload_survives_a_broken_connection_and_a_killed_server(start: Any, demo_key: str, tmp_path: Path) -> None:
    content = wav_bytes(30)  # about a megabyte
    path = tmp_path / "memo.wav"
    path.write_bytes(content)
    headers = {"Authorization": f"Bearer {demo_key}"}
    serving = start("--role", "web")
    serving.first_line()

    def client_of(port: int) -> TusClient:
        return TusClient(f"http://127.0.0.1:{port}/v1/uploads", headers=headers)

    uploader = client_of(serving.port).uploader(
        str(path), chunk_size=CHUNK, metadata={"filename": "memo.wav"}, upload_checksum=True
    )
    uploader.upload(stop_at=3 * CHUNK)
    upload = uploader.url.rpartition("/")[2]

    # Of a piece that breaks off in the middle nothing is kept where a checksum tells of all of it, else what came.
    break_off(serving.port, demo_key, upload, 3 * CHUNK, content, 1000, "Upload-Checksum: sha1 c2hhMQ==\r\n")
    break_off(serving.port, demo_key, upload, 3 * CHUNK, content, 777)
    resumed = client_of(serving.port).uploader(str(path), chunk_size=CHUNK, url=uploader.url)
    assert offset_when_it_moves(resumed, 3 * CHUNK) == 3 * CHUNK + 777
    resumed.offset = 3 * CHUNK + 777
    resumed.upload(stop_at=5 * CHUNK)
    kept = resumed.get_offset()

    serving.process.kill()
    serving.process.wait()
    again = start("--role", "web")
    again.first_line()
    address = f"http://127.0.0.1:{again.port}/v1/uploads/{upload}"
    last = client_of(again.port).uploader(file_stream=io.BytesIO(content), chunk_size=CHUNK, url=address)
    assert last.get_offset() == kept >= 5 * CHUNK
    last.offset = kept
    last.upload()
    _, state, _ = ask(again.port, demo_key, f"/v1/uploads/{upload}", None)
    assert (state["state"], state["filename"], state["offset"]) == ("completed", "memo.wav", len(content))
    _, media, _ = ask(again.port, demo_key, f"/v1/media/{state['media_id']}", None)
    assert (media["sha256"], media["kind"]) == (hashlib.sha256(content).hexdigest(), "audio")
    assert requests.get(media["uri"], headers=headers, timeout=60).content == content


def test_upload_in_one_piece_larger_than_other_bodies_may_be(start: Any, demo_key: str) -> None:
    content = wav_bytes(500)  # 16 MB
    serving = start("--role", "web")
    serving.first_line()
    client = TusClient(f"http://127.0.0.1:{serving.port}/v1/uploads", headers={"Authorization": f"Bearer {demo_key}"})
    uploader = client.uploader(file_stream=io.BytesIO(content))
    uploader.upload()
    _, state, _ = ask(serving.port, demo_key, f"/v1/uploads/{uploader.url.rpartition('/')[2]}", None)
    assert (state["state"], state["size_bytes"]) == ("completed", len(content))
