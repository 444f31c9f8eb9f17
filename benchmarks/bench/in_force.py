"""Which routes Envoy runs and since when, by its own counters; watched from outside, all the time."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

LOOK_S = 0.03
TARGET = f"/stats?format=json&filter={quote('^http[.]ingress[.]rds[.]')}"


class InForce:
    """``since``: version of a plan -> epoch milliseconds at which Envoy took its routes over.

    Source: Envoy's subscription statistics; ``update_time`` is when the newest update succeeded, so the
    beat of looking does not blur it. ``versions`` are those seen, in their order.
    """

    def __init__(self, admin: Path) -> None:
        self._admin = admin
        self._over = threading.Event()
        self.since: dict[int, int] = {}
        self.versions: list[int] = []

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(10)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_S):
            with suppress(OSError, ValueError, HTTPException):
                self._look()

    def _look(self) -> None:
        named = {one["name"].rpartition(".")[2]: one["value"] for one in self._ask() if "name" in one}
        number = str(named.get("version_text", "")).partition("-")[0]
        if not number.isdecimal() or not named.get("update_time"):
            return
        version = int(number)
        if not self.versions or self.versions[-1] != version:
            self.versions.append(version)
            self.since.setdefault(version, int(named["update_time"]))

    def _ask(self) -> list[dict[str, object]]:
        connection = _Admin(self._admin)
        try:
            connection.request("GET", TARGET)
            found: list[dict[str, object]] = json.load(connection.getresponse())["stats"]
            return found
        finally:
            connection.close()


class _Admin(HTTPConnection):
    """HTTP over Envoy's admin socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("envoy", timeout=2.0)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
