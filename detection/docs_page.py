"""The page of the API: what the OpenAPI document says, as tables, and the guide of docs/ beside it.

Both are made once per process. Addresses and keys stand in the examples as variables of the shell, so the text is the
same for every reader.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import Http404
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify
from drf_spectacular.generators import SchemaGenerator
from markdown_it import MarkdownIt
from markdown_it.token import Token

from detection import docs_examples

METHODS = ("get", "post", "patch", "put", "delete")
DEPTH = 6  # of objects in objects that are shown
# Parts of docs/api.md, in the order of this page: title there, and the anchor here.
GUIDE = {
    "Keys": "keys-and-secrets",
    "From a browser": "cors",
    "Sandbox": "sandbox",
    "Sending a request twice": "idempotency",
    "Limits": "limits",
    "Lists, filters, parts": "pagination",
    "Waiting, and asking again": "waiting",
    "Many items": "many-items",
    "Large files": "large-files",
    "The result": "the-result",
    "Reports": "reports",
    "Callbacks": "callbacks",
    "Webhooks": "verifying-webhooks",
    "Errors": "errors",
}
CODES = "| code | status | meaning |"  # how the tables of error codes begin
# Its other parts stand on the page in words of its own.
ELSEWHERE = {"a-first-analysis": "start", "addresses": "operations"}
# Pages of their own, below this one: whatever the guide and the quick starts link to.
GUIDES = {
    "quickstart-curl": "Quick start: curl",
    "quickstart-python": "Quick start: Python",
    "quickstart-node": "Quick start: Node.js",
    "oauth": "OAuth 2",
    "client-python": "Client for Python",
    "client-node": "Client for Node.js",
    "reports": "Reports and evidence",
    "privacy": "Privacy",
}
FILES = {
    "client-python": "sdk/python/README.md",
    "client-node": "sdk/node/README.md",
}
_LOCK = threading.Lock()


def document() -> dict[str, Any]:
    """The OpenAPI document, made once: it takes seconds, and changes with the code alone."""
    with _LOCK:
        return _document()


@lru_cache(maxsize=1)
def _document() -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return found


@lru_cache(maxsize=1)
def body() -> SafeString:
    """All of the page that is the same for everybody."""
    groups = list(_groups(document()))
    return render_to_string("detection/_api_docs.html", {"groups": groups, "parts": guide_parts()})


# Operations -----------------------------------------------------------------------------------------------------------


def _groups(found: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for tag in found["tags"]:
        operations = [
            _operation(method, path, operations[method], found)
            for path, operations in found["paths"].items()
            for method in METHODS
            if method in operations and operations[method]["tags"] == [tag["name"]]
        ]
        yield {"name": tag["name"], "about": tag["description"], "operations": operations}


def _operation(method: str, path: str, operation: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    call = docs_examples.call_of(method, path, operation)
    return {
        "id": operation["operationId"],
        "method": method.upper(),
        "path": path,
        "summary": operation["summary"],
        "about": inline(operation.get("description", "")),
        "scope": next(
            (scope for way in operation.get("security", ()) for asked in way.values() for scope in asked), ""
        ),
        "parameters": [_parameter(one, found) for one in operation.get("parameters", ())],
        "bodies": list(_bodies(operation.get("requestBody", {}).get("content", {}), found, is_request=True)),
        "answers": [_answer(status, one, found) for status, one in operation["responses"].items() if status[0] in "23"],
        "refusals": [
            _refusal(status, one) for status, one in sorted(operation["responses"].items()) if status[0] in "45"
        ],
        "examples": docs_examples.examples(call),
    }


def _parameter(one: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    schema, _ = _resolved(one["schema"], found)
    about = one.get("description") or schema.get("description", "")
    if not about and one["in"] == "path":
        about = "Its id, as lists and answers give it."
    return {
        "name": one["name"], "where": one["in"], "type": _type(one["schema"], found),
        "is_required": one.get("required", False), "limits": _limits(schema), "about": inline(about),
    }  # fmt: skip


def _bodies(content: dict[str, Any], found: dict[str, Any], *, is_request: bool) -> Iterator[dict[str, Any]]:
    shown: list[Any] = []
    for media_type, one in content.items():
        same = next((body for schema, body in shown if schema == one.get("schema")), None)
        if same is not None:  # the same shape as JSON and as a form
            same["types"].append(media_type)
            continue
        body = {
            "types": [media_type],
            "fields": _fields(one.get("schema", {}), found, DEPTH),
            "examples": [
                (example.get("summary", "Example"), _pretty(example["value"]))
                for example in one.get("examples", {}).values()
            ],
        }
        shown.append((one.get("schema"), body))
    for _, body in shown:
        yield body


def _answer(status: str, one: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    bodies = list(_bodies(one.get("content", {}), found, is_request=False))
    return {"status": status, "about": inline(one["description"]), "bodies": bodies}


def _refusal(status: str, one: dict[str, Any]) -> dict[str, Any]:
    return {"status": status, "about": inline(one["description"])}


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


# Shapes ---------------------------------------------------------------------------------------------------------------


def _resolved(schema: dict[str, Any], found: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a reference stands for, with what is said beside it, and its name."""
    name = ""
    if len(schema.get("allOf", ())) == 1:
        inner, name = _resolved(schema["allOf"][0], found)
        schema = {**inner, **{key: value for key, value in schema.items() if key != "allOf"}}
    elif "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        schema = {
            **found["components"]["schemas"][name],
            **{key: value for key, value in schema.items() if key != "$ref"},
        }
    elif options := [
        one for one in schema.get("oneOf", ()) if not one.get("$ref", "").endswith(("BlankEnum", "NullEnum"))
    ]:
        inner, name = _resolved(options[0], found)
        is_null = any(one.get("type") == "null" or one.get("$ref", "").endswith("NullEnum") for one in schema["oneOf"])
        more = {key: value for key, value in schema.items() if key != "oneOf"}
        schema = {**inner, **more, **({"nullable": True} if is_null else {})}
    return schema, name


def _fields(schema: dict[str, Any], found: dict[str, Any], depth: int) -> list[dict[str, Any]]:
    schema, _ = _resolved(schema, found)
    if schema.get("type") == "array":
        return _fields(schema.get("items", {}), found, depth)
    needed = schema.get("required", ())
    rows = []
    for name, inner in schema.get("properties", {}).items() if depth else ():
        what, _ = _resolved(inner, found)
        rows.append(
            {
                "name": name,
                "type": _type(inner, found),
                "is_required": name in needed,
                "limits": _limits(what),
                "about": inline(
                    what.get("description", "") if "properties" not in what else inner.get("description", "")
                ),
                "fields": _fields(inner, found, depth - 1),
            }
        )
    return rows


_FORMATS = {"date-time": "moment", "binary": "file", "uuid": "UUID", "double": "number"}


def _type(schema: dict[str, Any], found: dict[str, Any]) -> str:
    what, _ = _resolved(schema, found)
    kinds = what.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    if what.get("nullable"):
        kinds.append("null")
    words = []
    for kind in kinds:
        if kind == "array":
            words.append(f"list of {_type(what.get('items', {}), found)}")
        else:
            words.append(_FORMATS.get(what.get("format", ""), kind) if kind != "null" else kind)
    return " or ".join(words)


def _limits(schema: dict[str, Any]) -> str:
    """What a value may be, in words."""
    said = []
    if values := [value for value in schema.get("enum", ()) if value not in ("", None)]:
        said.append("one of " + ", ".join(str(value) for value in values))
    if "const" in schema:
        said.append(str(schema["const"]))
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        said.append(f"{low} to {high}")
    elif low is not None or high is not None:
        said.append(f"{low} or more" if low is not None else f"{high} at most")
    if "maxLength" in schema:
        said.append(f"{schema['maxLength']} characters at most")
    if "maxItems" in schema:
        said.append(f"{schema['maxItems']} at most")
    if schema.get("default") not in (None, ""):
        said.append(f"usual: {json.dumps(schema['default'])}")
    return "; ".join(said)


# The guide ------------------------------------------------------------------------------------------------------------


def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable("table")


def inline(text: str) -> SafeString:
    """A sentence with `code` and **weight**, but no HTML of its own."""
    text = re.sub(r"(\A|\n\n)\* `.*", "", text, flags=re.DOTALL)  # choices, which are told as such
    html: str = _markdown().renderInline(text)
    return mark_safe(html)  # noqa: S308  # nosec B308 B703  # the renderer escapes HTML


def _rendered(text: str, *, level: int, prefix: str) -> SafeString:
    """HTML of a document: titles `level` steps deeper, with anchors; tables that can be moved; links that lead on."""
    markdown = _markdown()
    tokens = markdown.parse(text)
    out: list[Token] = []
    heading, count = prefix.rstrip("-").replace("-", " "), 0
    for position, token in enumerate(tokens):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + level)}"
            if token.type == "heading_open":
                heading = tokens[position + 1].content
                token.attrSet("id", prefix + slugify(heading))
        if token.type == "table_open":
            box = Token("html_block", "", 0)
            count += 1
            label = escape(f"Table {count}: {heading}")
            box.content = f'<div class="scroll-box" tabindex="0" role="region" aria-label="{label}">'
            token.attrSet("class", "figures-table")
            out.append(box)
        if token.type == "fence":
            token.attrSet("tabindex", "0")
        token.children = list(_led_on(token.children)) if token.children else token.children
        out.append(token)
        if token.type == "table_close":
            box = Token("html_block", "", 0)
            box.content = "</div>"
            out.append(box)
    html = markdown.renderer.render(out, markdown.options, {})
    return mark_safe(re.sub(r"<pre>", '<pre tabindex="0">', html))  # noqa: S308  # nosec B308 B703  # ours, and HTML in it is escaped


def _led_on(tokens: list[Token]) -> Iterator[Token]:
    """With links that lead to pages here; of those to files that are not shown, the words alone are left."""
    is_shown = True
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href")))
            is_shown = bool(target)
            token.attrSet("href", target)
        if is_shown or token.type not in ("link_open", "link_close"):
            yield token


def _target(href: str) -> str:
    """Where a link of docs/ leads on these pages, blank for a file that they do not hold."""
    path, _, fragment = href.partition("#")
    if "://" in href:
        return href
    if path and not path.endswith("api.md"):
        name = _guide_of(path)
        return reverse("api_docs_guide", args=[name]) + (f"#{fragment}" if fragment else "") if name else ""
    anchors = {slugify(title): anchor for title, anchor in GUIDE.items()} | ELSEWHERE
    return f"{reverse('api_docs')}#{anchors[fragment] if fragment else 'start'}"


def _guide_of(path: str) -> str:
    """The name of the page that shows a file, blank where none does."""
    whole = re.sub(r"\A(\.\./)+", "", path)
    return next((name for name in GUIDES if _file(name) in (whole, f"docs/{whole}")), "")


def _file(name: str) -> str:
    return FILES.get(name, f"docs/{name}.md")


def guide_parts() -> list[dict[str, Any]]:
    text = (settings.BASE_DIR / "docs" / "api.md").read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    return [_part(title, anchor, sections[title]) for title, anchor in GUIDE.items()]


def _part(title: str, anchor: str, text: str) -> dict[str, Any]:
    """A part of the guide; the long tables of errors are folded."""
    shown, head, folded = text.partition(CODES) if title == "Errors" else (text, "", "")
    return {
        "title": title,
        "anchor": anchor,
        "html": _rendered(shown, level=1, prefix=f"{anchor}-"),
        "folded": _rendered(head + folded, level=1, prefix=f"{anchor}-codes-") if folded else "",
    }


@lru_cache(maxsize=16)
def guide(name: str) -> tuple[str, SafeString]:
    """The title and the text of a page of docs/."""
    if name not in GUIDES:
        raise Http404
    text = (settings.BASE_DIR / _file(name)).read_text()
    return GUIDES[name], _rendered(text.partition("\n")[2], level=0, prefix="")
