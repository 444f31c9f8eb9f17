"""The load generator as a process of its own: nothing that a benchmark does slows its schedule."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from types import TracebackType
from typing import Any, Self

from bench.report import Unmeasured

PATIENCE_S = 30.0


class Loading:
    """Requests to one host through the ingress while the block runs; ``total`` is filled when it ends.

    ``windows``: (monotonic instant it ended, what happened in that second), ascending.
    """

    def __init__(self, ingress_port: int, host: str, rate_per_s: float, post_percent: int = 20) -> None:
        self._command = [sys.executable, "-m", "poise.adapters.load", "--json", "--seconds", "7200"]
        self._command += ["--url", f"http://127.0.0.1:{ingress_port}/", "--host", host]
        self._command += ["--rate", str(rate_per_s), "--post-percent", str(post_percent)]
        self.windows: list[tuple[float, dict[str, Any]]] = []
        self.total: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        if not self.total and kind is None:
            raise Unmeasured("the load generator gave no result")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            if "window" in said:
                self.windows.append((time.monotonic(), said["window"]))
            else:
                self.total = said["total"]

    def sum(self, field: str, since: float, until: float) -> int:
        """A count over the windows that ended in (since, until + 1 s], monotonic instants."""
        return sum(int(window[field]) for at, window in list(self.windows) if since < at <= until + 1.0)

    def settle(self) -> None:
        """Wait until the window that holds this instant is over."""
        now = time.monotonic()
        deadline = now + PATIENCE_S
        while time.monotonic() < deadline:
            if self.windows and self.windows[-1][0] > now + 0.01:
                return
            time.sleep(0.02)
        raise Unmeasured("the load generator went silent")
