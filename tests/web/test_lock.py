"""A lock on the pages: whoever looks at the service or at all of them reads whose it is, and why."""

from __future__ import annotations

from typing import Any

import pytest
from litestar.testing import TestClient

from poise.api.access import SESSION_COOKIE
from poise.model.lock import Lock

KEY = "shop/production/web"


@pytest.mark.parametrize("page", ["/", f"/services/{KEY}"])
def test_a_lock_is_on_the_page(house: Any, page: str) -> None:
    """Nobody has to wonder why nothing goes."""
    now = house.clock.now()
    lock = Lock(
        place="shop/production", by="ada", reason="moving the database", at=now,
        expires_at=now.replace(hour=23, minute=59),
    )  # fmt: skip
    house.write(lock)
    with TestClient(house.app(), raise_server_exceptions=False) as client:
        answer = client.get(page, headers={"cookie": f"{SESSION_COOKIE}={house.credentials['viewer']}"})
    assert answer.status_code == 200
    assert "da locked shop/production until" in answer.text and "moving the database" in answer.text
