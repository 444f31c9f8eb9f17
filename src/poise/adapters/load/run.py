"""The schedule: one slot every 1/rate seconds, whatever the answers do."""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit

from poise.adapters.load.tally import (
    COUNT_LIMIT,
    DURATION_LIMIT_S,
    FAILED,
    RATE_LIMIT_PER_S,
    LoadPlan,
    LoadResult,
    Outcome,
    Sample,
    Tally,
    judge,
)
from poise.adapters.load.wire import Answer, Connection, broken
from poise.model.errors import Invalid

SWEEP_S = 0.05  # how finely the answer limit is enforced

OnSample = Callable[[Sample], None]


async def run_load(plan: LoadPlan, on_sample: OnSample | None = None) -> LoadResult:
    """Run the whole plan and wait for the last answer. Raises Invalid for a plan that is not allowed."""
    load = Load(plan, on_sample)
    load.start()
    try:
        return await load.finished()
    finally:
        await load.stop()


class Load:
    """A plan at work. `start()`, then `finished()` or `stop()`; `snapshot()` and `take_window()` meanwhile.

    Needs a running asyncio loop. `on_sample` is called once for each request, in the loop, and must be quick.
    Raises Invalid for a plan that is not allowed.
    """

    def __init__(self, plan: LoadPlan, on_sample: OnSample | None = None) -> None:
        self._plan = plan
        self._on_sample = on_sample
        self._address, self._port, path = loopback(plan)
        host = plan.host or urlsplit(plan.url).netloc
        body = plan.post_body.encode()
        self._requests = {
            "GET": f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(),
            "POST": (
                f"POST {plan.post_path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
                "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
            ).encode()
            + body,
        }
        self._idle: list[Connection] = []
        self._in_flight: deque[_Exchange] = deque()  # in the order sent, so the oldest is checked first
        self._open = 0
        self._openings: set[asyncio.Task[None]] = set()
        self._schedule: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin the schedule now."""
        self._loop = asyncio.get_running_loop()
        self._total = Tally(self._loop.time())
        self._window = Tally(self._loop.time())
        self._schedule = self._loop.create_task(self._run(), name="load")

    async def finished(self) -> LoadResult:
        """Wait until the plan is done and every request has ended."""
        assert self._schedule, "start() comes first"
        await asyncio.shield(self._schedule)
        return self.snapshot()

    async def stop(self) -> LoadResult:
        """Send nothing more, wait for what is in flight (at most the answer limit), and disconnect."""
        if self._schedule:
            self._schedule.cancel()
            with suppress(asyncio.CancelledError):
                await self._schedule
            await self._settle()
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        return self.snapshot()

    def snapshot(self) -> LoadResult:
        """Everything since the start."""
        return self._total.result(self._loop.time())

    def take_window(self) -> LoadResult:
        """Everything since the start or the last call, and begin a new window."""
        now_s = self._loop.time()
        result = self._window.result(now_s)
        self._window = Tally(now_s)
        return result

    async def _run(self) -> None:
        begin_s = self._loop.time()
        slots = min(self._plan.count_limit, round(self._plan.rate_per_s * self._plan.duration_s))
        for slot in range(slots):
            due_s = begin_s + slot / self._plan.rate_per_s
            while (wait_s := due_s - self._loop.time()) > 0:
                await asyncio.sleep(min(wait_s, SWEEP_S))
                self._sweep()
            if slot % 64 == 0:
                await asyncio.sleep(0)  # behind schedule: let answers in all the same
                self._sweep()
            self._send(method_of(slot, self._plan.post_percent), due_s)
        if (wait_s := begin_s + slots / self._plan.rate_per_s - self._loop.time()) > 0:
            await asyncio.sleep(wait_s)
        await self._settle()

    async def _settle(self) -> None:
        while self._open:
            await asyncio.sleep(SWEEP_S)
            self._sweep()

    def _send(self, method: str, due_s: float) -> None:
        if self._open >= self._plan.in_flight_limit:
            self._total.unsent += 1
            self._window.unsent += 1
            return
        exchange = _Exchange(method, due_s, self._loop.time())
        self._open += 1
        self._in_flight.append(exchange)
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._put(exchange, connection)
                return
        opening = self._loop.create_task(self._open_for(exchange))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    def _put(self, exchange: _Exchange, connection: Connection) -> None:
        exchange.connection = connection
        request = self._requests[exchange.method]
        connection.send(request, lambda answer: self._answered(exchange, connection, answer))

    async def _open_for(self, exchange: _Exchange) -> None:
        try:
            _, connection = await self._loop.create_connection(Connection, self._address, self._port)
        except OSError as error:
            self._end(exchange, Outcome.CONNECTION_ERROR, broken(str(error)))
            return
        if not exchange.ended and connection.usable:
            self._put(exchange, connection)
            return
        connection.close()
        self._end(exchange, Outcome.CONNECTION_ERROR, broken("the server closed the connection at once"))

    def _answered(self, exchange: _Exchange, connection: Connection, answer: Answer) -> None:
        if connection.usable:
            self._idle.append(connection)
        outcome = judge(exchange.method, answer) if answer.status else Outcome.CONNECTION_ERROR
        self._end(exchange, outcome, answer)

    def _sweep(self) -> None:
        """End what has waited too long, and its connection: a late answer must not meet a new request."""
        now_s = self._loop.time()
        while self._in_flight:
            exchange = self._in_flight[0]
            if not exchange.ended:
                if now_s - exchange.sent_s < self._plan.answer_limit_s:
                    return
                if exchange.connection:
                    exchange.connection.close()
                self._end(exchange, Outcome.NO_ANSWER, broken("no answer in time"))
            self._in_flight.popleft()

    def _end(self, exchange: _Exchange, outcome: Outcome, answer: Answer) -> None:
        if exchange.ended:
            return
        exchange.ended = True
        self._open -= 1
        now_s = self._loop.time()
        sample = Sample(
            at_s=now_s,
            method=exchange.method,
            status=answer.status,
            outcome=outcome,
            failed=outcome in FAILED,
            version=answer.version,
            latency_ms=(now_s - exchange.due_s) * 1000,
            detail=answer.reason,
        )
        self._total.add(sample)
        self._window.add(sample)
        if self._on_sample:
            self._on_sample(sample)


class _Exchange:
    """One request on its way. `due_s` is its place in the schedule, `sent_s` when it was really sent."""

    __slots__ = ("connection", "due_s", "ended", "method", "sent_s")

    def __init__(self, method: str, due_s: float, sent_s: float) -> None:
        self.method = method
        self.due_s = due_s
        self.sent_s = sent_s
        self.connection: Connection | None = None
        self.ended = False


def method_of(slot: int, post_percent: int) -> str:
    """Exactly `post_percent` of each 100 slots are POSTs, scattered: 19 and 100 have no common divisor.

    A regular pattern (every fifth) could fall in step with a bug that breaks every fifth request.
    """
    return "POST" if slot * 19 % 100 < post_percent else "GET"


def loopback(plan: LoadPlan) -> tuple[str, int, str]:
    """(address, port, path) of an allowed plan. Raises Invalid for another host or a limit passed."""
    url = urlsplit(plan.url)
    host = url.hostname or ""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        allowed = ipaddress.ip_address(address).is_loopback and url.scheme == "http"
    except ValueError:
        allowed = False
    if not allowed:
        raise Invalid(
            "POISE-L101",
            f"load is not sent to {plan.url!r}",
            why="The load generator only sends to loopback addresses over http.",
            mend="Use e.g. http://127.0.0.1:8080/.",
        )
    bounds = {
        "rate_per_s": (plan.rate_per_s, RATE_LIMIT_PER_S),
        "duration_s": (plan.duration_s, DURATION_LIMIT_S),
        "count_limit": (plan.count_limit, COUNT_LIMIT),
        "answer_limit_s": (plan.answer_limit_s, DURATION_LIMIT_S),
        "in_flight_limit": (plan.in_flight_limit, COUNT_LIMIT),
    }
    for name, (value, limit) in bounds.items():
        if not 0 < value <= limit:
            raise Invalid(
                "POISE-L102", f"load: {name} is {value}", mend=f"Use more than 0, at most {limit:g}."
            )
    if not 0 <= plan.post_percent <= 100:
        raise Invalid("POISE-L102", f"load: post_percent is {plan.post_percent}", mend="Use 0 to 100.")
    if any(char in text for text in (plan.host, plan.post_path, url.path) for char in "\r\n "):
        raise Invalid("POISE-L103", "load: a space or line end in the path or host", mend="Remove it.")
    return address, url.port or 80, (url.path or "/") + (f"?{url.query}" if url.query else "")
