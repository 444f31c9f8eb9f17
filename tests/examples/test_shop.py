"""The example shop works by itself, since the demo and the benchmarks stand on it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, program: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [sys.executable, program]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **environment, "PORT": str(port)})
    try:
        wait_until_open(port)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.kill()
        process.wait()


def wait_until_open(port: int, deadline_s: float = 10) -> None:
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, "the service did not open its port"
            time.sleep(0.01)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A copy of the shop with all three services up: (folder, the storefront's address)."""
    folder = tmp_path / "shop"
    shutil.copytree(EXAMPLES / "shop", folder, ignore=shutil.ignore_patterns("__pycache__"))
    with ExitStack() as stack:
        payments, _ = stack.enter_context(serving(folder, "payments.py"))
        catalog, _ = stack.enter_context(serving(folder, "catalog.py", PAYMENTS_URL=payments))
        storefront, _ = stack.enter_context(serving(folder, "storefront.py", CATALOG_URL=catalog))
        yield folder, storefront


def test_a_shopper_sees_the_catalogue_and_orders_through_all_three(shop: tuple[Path, str]) -> None:
    """A page or order that stopped at the first service would prove nothing about `dependsOn`."""
    _, address = shop
    with urllib.request.urlopen(address + "/", timeout=5) as page:
        assert page.headers["X-App"] == "shop"
        assert page.headers["X-App-Version"] == "1"
        assert b"kettle: 39.00" in page.read()
    with urllib.request.urlopen(address + "/orders", data=b"item=tea", timeout=5) as order:
        assert order.status == 201
        assert b'"charge": "ch_' in order.read()


def test_one_changed_line_makes_the_bad_version(shop: tuple[Path, str]) -> None:
    """The demo's v3 must break one request in five and still pass its own tests."""
    folder, _ = shop
    (folder / "version.py").write_text('VERSION = "3"\nFAIL_ONE_IN = 5\n')
    with serving(folder, "payments.py") as (payments, _), ExitStack() as stack:
        catalog, _ = stack.enter_context(serving(folder, "catalog.py", PAYMENTS_URL=payments))
        address, _ = stack.enter_context(serving(folder, "storefront.py", CATALOG_URL=catalog))
        statuses = [status_of(address + "/") for _ in range(20)]
    assert statuses.count(500) == 4
    assert statuses.count(200) == 16
    assert run_the_tests(folder).returncode == 0


def test_the_shops_own_tests_pass_and_are_counted(shop: tuple[Path, str]) -> None:
    """The pipeline reads this file; a runner that wrote nothing would count as no tests."""
    folder, _ = shop
    result = run_the_tests(folder)
    assert result.returncode == 0, result.stderr.decode()
    suite = ElementTree.parse(folder / "test-results" / "junit.xml").getroot()
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase")) >= 20
    assert (suite.attrib["failures"], suite.attrib["errors"]) == ("0", "0")


def test_a_failing_test_fails_the_run_and_is_written_down(shop: tuple[Path, str]) -> None:
    """A build that cannot fail protects nobody."""
    folder, _ = shop
    (folder / "payments.py").write_text((folder / "payments.py").read_text().replace("201", "200"))
    assert run_the_tests(folder).returncode == 1
    suite = ElementTree.parse(folder / "test-results" / "junit.xml").getroot()
    assert suite.findall("testcase/failure")


def test_sigterm_ends_a_service_with_exit_code_zero(shop: tuple[Path, str]) -> None:
    """A drained replica that exits with an error would look like a crash."""
    folder, _ = shop
    with serving(folder, "payments.py") as (_, process):
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_hello_answers() -> None:
    """It is the first thing a newcomer copies."""
    with serving(EXAMPLES / "hello", "server.py") as (address, _):
        assert status_of(address + "/") == 200


def status_of(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return int(error.code)


def run_the_tests(folder: Path) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "tests.junit"]
    return subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
