"""One thread, one selector, one heap of timers."""

from __future__ import annotations

import heapq
import os
import selectors
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Timer:
    """A call that waits its turn; `cancel` makes it never come."""

    __slots__ = ("deed", "due", "number")

    def __init__(self, due: float, number: int, deed: Callable[[], object]) -> None:
        self.due, self.number = due, number
        self.deed: Callable[[], object] | None = deed

    def __lt__(self, other: Timer) -> bool:
        return (self.due, self.number) < (other.due, other.number)

    def cancel(self) -> None:
        """Forget the call; harmless when it is over."""
        self.deed = None


class Loop:
    """Calls back when a descriptor is ready or a timer is due; `commit` runs once after every round."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._number = 0
        self.commit: Callable[[], object] = lambda: None
        self.over = False

    def later(self, delay_s: float, deed: Callable[[], object]) -> Timer:
        """Call `deed` once after `delay_s` on the monotonic clock."""
        self._number += 1
        timer = Timer(time.monotonic() + max(0.0, delay_s), self._number, deed)
        heapq.heappush(self._timers, timer)
        return timer

    def on_read(self, descriptor: int, deed: Callable[[], object]) -> None:
        """Call `deed` whenever `descriptor` is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, deed)

    def on_write(self, descriptor: int, deed: Callable[[], object]) -> None:
        """Call `deed` whenever `descriptor` is writable."""
        self._selector.register(descriptor, selectors.EVENT_WRITE, deed)

    def want(self, descriptor: int, deed: Callable[[], object], writing: bool) -> None:
        """Change an `on_read` descriptor to be called when writable too, or no longer."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writing else 0)
        self._selector.modify(descriptor, events, deed)

    def forget(self, descriptor: int) -> None:
        """Stop calling back for `descriptor`; do so before closing it."""
        self._selector.unregister(descriptor)

    def run(self) -> None:
        """Go round until `over` is set."""
        while not self.over:
            for key, _ in self._selector.select(self._wait_s()):
                # A callback earlier in this round may have forgotten this descriptor.
                if self._selector.get_map().get(key.fd) is key:
                    _guarded(key.data)
            self._run_timers()
            _guarded(self.commit)

    def _wait_s(self) -> float | None:
        while self._timers and self._timers[0].deed is None:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].due - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].due <= now:
            deed = heapq.heappop(self._timers).deed
            if deed is not None:
                _guarded(deed)


def say(text: str) -> None:
    """Write one line to the keeper's own log."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        os.write(2, f"{stamp} keeper[{os.getpid()}] {text}\n".encode(errors="replace"))
    except OSError:
        pass  # a full disk under the log must not stop the reflexes


def _guarded(deed: Callable[[], object]) -> None:
    try:
        deed()
    except Exception:
        # A keeper that goes on is worth more than one that stops at its first mistake: log it whole.
        import traceback

        say(traceback.format_exc())
