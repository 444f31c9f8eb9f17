"""A real house for tests that break it: the same one that the benchmarks drive."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from bench import shop
from bench.house import House


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """The shop, live; each test leaves it whole."""
    with House("shop", shop.files()) as house:
        house.up()
        house.ship("feat: the shop", shop.SERVICES)
        yield house
