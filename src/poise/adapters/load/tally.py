"""What to send, what one answer was, and what many came to."""

from __future__ import annotations

import math
from enum import StrEnum

from msgspec import Struct, field

from poise.adapters.load.wire import Answer

ANSWER_LIMIT_S = 5.0  # design: no answer in 5 s is a failed request
RATE_LIMIT_PER_S = 2_000.0
DURATION_LIMIT_S = 24 * 3600.0
COUNT_LIMIT = 10_000_000
VERSIONS_LIMIT = 64

# one bucket per 2 %: a percentile read from the histogram is at most 2 % too high
BUCKET_RATIO = 1.02
BUCKET_FLOOR_MS = 0.05
BUCKETS = math.ceil(math.log(20_000 / BUCKET_FLOOR_MS, BUCKET_RATIO))

# what Envoy says when a replica died with the request in its hands; a refused connection reads differently
LOST_IN_FLIGHT = ("connection termination", "remote reset")


class LoadPlan(Struct, frozen=True, kw_only=True):
    """What to send, where, how fast and until when.

    `url` is http, its host a loopback address or `localhost`. `post_percent` of the requests are POSTs to
    `post_path`, spread evenly; the others GET the path of `url`. `host` replaces the Host header.
    """

    url: str
    rate_per_s: float = 50.0
    duration_s: float = 10.0
    count_limit: int = COUNT_LIMIT
    post_percent: int = 20
    post_path: str = "/orders"
    post_body: str = "item=tea"
    host: str = ""
    answer_limit_s: float = ANSWER_LIMIT_S
    in_flight_limit: int = 1_024


class Outcome(StrEnum):
    """What one request came to. The first two are answers the app gave, the rest are not."""

    ANSWERED = "answered"
    APP_5XX = "app_5xx"
    PROXY_5XX = "proxy_5xx"
    CONNECTION_ERROR = "connection_error"
    NO_ANSWER = "no_answer"
    POST_LOST_IN_FLIGHT = "post_lost_in_flight"


FAILED = frozenset({Outcome.PROXY_5XX, Outcome.CONNECTION_ERROR, Outcome.NO_ANSWER})


class Sample(Struct, frozen=True, kw_only=True):
    """One request: `at_s` on the event loop's monotonic clock when it ended; `status` 0 without an answer."""

    at_s: float
    method: str
    status: int
    outcome: Outcome
    failed: bool
    version: str
    latency_ms: float
    detail: str = ""


class LoadResult(Struct, frozen=True, kw_only=True):
    """What the requests came to.

    `failed_requests` follows one definition: connection error, a 5xx that the app did not send, no answer in
    5 s. `posts_lost_in_flight` and `app_5xx` are counted apart, never within it. `unsent` are slots of the
    schedule given up because too many requests were already in flight. Latencies are from the scheduled
    instant to the last byte, of answered requests, at most 2 % too high; 0 without any.
    """

    requests: int = 0
    gets: int = 0
    posts: int = 0
    answered: int = 0
    app_5xx: int = 0
    proxy_5xx: int = 0
    connection_errors: int = 0
    no_answers: int = 0
    failed_requests: int = 0
    posts_lost_in_flight: int = 0
    unsent: int = 0
    took_s: float = 0.0
    rate_per_s: float = 0.0
    latency_ms_p50: float = 0.0
    latency_ms_p95: float = 0.0
    latency_ms_p99: float = 0.0
    latency_ms_max: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)


def judge(method: str, answer: Answer) -> Outcome:
    """What an answer means. A 5xx is the app's only when something in it proves that the app answered.

    Envoy says how long the app took only when it did; its own replies name no server, or "envoy".
    """
    if answer.status < 500:
        return Outcome.ANSWERED
    if answer.upstream_answered or answer.version or answer.server not in ("", "envoy"):
        return Outcome.APP_5XX
    if method == "POST" and any(reason in answer.reason for reason in LOST_IN_FLIGHT):
        return Outcome.POST_LOST_IN_FLIGHT
    return Outcome.PROXY_5XX


class Tally:
    """Counts samples since `since_s` (monotonic seconds)."""

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.unsent = 0
        self.latency_ms_max = 0.0
        self.methods: dict[str, int] = {}
        self.outcomes: dict[Outcome, int] = dict.fromkeys(Outcome, 0)
        self.statuses: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.buckets = [0] * (BUCKETS + 1)

    def add(self, sample: Sample) -> None:
        self.methods[sample.method] = self.methods.get(sample.method, 0) + 1
        self.outcomes[sample.outcome] += 1
        if not sample.status:
            return
        status = str(sample.status)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if sample.version and (sample.version in self.versions or len(self.versions) < VERSIONS_LIMIT):
            self.versions[sample.version] = self.versions.get(sample.version, 0) + 1
        if sample.outcome in (Outcome.ANSWERED, Outcome.APP_5XX):
            self.latency_ms_max = max(self.latency_ms_max, sample.latency_ms)
            self.buckets[bucket_of(sample.latency_ms)] += 1

    def result(self, now_s: float) -> LoadResult:
        requests = sum(self.methods.values())
        took_s = max(0.0, now_s - self.since_s)
        counts = self.outcomes
        return LoadResult(
            requests=requests,
            gets=self.methods.get("GET", 0),
            posts=self.methods.get("POST", 0),
            answered=counts[Outcome.ANSWERED],
            app_5xx=counts[Outcome.APP_5XX],
            proxy_5xx=counts[Outcome.PROXY_5XX],
            connection_errors=counts[Outcome.CONNECTION_ERROR],
            no_answers=counts[Outcome.NO_ANSWER],
            failed_requests=sum(counts[outcome] for outcome in FAILED),
            posts_lost_in_flight=counts[Outcome.POST_LOST_IN_FLIGHT],
            unsent=self.unsent,
            took_s=round(took_s, 3),
            rate_per_s=round(requests / took_s, 1) if took_s else 0.0,
            latency_ms_p50=self.latency_ms(50),
            latency_ms_p95=self.latency_ms(95),
            latency_ms_p99=self.latency_ms(99),
            latency_ms_max=round(self.latency_ms_max, 3),
            statuses=dict(sorted(self.statuses.items())),
            versions=dict(sorted(self.versions.items())),
        )

    def latency_ms(self, percent: float) -> float:
        """The upper edge of the bucket that holds this percentile (nearest rank), never above the maximum."""
        rank = math.ceil(sum(self.buckets) * percent / 100)
        seen = 0
        for bucket, count in enumerate(self.buckets):
            seen += count
            if count and seen >= rank:
                return round(min(BUCKET_FLOOR_MS * BUCKET_RATIO**bucket, self.latency_ms_max), 3)
        return 0.0


def bucket_of(latency_ms: float) -> int:
    if latency_ms <= BUCKET_FLOOR_MS:
        return 0
    return min(BUCKETS, math.ceil(math.log(latency_ms / BUCKET_FLOOR_MS, BUCKET_RATIO)))
