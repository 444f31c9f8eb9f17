"""Metrics behind one port: append what was measured, select it, ask in PromQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from poise.model.anomaly import Usual
from poise.model.samples import Appended, Block, Frame, Labels, Limits, Matcher, Metadata, Round


class Capability(StrEnum):
    """What a backend can do; asking for the rest raises ``Invalid`` with a mend."""

    APPEND = "append"
    SELECT = "select"
    QUERY = "query"
    METADATA = "metadata"


class Selector(Protocol):
    """What the PromQL engine evaluates over. Synchronous: it runs where nothing waits for it."""

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """Series that satisfy every matcher, with samples in (start_ms, end_ms].

        ``before`` adds each series' last sample at or before ``start_ms``. Raises ``TooLarge`` past a
        limit of the backend.
        """
        ...


class HowUsual(Protocol):
    """How usual a service's golden signals were in a window; None when nobody can say at the moment."""

    async def __call__(self, service: str, since: datetime, until: datetime) -> Usual | None: ...


class SignalStore(Protocol):
    """Float samples of labelled series. What ``append`` has returned for is durable.

    The same sample twice is one; another value at an instant that is taken is refused as ``duplicate``.
    Samples may come out of order within the backend's window. Query errors are ``Invalid`` (the expression),
    ``TooLarge`` (a limit), ``TimedOut`` and ``Unreachable``.
    """

    capabilities: frozenset[Capability]

    async def append(self, round: Round) -> Appended: ...

    async def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, before: bool = False
    ) -> Block:
        """As ``Selector.select``."""
        ...

    async def query(self, expression: str, at_ms: int, limits: Limits | None = None) -> Frame: ...

    async def query_range(
        self, expression: str, start_ms: int, end_ms: int, step_ms: int, limits: Limits | None = None
    ) -> Frame: ...

    async def series(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[Labels]:
        """Series with a sample in [start_ms, end_ms] that satisfy any of the selectors; sorted."""
        ...

    async def label_names(
        self, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[str]:
        """Label names of such series (of all, when no selector is given); sorted."""
        ...

    async def label_values(
        self, label: str, selectors: Sequence[Sequence[Matcher]], start_ms: int, end_ms: int
    ) -> list[str]: ...

    async def metadata(self, name: str = "") -> list[Metadata]:
        """What is known of one metric family, or of all; sorted."""
        ...

    async def close(self) -> None: ...
