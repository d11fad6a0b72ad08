"""The API's page: whole, closed to scripts of others, and its examples do what they say."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request
from html import unescape
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.api_keys import create_api_key
from accounts.models import Organization
from detection import docs_page, sandbox

pytestmark = pytest.mark.django_db
SERVER = "http://testserver"


class Whole(BytesIO):
    """An answer as urllib hands it out: of what was announced, nothing is missing."""

    length = 0


@pytest.fixture
def page(client: Client) -> str:
    answer = client.get("/v1/docs/")
    assert answer.status_code == 200
    return answer.content.decode()


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    found = docs_page.document()["paths"].items()
    return [
        (method, path, one) for path, methods in found for method, one in methods.items() if method in docs_page.METHODS
    ]


def test_every_operation_stands_there_with_three_examples(page: str) -> None:
    assert len(operations()) > 40
    for method, path, operation in operations():
        name = operation["operationId"]
        assert page.count(f'id="{name}"') == 1, name
        assert f'href="#{name}"' in page
        for language in ("curl", "python", "node"):
            assert page.count(f'id="{name}-{language}"') == 1, (name, language)
        assert f"<code>{path}</code>" in page, (method, path)


def test_anchors_are_there_once_and_links_lead_to_them(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert set(re.findall(r'data-copy="#([^"]+)"', page)) <= set(ids)
    for part in (*docs_page.GUIDE.values(), "start", "authentication"):
        assert part in ids


def test_error_codes_stand_there(page: str) -> None:
    for code in ("idempotency_key_reused", "queue_full", "address_not_allowed", "unsupported_type"):
        assert code in page


def test_it_runs_under_the_strict_policy(client: Client) -> None:
    answer = client.get("/v1/docs/")
    page = answer.content.decode()
    assert "<style" not in page
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r'\b(?:src|style|on\w+)="(?!/static/)', re.sub(r"<code.*?</code>", "", page, flags=re.DOTALL))
    assert "'unsafe-inline'" not in answer.headers["Content-Security-Policy"]


def test_wrong_methods_and_names(client: Client) -> None:
    assert client.post("/v1/docs/").status_code == 405
    assert client.post("/v1/openapi.json").status_code == 405
    assert client.get("/v1/docs/secrets/").status_code == 404


@pytest.mark.parametrize("name", docs_page.GUIDES)
def test_guides_are_pages_whose_links_lead_on(client: Client, page: str, name: str) -> None:
    answer = client.get(reverse("api_docs_guide", args=[name]))
    assert answer.status_code == 200
    text = answer.content.decode()
    assert reverse("api_docs_guide", args=[name]) in page
    for href in re.findall(r"<article.*</article>", text, flags=re.DOTALL)[0].split('href="')[1:]:
        target = unescape(href.partition('"')[0])
        if target.startswith("/"):
            assert client.get(target.partition("#")[0]).status_code == 200, target


def test_links_between_the_guides_lead_to_what_they_name(client: Client, page: str) -> None:
    """To a page that is there, and on it to an anchor that is there; never to the top for want of anything better."""
    texts = {reverse("api_docs"): page}
    for name in docs_page.GUIDES:
        address = reverse("api_docs_guide", args=[name])
        texts[address] = client.get(address).content.decode()
    found = 0
    for text in texts.values():
        prose = "".join(re.findall(r"<article.*?</article>|doc-prose.*?</details>", text, flags=re.DOTALL))
        for target in re.findall(r'href="(/v1/docs/[^"]*)"', prose):
            path, _, fragment = unescape(target).partition("#")
            assert path in texts, target
            assert not fragment or f'id="{fragment}"' in texts[path], target
            found += 1
    assert found >= 15
    for source in ("api", "quickstart-curl", "quickstart-python", "quickstart-node", "oauth"):
        written = (settings.BASE_DIR / "docs" / f"{source}.md").read_text()
        for href in re.findall(r"\]\(([^)]+)\)", written):
            assert docs_page._target(href), (source, href)


def test_a_link_to_what_is_not_shown_leaves_its_words(client: Client) -> None:
    text = client.get(reverse("api_docs_guide", args=["privacy"])).content.decode()
    assert 'href="' not in text[text.index("<article") : text.index("</article>")]
    assert "[" not in re.sub(r"<pre.*?</pre>|<code.*?</code>", "", text[text.index("<article") :], flags=re.DOTALL)


def test_it_is_made_once(client: Client, page: str) -> None:
    made = docs_page.body.cache_info().misses
    client.get("/v1/docs/")
    assert docs_page.body.cache_info().misses == made


def test_html_in_a_description_is_text() -> None:
    assert "<b>" not in docs_page.inline("a <b>bold</b> one")


# The examples, executed -----------------------------------------------------------------------------------------------


@pytest.fixture
def world(
    organization: Organization,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    client: Client,
    django_capture_on_commit_callbacks: Any,
) -> dict[str, str]:
    """What a shell would know; with a sandbox key, so that the verdict is there at once."""
    _, text = create_api_key(organization=organization, scopes=["detect:*", "webhooks:*"], is_sandbox=True)
    found = {"DEEPFAKE_URL": SERVER, "DEEPFAKE_API_KEY": text}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path("statement.mp4").write_bytes((sandbox.SAMPLES_DIR / "cat-photo.jpg").read_bytes())

    def send(method: str, url: str, body: bytes, headers: dict[str, str]) -> Any:
        given = {name: value for name, value in headers.items() if name.lower() not in ("host", "content-length")}
        content_type = next((given.pop(name) for name in list(given) if name.lower() == "content-type"), "")
        with django_capture_on_commit_callbacks(execute=True):
            return client.generic(method, url.removeprefix(SERVER), body, content_type, headers=given)

    def answer(request: httpx2.Request) -> httpx2.Response:
        got = send(request.method, str(request.url), request.read(), dict(request.headers))
        return httpx2.Response(got.status_code, headers=dict(got.items()), content=got.content)

    def opened(request: urllib.request.Request, timeout: float) -> Any:
        blocks: Any = request.data or b""
        body = blocks if isinstance(blocks, bytes) else b"".join(blocks)
        got = send(request.get_method(), request.full_url, body, dict(request.header_items()))
        content = getattr(got, "content", None) or b"".join(got.streaming_content)
        assert got.status_code < 400, content
        return Whole(content)

    inner = httpx2.Client(transport=httpx2.MockTransport(answer))
    monkeypatch.setitem(sys.modules, "httpx", SimpleNamespace(request=inner.request))
    monkeypatch.setattr(urllib.request, "build_opener", lambda *handlers: SimpleNamespace(open=opened))
    monkeypatch.syspath_prepend(str(settings.BASE_DIR / "sdk" / "python" / "src"))
    return found


def example(operation_id: str, language: str, page: str) -> str:
    found = re.search(rf'<code id="{operation_id}-{language}">(.*?)</code>', page, flags=re.DOTALL)
    assert found, (operation_id, language)
    return unescape(found[1])


def curl(client: Client, line: str, world: dict[str, str]) -> Any:
    """Send what curl would send. Knows the options that the page uses, and fails for any other."""
    size = str(Path("statement.mp4").stat().st_size)
    line = line.replace("$(date +%s%N)", f"key-{time.monotonic_ns()}").replace("$(wc -c < statement.mp4)", size)
    line = line.replace("\\\n", " ")
    line = re.sub(r"\$([A-Z_]+)", lambda name: world[name[1]], line)  # an unknown variable is an error
    words = iter(shlex.split(line))
    assert next(words) == "curl"
    method, url, headers, data, files = "GET", "", {}, b"", {}
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            data = next(words).encode()
        elif word == "--data-binary":
            data = Path(next(words).removeprefix("@")).read_bytes()
        elif word == "-F":
            name, _, path = next(words).partition("=@")
            files[name] = SimpleUploadedFile(path, Path(path).read_bytes())
        elif word == "-o":
            next(words)
        elif word == "-i":
            pass
        else:
            assert word.startswith(SERVER), word
            url = word.removeprefix(SERVER)
    content_type = headers.pop("Content-Type", "application/octet-stream")
    if files:
        return client.post(url, files, headers=headers)
    return client.generic(method, url, data, content_type, headers=headers)


def test_the_curl_lines_of_the_main_flow_are_true(
    client: Client, page: str, world: dict[str, str], django_capture_on_commit_callbacks: Any
) -> None:
    def sent(name: str) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return curl(client, example(name, "curl", page), world)

    assert sent("submit_media").status_code == 201
    started = sent("detect")
    assert started.status_code == 202, started.content
    world["MEDIA_ID"], world["JOB_ID"] = started.json()["media_id"], started.json()["job_id"]
    assert sent("get_job").json()["status"] == "completed"
    report = sent("get_report")
    assert (report.status_code, report["Content-Type"]) == (200, "application/pdf")
    assert sent("give_feedback").status_code == 201
    made = sent("create_webhook")
    assert made.status_code == 201, made.content
    world["WEBHOOK_ID"] = made.json()["webhook_id"]
    assert sent("create_batch").status_code == 202
    upload = sent("create_upload")
    assert upload.status_code == 201, upload.content
    world["UPLOAD_ID"] = upload["Location"].rpartition("/")[2]
    assert sent("append_to_upload").status_code == 204
    for name in ("get_webhook", "list_webhook_deliveries", "get_media", "get_upload", "list_jobs", "list_media",
                 "list_batches", "list_thresholds", "match_thresholds", "list_models", "health_live"):  # fmt: skip
        assert sent(name).status_code == 200, name
    assert sent("delete_webhook").status_code == 204


def test_the_python_examples_of_the_main_flow_are_true(
    page: str, world: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(name: str) -> str:
        exec(compile(example(name, "python", page), name, "exec"), {})  # the page's own lines
        return capsys.readouterr().out.strip()

    monkeypatch.setenv("MEDIA_ID", run("submit_media"))
    monkeypatch.setenv("JOB_ID", run("detect"))
    assert run("get_job").split()[0] in ("real", "fake", "inconclusive")
    run("get_report")
    assert Path("report.pdf").read_bytes().startswith(b"%PDF")
    assert "feedback_id" in run("give_feedback")
    webhook = ast.literal_eval(run("create_webhook"))
    monkeypatch.setenv("WEBHOOK_ID", webhook["webhook_id"])
    assert webhook["webhook_id"] in run("get_webhook")
    assert run("delete_webhook") == "204"
    monkeypatch.setenv("UPLOAD_ID", run("create_upload").rpartition("/")[2])
    assert run("append_to_upload") == "204"
    assert "bat_" in run("create_batch")
    assert os.environ["JOB_ID"] in run("list_jobs")


def test_node_examples_are_whole(page: str, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs Node.js")
    lines = ["(async () => {}"]
    for _, _, operation in operations():
        text = example(operation["operationId"], "node", page)
        body = "\n".join(line for line in text.splitlines() if not line.startswith("import "))
        lines.append(f"async () => {{\n{body}\n}}")
    script = tmp_path / "all.mjs"
    script.write_text(",\n".join(lines) + ");\n")
    done = subprocess.run([node, "--check", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_operations_come_before_the_guide_and_its_long_table_is_folded(page: str) -> None:
    assert page.index('id="detect"') < page.index('id="cors"') < page.index('id="errors"')
    folded = page[page.index('id="errors"') :]
    assert folded.index("<details") < folded.index("batch_too_large") < folded.index("</details>")
    assert page.count("batch_too_large") == 1


def test_examples_look_for_address_and_key_in_one_place(page: str) -> None:
    assert f"export DEEPFAKE_URL={SERVER}" in page
    assert "127.0.0.1" not in re.sub(r"FETCH_ALLOW_PRIVATE.*", "", page)
    assert not re.search(r"\$(KEY|ADMIN_KEY|TEST_KEY|key)\b", page)
    assert "uuidgen" not in page


def test_every_line_of_the_first_steps_can_be_copied(page: str) -> None:
    for step in ("start-1", "start-2", "start-3"):
        assert f'data-copy="#{step}"' in page


def test_an_idempotency_key_is_made_by_what_every_machine_has() -> None:
    """curl drops a header without a value in silence."""
    found = [docs_page.docs_examples.curl(docs_page.docs_examples.call_of(*one)) for one in operations()]
    made = {key for text in found for key in re.findall(r'Idempotency-Key: ([^"]*)"', text)}
    (command,) = made
    said = subprocess.run(["sh", "-c", f'echo "{command}"'], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"[!-~]{1,200}", said.strip())
