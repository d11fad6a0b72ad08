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
