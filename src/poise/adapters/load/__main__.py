"""`python -m poise.adapters.load --url http://127.0.0.1:8080/ --rate 200 --seconds 60 [--json]`.

Prints one line each second (what happened in that second), and a last one for the whole. With `--json` each
line is `{"window": LoadResult}`, the last `{"total": LoadResult}`. Ends early, with its last line, on SIGTERM
or SIGINT.
Exit 0 when nothing failed, 1 when a request did, 5 when the plan is not allowed.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from contextlib import suppress

import msgspec

from poise.adapters.load.run import Load
from poise.adapters.load.tally import COUNT_LIMIT, LoadPlan, LoadResult
from poise.model.errors import PoiseError

WINDOW_S = 1.0


def main(argv: list[str] | None = None) -> int:
    arguments = options().parse_args(argv)
    plan = LoadPlan(
        url=arguments.url,
        rate_per_s=arguments.rate,
        duration_s=arguments.seconds,
        count_limit=arguments.count,
        post_percent=arguments.post_percent,
        host=arguments.host,
    )
    try:
        result = asyncio.run(run(plan, as_json=arguments.json))
    except PoiseError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 1 if result.failed_requests else 0


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m poise.adapters.load", description="Load for loopback.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=COUNT_LIMIT, help="at most so many requests")
    parser.add_argument("--post-percent", type=int, default=20)
    parser.add_argument("--host", default="", help="the Host header, instead of the one in --url")
    parser.add_argument("--json", action="store_true")
    return parser


async def run(plan: LoadPlan, *, as_json: bool) -> LoadResult:
    load = Load(plan)
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    load.start()
    done = asyncio.ensure_future(load.finished())
    done.add_done_callback(lambda _: told.set())
    while not told.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(told.wait(), WINDOW_S)
        show("window", load.take_window(), as_json)
    done.cancel()
    result = await load.stop()
    show("total", result, as_json)
    return result


def show(name: str, result: LoadResult, as_json: bool) -> None:
    if as_json:
        line = msgspec.json.encode({name: result}).decode()
    else:
        latencies = (result.latency_ms_p50, result.latency_ms_p95, result.latency_ms_p99)
        line = (
            f"{name:6} {result.requests:7} requests {result.rate_per_s:7.1f}/s"
            "  p50 {:.1f}  p95 {:.1f}  p99 {:.1f} ms".format(*latencies)
            + f"  app 5xx {result.app_5xx}  failed {result.failed_requests}"
            + f"  lost POSTs {result.posts_lost_in_flight}"
        )
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
