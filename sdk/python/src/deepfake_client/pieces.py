"""A large file in pieces (tus 1.0): after a broken connection it goes on where it stood."""

from __future__ import annotations

import base64
import time
import urllib.parse
from typing import Any

from deepfake_client import sources
from deepfake_client.errors import DeepfakeError
from deepfake_client.wire import Wire, helps, pause

PIECE_BYTES = 8 * 1024 * 1024
FINISH_S = 330.0  # a server that died while it made the item of the pieces is followed after five minutes
TUS = {"Tus-Resumable": "1.0.0"}
PIECE = {**TUS, "Content-Type": "application/offset+octet-stream"}


def send(wire: Wire, file: sources.Form, *, piece_bytes: int, key: str) -> str:
    """Return the id of the item that was made of the file. Raises DeepfakeError."""
    name = base64.b64encode(file.filename.encode()).decode()
    begin = {**TUS, "Upload-Length": str(file.size), "Upload-Metadata": f"filename {name}"}
    with wire._open("POST", "/v1/uploads", headers=begin, key=key) as answer:
        # Of this server, whatever name it goes by behind a proxy.
        path = "/v1/uploads/" + urllib.parse.urlsplit(answer.headers["Location"]).path.rpartition("/")[2]
        stands, item = _stand(answer)
    failures, end = 0, 0.0
    while not item:
        try:
            file.file.seek(file.start + stands)
            piece = file.file.read(min(piece_bytes, file.size - stands))
            if not piece and stands < file.size:
                raise DeepfakeError("The file became shorter while it was sent.", code="source_unusable")
            headers = {**PIECE, "Upload-Offset": str(stands)}
            with wire._open("PATCH", path, content=piece, headers=headers, retries=0) as answer:
                now, item = _stand(answer)
            error = None
        except DeepfakeError as broken:
            if not (helps(broken) or broken.code == "upload_offset"):
                raise
            now, item = _asked(wire, path)
            error = broken
        if now != stands or item:
            stands, failures, end = now, 0, 0.0
            continue
        # All is there, and another process makes the item of it; or nothing came through.
        end = end or time.monotonic() + FINISH_S
        if (error and failures >= wire.retries) or time.monotonic() > end:
            raise error or DeepfakeError("The server does not finish the upload.", code="timeout")
        pause(error, failures)
        failures += 1
    return item


def _stand(answer: Any) -> tuple[int, str]:
    """How many bytes are there, and the item that was made of them, "" while there is none."""
    return int(answer.headers["Upload-Offset"]), str(answer.headers["Media-Id"] or "")


def _asked(wire: Wire, path: str) -> tuple[int, str]:
    try:
        with wire._open("HEAD", path, headers=TUS) as answer:
            return _stand(answer)
    except DeepfakeError as gone:
        if gone.status != 410:
            raise
        # The answer to HEAD has no body: the reason is told to those who read the upload.
        if told := wire._call("GET", path).get("error"):
            raise DeepfakeError(told["message"], code=told["code"]) from gone
        raise
