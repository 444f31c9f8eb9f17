"""A tiny server of sample pages and one chromium, for the browser tests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, sync_playwright

from poise.web import assets

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


class Site:
    """Pages by path, streams by path, and what was posted; all of it the test's own."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.streams: dict[str, list[tuple[str, str]]] = {}
        self.changed = threading.Event()
        self.closing = threading.Event()
        self.posted: list[tuple[str, dict[str, str]]] = []
        self.followed: list[str] = []
        self.url = ""


def load_samples() -> ModuleType:
    """samples.py, which is no package's module."""
    spec = spec_from_file_location("samples", Path(__file__).with_name("samples.py"))
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = urlsplit(self.path).path
            found = (
                assets.lookup(path.removeprefix(assets.PREFIX)) if path.startswith(assets.PREFIX) else None
            )
            if found is not None:
                self.reply(200, *found)
            elif path.startswith("/api/v1/"):
                site.followed.append(self.path)
                self.stream(site.streams.get(path))
            elif path in site.pages:
                self.reply(200, site.pages[path].encode(), "text/html; charset=utf-8")
            elif (
                path == "/favicon.ico"
            ):  # asked for by the browser itself when it has time, of a page without one
                self.reply(204, b"", "image/x-icon")
            else:
                self.reply(404, b"", "text/plain")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            site.posted.append((self.path, dict(parse_qsl(body))))
            self.reply(200, b"<!doctype html><html lang=en><title>done</title><p>done", "text/html")

        def stream(self, messages: list[tuple[str, str]] | None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b": open\n\n")
            for name, data in messages or []:
                self.wfile.write(f"event: {name}\ndata: {data}\n\n".encode())
            while messages is None and not site.closing.is_set():
                if site.changed.wait(0.05):
                    site.changed.clear()
                    self.wfile.write(b'event: changed\ndata: {"sequence": 4813}\n\n')

        def reply(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            for name, value in assets.SECURITY_HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Tests say what failed themselves."""

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that leaves in the middle of a stream is no error."""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    with _Server(("127.0.0.1", 0), _handler(site)) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")  # its event loop must be gone before tests of other modules run theirs
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.fail(f"{CHROMIUM} is missing: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A desktop reader in Lisbon's winter time, which is UTC, so that pictures repeat."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 1000}, timezone_id="Europe/Lisbon", locale="en-GB"
    )
    try:
        yield context
    finally:
        context.close()


@pytest.fixture
def axe_source() -> str:
    import axe_playwright_python

    return (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def samples() -> ModuleType:
    return load_samples()
