"""A report as the OpenAPI document shows it."""

from __future__ import annotations

from typing import Any

REPORT_EXAMPLE: dict[str, Any] = {
    "schema": "deepfake-report/2",
    "report": {
        "id": "rpt_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "issued_at": "2026-11-21T09:05:00.120000Z",
        "format": "json",
        "key_id": "5f3c0d7e9a1b2c4d6e8f0a1b2c3d4e5f",
        "verify_url": "https://detect.example.org/verify/rpt_0a1b2c3d4e5f60718293a4b5c6d7e8f9/",
        "audit_chain_head": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    },
    "item": {"sha256": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", "kind": "image"},
    "verdict": {
        "label": "fake",
        "score": 0.93,
        "confidence_interval": [0.9, 0.95],
        "thresholds": {"fake": 0.823, "real": 0.228},
    },
    "review": None,
    "rerun": {"mode": "auto", "aggregation": "mean", "stability": "cheap", "weights": {}},
    "signature": {
        "algorithm": "Ed25519",
        "key_id": "5f3c0d7e9a1b2c4d6e8f0a1b2c3d4e5f",
        "value": "c2lnbmF0dXJlIG9mIDY0IGJ5dGVzIGluIEJhc2U2NCwgd2hpY2ggaXMgODggY2hhcmFjdGVycw==",
    },
}


def _problem(status: int, title: str, code: str, detail: str) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": "4f2e9c1ab0d14a7c",
        "fields": {},
    }


# Status, what it means, and how it looks.
PROBLEM_EXAMPLES: tuple[tuple[int, str, dict[str, Any]], ...] = (
    (
        400,
        "There is no report in that format.",
        _problem(400, "Bad Request", "format_unknown", "format must be one of pdf, json, bundle, html."),
    ),
    (
        409,
        "The analysis has no result yet.",
        _problem(409, "Conflict", "report_not_ready", "There is no report yet: this analysis is running."),
    ),
    (
        410,
        "The original is no longer stored, so there is no bundle.",
        _problem(410, "Gone", "original_gone", "The original file is no longer stored."),
    ),
)
