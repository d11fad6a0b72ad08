"""Read C2PA Content Credentials; runs in the decoding child, because it parses what strangers send."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import c2pa

GENERATED_SOURCES = ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia", "compositeSynthetic")
# Failures that mean: what we hold is not what was signed.
ALTERED_CODES = ("claimSignature.mismatch", "assertion.dataHash.mismatch", "assertion.bmffHash.mismatch",
                 "assertion.boxesHash.mismatch", "assertion.hashedURI.mismatch", "assertion.collectionHash.mismatch",
                 "assertion.missing")  # fmt: skip


def read(file: io.RawIOBase, arguments: Mapping[str, Any], sink: Any, output: Any) -> dict[str, Any]:
    """Return state, issuer, generator, time, actions, ingredients and problems of the active manifest. No network.

    arguments: {"trust_pem": roots of trusted signers or ""}.
    """
    settings: dict[str, Any] = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True}}
    if arguments["trust_pem"]:
        settings["trust"] = {"trust_anchors": arguments["trust_pem"]}
    try:
        reader = c2pa.Reader.try_create("", file, context=c2pa.Context.from_dict(settings))
        if reader is None:
            return {"state": "absent", "problems": []}
        validation, results = reader.get_validation_state(), reader.get_validation_results()
        return facts_of(json.loads(reader.json()), validation or "Invalid", results or {})
    except c2pa.C2paError as error:
        return _unreadable(str(error))


def _unreadable(message: str) -> dict[str, Any]:
    kind = message.split(":", 1)[0].strip()
    if kind == "Remote":  # only a link: we never call an address that a stranger's file names
        return {"state": "absent", "problems": ["remote_manifest_not_fetched"]}
    if kind in ("NotSupported", "ManifestNotFound"):
        return {"state": "absent", "problems": ["unsupported_container"]}
    return {"state": "invalid", "problems": [message[:200]], "altered": False}


def facts_of(store: Mapping[str, Any], validation: str, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return state, issuer, generator, time, actions, ingredients and problems of a manifest store as c2pa gives it."""
    manifest = store.get("manifests", {}).get(store.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    codes = [str(f.get("code")) for f in (results.get("activeManifest") or {}).get("failure", [])]
    states = {"Trusted": "valid_trusted", "Valid": "valid_untrusted"}
    actions = list(_actions(store))
    return {
        "state": states.get(validation, "invalid"),
        "issuer": _short(signature.get("issuer")),
        "generator": _generator(manifest),
        "signed_at": _short(signature.get("time")),
        "actions": actions,
        "ingredients": list(_ingredients(manifest)),
        "problems": codes,
        "altered": any(code in ALTERED_CODES for code in codes),
        "generated": any(_is_generated(a.get("source")) for a in actions),
    }


def _actions(store: Mapping[str, Any]) -> Iterator[dict[str, str | None]]:
    """Yield the actions of the active manifest, then of the versions it was edited from."""
    for step, manifest in enumerate(_lineage(store)):
        for assertion in manifest.get("assertions", []):
            if not str(assertion.get("label", "")).startswith("c2pa.actions"):
                continue
            for action in (assertion.get("data") or {}).get("actions", [])[:50]:
                yield {
                    "action": _short(action.get("action")),
                    "source": _short(str(action.get("digitalSourceType") or "").strip().rsplit("/", 1)[-1]),
                    "of": "this file" if step == 0 else "an earlier version",
                }


def _ingredients(manifest: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the active manifest says that it was made from."""
    for part in manifest.get("ingredients", [])[:20]:
        yield {
            "title": _short(part.get("title")),
            "format": _short(part.get("format")),
            "relationship": _short(part.get("relationship")),
            "is_signed": bool(part.get("active_manifest")),
        }


def _lineage(store: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the active manifest, its parent, and so on; other ingredients may be a small part of the picture only."""
    label: Any = store.get("active_manifest")
    seen: set[str] = set()
    while label in store.get("manifests", {}) and label not in seen and len(seen) < 20:
        seen.add(label)
        manifest = store["manifests"][label]
        yield manifest
        parents = [i for i in manifest.get("ingredients", []) if i.get("relationship") == "parentOf"]
        label = parents[0].get("active_manifest") if parents else None


def _is_generated(source: str | None) -> bool:
    return source in GENERATED_SOURCES


def _generator(manifest: Mapping[str, Any]) -> str | None:
    info = manifest.get("claim_generator_info") or []
    if info and info[0].get("name"):
        return _short(f"{info[0]['name']} {info[0].get('version', '')}".strip())
    return _short(manifest.get("claim_generator"))


def _short(value: Any) -> str | None:
    return str(value)[:120] if value else None
