"""Lines to copy for every operation of the API: curl, Python and Node.

Python and Node use our own clients where those have a method, else httpx and fetch. A test executes them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

FILE = "statement.mp4"
OFFSET_STREAM = "application/offset+octet-stream"
ID = re.compile(r"\b(med|job|bat|upl|key|whk|dlv)_[0-9a-f]{32}\b")
VARIABLES = {
    "med": "MEDIA_ID", "job": "JOB_ID", "bat": "BATCH_ID", "upl": "UPLOAD_ID", "key": "KEY_ID", "whk": "WEBHOOK_ID",
    "dlv": "DELIVERY_ID",
}  # fmt: skip
# What our clients do in a line, by operation.
PYTHON_CLIENT = {
    "submit_media": f'media = client.upload("{FILE}")\nprint(media["media_id"])',
    "detect": f'job = client.detect("{FILE}")\nprint(job["job_id"])',
    "get_job": 'job = client.wait(os.environ["JOB_ID"])\nprint(job["result"]["label"], job["result"]["score"])',
    "cancel_job": 'print(client.cancel(os.environ["JOB_ID"])["status"])',
    "get_report": 'client.save_report(os.environ["JOB_ID"], "report.pdf")',
}
NODE_CLIENT = {
    "submit_media": f'const media = await client.upload("{FILE}");\nconsole.log(media.media_id);',
    "detect": f'const job = await client.detect("{FILE}");\nconsole.log(job.job_id);',
    "get_job": "const { result } = await client.wait(process.env.JOB_ID);\nconsole.log(result.label, result.score);",
    "cancel_job": "console.log((await client.cancel(process.env.JOB_ID)).status);",
    "get_report": 'import { writeFile } from "node:fs/promises";\n\n'
    'await writeFile("report.pdf", await client.report(process.env.JOB_ID, { format: "pdf" }));',
}
# Queries that show what an address is for.
QUERIES = {
    "get_job": "?wait=30",
    "get_report": "?format=pdf",
    "get_batch": "?wait=30",
    "match_thresholds": "?kind=video",
}
FILES = {"get_media_file": "item", "get_report": "report.pdf"}


@dataclass(frozen=True)
class Call:
    """One request, before it is written down in a language."""

    operation_id: str
    method: str
    path: str
    has_key: bool
    headers: dict[str, str]
    body: Any = None
    has_form: bool = False  # the file goes as a form
    is_bytes: bool = False  # the file is the body
    has_answer: bool = True


def call_of(method: str, path: str, operation: dict[str, Any]) -> Call:
    content = operation.get("requestBody", {}).get("content", {})
    examples = content.get("application/json", {}).get("examples", {})
    has_form = operation["operationId"] in ("submit_media", "detect")
    body = None if has_form else next((one["value"] for one in examples.values()), None)
    headers = {
        one["name"]: str(one["schema"].get("const", ""))
        for one in operation.get("parameters", ())
        if one["in"] == "header" and one.get("required")
    }
    return Call(
        operation["operationId"],
        method.upper(),
        path + QUERIES.get(operation["operationId"], ""),
        has_key=any(operation.get("security", ())),
        headers=headers,
        body=body,
        has_form=has_form,
        is_bytes=OFFSET_STREAM in content and method == "patch",
        has_answer=any(status[0] == "2" and one.get("content") for status, one in operation["responses"].items()),
    )


def _after(call: Call, answer: str, location: str, status: str) -> str:
    if call.operation_id == "create_upload":
        return location
    return answer if call.has_answer else status


def examples(call: Call) -> list[tuple[str, str]]:
    """The name of each language, and what to copy."""
    return [("curl", curl(call)), ("Python", python(call)), ("Node", node(call))]


# curl -----------------------------------------------------------------------------------------------------------------

_SHELL = {"Upload-Length": f"$(wc -c < {FILE})", "Upload-Offset": "0"}


def curl(call: Call) -> str:
    path = re.sub(r"{(\w+)}", lambda found: "$" + found[1].upper(), call.path)
    parts = [f'"$DEEPFAKE_URL{path}"']
    if call.method != "GET":
        parts.insert(0, f"-X {call.method}")
    if not call.has_answer:
        parts.insert(0, "-i")
    if call.operation_id in FILES:
        parts.append(f"-o {FILES[call.operation_id]}")
    if call.has_key:
        parts.append('-H "Authorization: Bearer $DEEPFAKE_API_KEY"')
    if call.method == "POST":
        parts.append('-H "Idempotency-Key: $(date +%s%N)"')
    parts += [f'-H "{name}: {value or _SHELL[name]}"' for name, value in call.headers.items()]
    if call.has_form:
        parts.append(f"-F file=@{FILE}")
    elif call.is_bytes:
        parts += [f'-H "Content-Type: {OFFSET_STREAM}"', f"--data-binary @{FILE}"]
    elif call.body is not None:
        text = json.dumps(call.body, ensure_ascii=False).replace("'", "'\\''")
        text = ID.sub(lambda found: f"'\"${VARIABLES[found[1]]}\"'", text)
        parts += ['-H "Content-Type: application/json"', f"-d '{text}'"]
    return "curl " + " \\\n  ".join(parts)


# Python ---------------------------------------------------------------------------------------------------------------


def python(call: Call) -> str:
    if call.operation_id in PYTHON_CLIENT:
        code = PYTHON_CLIENT[call.operation_id]
        first = "import os\n\n" if "os." in code else ""
        return f"{first}from deepfake_client import Client\n\nclient = Client()\n{code}"
    path = re.sub(r"{(\w+)}", lambda found: f"{{os.environ['{found[1].upper()}']}}", call.path)
    lines = [f'    "{call.method}",', f"    f\"{{os.environ['DEEPFAKE_URL']}}{path}\","]
    headers = []
    if call.has_key:
        headers.append('"Authorization": f"Bearer {os.environ[\'DEEPFAKE_API_KEY\']}"')
    if call.method == "POST":
        headers.append('"Idempotency-Key": str(uuid.uuid4())')
    known = {"Upload-Length": f'str(os.path.getsize("{FILE}"))', "Upload-Offset": '"0"'}
    headers += [f'"{name}": {json.dumps(value) if value else known[name]}' for name, value in call.headers.items()]
    if call.is_bytes:
        headers.append(f'"Content-Type": "{OFFSET_STREAM}"')
        lines.append(f'    content=open("{FILE}", "rb").read(),')
    if headers:
        lines.append("    headers={\n" + "".join(f"        {one},\n" for one in headers) + "    },")
    if call.body is not None:
        lines.append(f"    json={_python_value(call.body)},")
    imports = "import os\n" + ("import uuid\n" if call.method == "POST" else "")
    if call.operation_id in FILES:
        after = f'open("{FILES[call.operation_id]}", "wb").write(answer.content)'
    else:
        after = _after(call, "print(answer.json())", 'print(answer.headers["Location"])', "print(answer.status_code)")
    return (
        f"{imports}\nimport httpx\n\nanswer = httpx.request(\n" + "\n".join(lines) + "\n    timeout=60,\n)\n"
        f"answer.raise_for_status()\n{after}"
    )


def _python_value(value: Any) -> str:
    return ID.sub(lambda found: f"\0{VARIABLES[found[1]]}\0", repr(value)).replace("'\0", 'os.environ["').replace(
        "\0'", '"]'
    )  # fmt: skip


# Node -----------------------------------------------------------------------------------------------------------------


def node(call: Call) -> str:
    if call.operation_id in NODE_CLIENT:
        code = NODE_CLIENT[call.operation_id]
        more, _, rest = code.rpartition("\n\n") if code.startswith("import") else ("", "", code)
        more = more + "\n" if more else ""
        return f'{more}import {{ Client }} from "deepfake-client";\n\nconst client = new Client();\n{rest}'
    path = re.sub(r"{(\w+)}", lambda found: f"${{process.env.{found[1].upper()}}}", call.path)
    options = [f'  method: "{call.method}",'] if call.method != "GET" else []
    headers = ["Authorization: `Bearer ${process.env.DEEPFAKE_API_KEY}`"] if call.has_key else []
    if call.method == "POST":
        headers.append('"Idempotency-Key": crypto.randomUUID()')
    known = {"Upload-Length": f'String((await stat("{FILE}")).size)', "Upload-Offset": '"0"'}
    headers += [f'"{name}": {json.dumps(value) if value else known[name]}' for name, value in call.headers.items()]
    imports = 'import { stat } from "node:fs/promises";\n\n' if "Upload-Length" in call.headers else ""
    if call.is_bytes:
        imports = 'import { readFile } from "node:fs/promises";\n\n'
        headers.append(f'"Content-Type": "{OFFSET_STREAM}"')
        options.append(f'  body: await readFile("{FILE}"),')
    elif call.body is not None:
        headers.append('"Content-Type": "application/json"')
        text = json.dumps(call.body, ensure_ascii=False)
        text = ID.sub(lambda found: f"\0{VARIABLES[found[1]]}\0", text).replace('"\0', "process.env.")
        options.append(f"  body: JSON.stringify({text.replace(chr(0) + chr(34), '')}),")
    if headers:
        options.append("  headers: {\n" + "".join(f"    {one},\n" for one in headers) + "  },")
    given = ", {\n" + "\n".join(options) + "\n}" if options else ""
    if call.operation_id in FILES:
        after = f'await writeFile("{FILES[call.operation_id]}", Buffer.from(await answer.arrayBuffer()));'
        imports = 'import { writeFile } from "node:fs/promises";\n\n'
    else:
        after = _after(
            call,
            "console.log(await answer.json());",
            'console.log(answer.headers.get("Location"));',
            "console.log(answer.status);",
        )
    return f"{imports}const answer = await fetch(`${{process.env.DEEPFAKE_URL}}{path}`{given});\n{after}"
