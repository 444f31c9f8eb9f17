"""The shoppers: a bounded load on the storefront, remembered request by request."""

from __future__ import annotations

import asyncio
from collections import deque

from msgspec import Struct

from poise.adapters.load import Load, LoadPlan, Sample

HOST = "storefront.localhost"
RATE_PER_S = 50.0
LONGEST_S = 1_800.0
KEPT = 200_000


class Felt(Struct, frozen=True, kw_only=True):
    """What shoppers felt between two instants; ``failed`` by the one definition, app errors counted apart."""

    requests: int
    failed: int
    app_errors: int
    posts_lost: int
    latency_ms_p95: float

    @property
    def error_ratio(self) -> float:
        """The share of requests that did not get what they asked for."""
        bad = self.failed + self.app_errors + self.posts_lost
        return bad / self.requests if self.requests else 0.0


class Users:
    """Instants are those of ``now()``, seconds on the event loop's clock."""

    def __init__(self, ingress_port: int) -> None:
        self._url = f"http://127.0.0.1:{ingress_port}/"
        self._samples: deque[Sample] = deque(maxlen=KEPT)
        plan = LoadPlan(url=self._url, rate_per_s=RATE_PER_S, duration_s=LONGEST_S, host=HOST)
        self._load = Load(plan, self._samples.append)
        self._started = False

    def now(self) -> float:
        """This instant."""
        return asyncio.get_running_loop().time()

    def start(self) -> None:
        """The shop is open."""
        self._load.start()
        self._started = True

    async def stop(self) -> None:
        """The shop is closed. Harmless when it never opened."""
        if self._started:
            await self._load.stop()

    async def rush(self, rate_per_s: float) -> Load:
        """More shoppers at once, remembered like the others; the caller stops them."""
        plan = LoadPlan(url=self._url, rate_per_s=rate_per_s, duration_s=LONGEST_S, host=HOST)
        load = Load(plan, self._samples.append)
        load.start()
        return load

    def felt(self, begin: float, end: float) -> Felt:
        """What ended in [begin, end]."""
        found = [sample for sample in self._samples if begin <= sample.at_s <= end]
        latencies = sorted(sample.latency_ms for sample in found if sample.status)
        rank = max(0, -(-len(latencies) * 95 // 100) - 1)
        outcomes = [sample.outcome.value for sample in found]
        return Felt(
            requests=len(found),
            failed=sum(sample.failed for sample in found),
            app_errors=outcomes.count("app_5xx"),
            posts_lost=outcomes.count("post_lost_in_flight"),
            latency_ms_p95=round(latencies[rank], 2) if latencies else 0.0,
        )

    def first_of(self, version: str, after: float) -> float | None:
        """When the first answer of this version ended; None when nobody met it."""
        return next((one.at_s for one in self._samples if one.version == version and one.at_s >= after), None)

    def failures(self, begin: float) -> list[str]:
        """What went wrong since, by kind and reason, for the report of a failure."""
        found: dict[str, int] = {}
        for sample in self._samples:
            if sample.at_s >= begin and sample.outcome.value != "answered":
                kind = (
                    f"{sample.method} {sample.status} {sample.outcome.value}: {sample.detail.strip()[:100]}"
                )
                found[kind] = found.get(kind, 0) + 1
        return [f"{count} x {kind}" for kind, count in found.items()][:10]

    async def misuse(self, seconds: float, rate_per_s: float) -> int:
        """Send requests that the shop cannot serve; how many failed. This is how the budget is spent."""
        plan = LoadPlan(
            url=self._url, rate_per_s=rate_per_s, duration_s=seconds, host=HOST, post_percent=100,
            post_path="/fail",
        )  # fmt: skip
        load = Load(plan)
        load.start()
        try:
            return (await load.finished()).app_5xx
        finally:
            await load.stop()
