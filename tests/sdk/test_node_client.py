"""The Node client: its own tests, and the same contract with a real server."""

from __future__ import annotations

import re

import pytest

from tests.sdk.conftest import NODE_SDK, ROOT, CuttingProxy, Live, run_node


def test_its_own_tests(node: str) -> None:
    told = run_node(node, "--test", "test/client.test.mjs", "test/webhooks.test.mjs")
    passed = re.search(r"^# pass (\d+)$|^ℹ pass (\d+)$", told, re.MULTILINE)
    assert passed, told
    assert int(passed[1] or passed[2]) >= 47


def test_types_of_the_client_and_of_its_examples(node: str) -> None:
    for project in (".", "examples"):
        run_node(node, "node_modules/typescript/bin/tsc", "--noEmit", "-p", project)


@pytest.mark.timeout(600)
def test_contract(node: str, live: Live) -> None:
    with CuttingProxy(live.url, cuts=2, after_bytes=300_000) as proxy:
        told = run_node(
            node,
            "--test",
            "test/live.test.mjs",
            DEEPFAKE_URL=live.url,
            DEEPFAKE_API_KEY=live.key,
            MEDIA_DIR=str(ROOT / "tests" / "media"),
            CUTTING_URL=proxy.url,
        )
        assert proxy.cuts == 0
    assert re.search(r"(#|ℹ) pass 6$", told, re.MULTILINE), told


def test_it_has_no_dependencies() -> None:
    assert '"dependencies"' not in (NODE_SDK / "package.json").read_text()
