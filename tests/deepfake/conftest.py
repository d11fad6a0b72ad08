"""Fixtures for tests of the running process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.deepfake.serving import Serving, database_url, environment, manage, migrate


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Environment of an installation with the demo organisation."""
    folder = tmp_path_factory.mktemp("serve")
    with database_url(folder) as url:
        variables = environment(folder, url)
        migrate(variables)
        manage(variables, "seed_demo")
        yield variables


@pytest.fixture
def start(prepared: dict[str, str]) -> Iterator[Callable[..., Serving]]:
    started: list[Serving] = []

    def begin(*arguments: str, **variables: str) -> Serving:
        started.append(Serving(prepared | variables, *arguments))
        return started[-1]

    yield begin
    for serving in started:
        serving.process.kill()
        serving.process.wait()


@pytest.fixture
def demo_key(prepared: dict[str, str]) -> str:
    return manage(prepared, "create_api_key", "--organization", "demo", "--scopes", "detect:read,detect:write").strip()
