"""A real house for tests that break it: the same one that the benchmarks drive."""

from collections.abc import Iterator

import pytest

from bench import shop
from bench.house import House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """The shop, live; each test leaves it whole."""
    with House("shop", shop.files()) as house:
        house.up()
        house.ship("feat: the shop", shop.SERVICES)
        yield house
