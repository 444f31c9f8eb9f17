"""The app in this process, and a client of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient


@pytest.fixture
def app(house: Any) -> Litestar:
    return house.app()


@pytest.fixture
def client(app: Litestar) -> Iterator[TestClient[Litestar]]:
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def hook(client: TestClient[Litestar], headers: Callable[..., dict[str, str]]) -> Callable[..., str]:
    """Make a hook of ``shop``; its secret."""

    def make(forge: str, **more: str) -> str:
        answer = client.post(
            "/api/v1/projects/shop/hooks", json={"forge": forge, **more}, headers=headers("admin")
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["secret"])

    return make
