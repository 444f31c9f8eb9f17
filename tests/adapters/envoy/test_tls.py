"""TLS at the ingress of a real Envoy: hosts, renewals, what cannot be used, the way from plain HTTP."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest
from cryptography import x509

from poise.adapters.clock import SystemClock
from poise.adapters.envoy.adapter import EnvoyTraffic
from poise.adapters.envoy.tending import IngressTending
from poise.adapters.memory import MemoryStore
from poise.model.errors import Conflict
from poise.model.ingress import Certificate, Pair
from poise.spec.problems import Problems

from .authority import Authority
from .conftest import Machine, free_port
from .h2_peers import call

pytestmark = pytest.mark.anyio
HOST = "shop.localhost"
AUTHORITY = Authority()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Ingress:
    """The machine with a tended ingress."""

    def __init__(self, machine: Machine, files: Path) -> None:
        self.machine, self.files, self.https = machine, files, free_port()
        self.traffic, self.store = EnvoyTraffic(machine.data), MemoryStore()
        self.tending = IngressTending(machine.data, self.traffic, self.store, SystemClock(), lambda: None)

    def declare(self, *pairs: Pair, redirect: bool = False) -> None:
        listed = "".join(f"    - {{certFile: {p.certificate_file}, keyFile: {p.key_file}}}\n" for p in pairs)
        (self.machine.data / "ingress.yaml").write_text(
            "apiVersion: poise.dev/v1\nkind: Ingress\nspec:\n  https:\n"
            f"    port: {self.https}\n    redirect: {str(redirect).lower()}\n    certificates:\n{listed}"
        )

    async def certificates(self) -> dict[str, Certificate]:
        found, _ = await self.store.scan(Certificate)
        return {Path(one.file).stem: one for one in found}


@pytest.fixture
async def ingress(machine: Machine, serve: Callable[[str], int], tmp_path: Path) -> Ingress:
    made = Ingress(machine, tmp_path)
    machine.endpoints(1, serve("one"))
    await made.traffic.apply(machine.plan(1, {1: 100}, (1,)))
    return made


class User:
    """One connection with TLS; ``serial`` is the number of the certificate that it was shown."""

    def __init__(self, port: int, host: str = HOST, context: ssl.SSLContext | None = None) -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket = (context or AUTHORITY.context()).wrap_socket(raw, server_hostname=host)
        shown = self.socket.getpeercert(binary_form=True)
        assert shown is not None
        self.serial = x509.load_der_x509_certificate(shown).serial_number

    def get(self, host: str = HOST) -> bytes:
        self.socket.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(self.socket)
        answer.begin()
        return answer.read()


def shown(port: int, host: str = HOST) -> int:
    user = User(port, host)
    user.socket.close()
    return user.serial


async def until_shown(port: int, serial: int) -> None:
    with anyio.fail_after(20):
        while shown(port) != serial:
            await anyio.sleep(0.02)


async def test_each_host_gets_its_own_certificate_and_both_protocols(ingress: Ingress) -> None:
    """Several hosts share one port; a browser asks for HTTP/2 by ALPN."""
    one, first = AUTHORITY.issue(ingress.files, HOST, stem="one")
    two, second = AUTHORITY.issue(ingress.files, "*.example.org", HOST, stem="two")
    ingress.declare(one, two)
    await ingress.tending.look()
    assert shown(ingress.https) == first and shown(ingress.https, "a.example.org") == second
    user = User(ingress.https, context=AUTHORITY.context("http/1.1"))
    assert user.get() == b"one" and user.socket.version() == "TLSv1.3"
    user.socket.close()
    with call(ingress.https, HOST, AUTHORITY.context("h2", "http/1.1")) as asked:
        assert asked.socket.selected_alpn_protocol() == "h2"  # type: ignore[union-attr]
        asked.begin("GET", "/", end=True)
        assert asked.hear() == b"one"


async def test_nothing_older_than_tls_1_2_is_spoken(ingress: Ingress) -> None:
    """TLS 1.0 and 1.1 are deprecated (RFC 8996)."""
    pair, _ = AUTHORITY.issue(ingress.files, HOST)
    ingress.declare(pair)
    await ingress.tending.look()
    context = AUTHORITY.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    user = User(ingress.https, context=context)
    assert user.socket.version() == "TLSv1.2"
    user.socket.close()
    old = AUTHORITY.context()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        User(ingress.https, context=old)


async def test_a_renewed_certificate_is_taken_up_and_no_connection_ends(ingress: Ingress) -> None:
    """Renewals come every few weeks; nobody should notice one."""
    pair, first = AUTHORITY.issue(ingress.files, HOST)
    ingress.declare(pair)
    await ingress.tending.look()
    user = User(ingress.https)
    assert user.serial == first and user.get() == b"one"
    _, second = AUTHORITY.issue(ingress.files, HOST)
    await ingress.tending.look()
    await until_shown(ingress.https, second)
    assert user.get() == b"one"
    another, third = AUTHORITY.issue(ingress.files, "other.example.org", stem="other")
    ingress.declare(pair, another)
    await ingress.tending.look()
    with anyio.fail_after(20):
        while shown_or_none(ingress.https, "other.example.org") != third:
            await anyio.sleep(0.02)
    assert user.get() == b"one"
    user.socket.close()


def shown_or_none(port: int, host: str) -> int | None:
    try:
        return shown(port, host)
    except ssl.SSLCertVerificationError:
        return None


async def test_what_cannot_be_used_is_told_and_the_last_good_one_serves(ingress: Ingress) -> None:
    """A renewal that went wrong must not take the site down, not even over a restart of Envoy."""
    pair, first = AUTHORITY.issue(ingress.files, HOST)
    ingress.declare(pair)
    await ingress.tending.look()
    kept = Path(pair.key_file).read_bytes()
    _, second = AUTHORITY.issue(ingress.files, HOST)
    fresh = Path(pair.key_file).read_bytes()
    Path(pair.key_file).write_bytes(kept)  # the certificate is renewed, its key not yet
    await ingress.tending.look()
    told = (await ingress.certificates())["tls"]
    assert "POISE-F313" in told.problem and pair.key_file in told.problem and told.expires_at is not None
    assert shown(ingress.https) == first
    ingress.machine.restart()
    with anyio.fail_after(20):
        while await ingress.traffic.observe() is None:
            await anyio.sleep(0.02)
    await until_shown(ingress.https, first)
    Path(pair.key_file).write_bytes(fresh)
    await ingress.tending.look()
    await until_shown(ingress.https, second)
    assert (await ingress.certificates())["tls"].problem == ""


async def test_one_broken_certificate_leaves_the_other_hosts_alone(ingress: Ingress) -> None:
    """And who comes without TLS is sent there only while something serves there."""
    good, first = AUTHORITY.issue(ingress.files, HOST, stem="good")
    missing = Pair(certificate_file="/nowhere/a.pem", key_file="/nowhere/b.pem")
    ingress.declare(missing, redirect=True)
    await ingress.tending.look()
    assert plain(ingress.machine.ingress)[0] == 200
    ingress.declare(missing, good, redirect=True)
    await ingress.tending.look()
    assert shown(ingress.https) == first
    assert plain(ingress.machine.ingress, "/cart?id=3") == (308, f"https://{HOST}:{ingress.https}/cart?id=3")
    assert "/nowhere/a.pem" in (await ingress.certificates())["a"].problem


def plain(port: int, path: str = "/") -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("POST", path, headers={"Host": f"{HOST}:{port}"})
    answer = connection.getresponse()
    found = answer.status, answer.headers.get("location")
    connection.close()
    return found


async def test_a_plan_keeps_the_doors_and_closing_them_forgets_the_keys(ingress: Ingress) -> None:
    """A release must not take TLS away; a key that is not declared any more is not kept."""
    pair, first = AUTHORITY.issue(ingress.files, HOST)
    ingress.declare(pair)
    await ingress.tending.look()
    [secret] = (ingress.machine.data / "envoy" / "sds").iterdir()
    assert secret.stat().st_mode & 0o777 == 0o600
    fresh = EnvoyTraffic(ingress.machine.data)  # another process, that has not looked yet
    await fresh.apply(ingress.machine.plan(2, {1: 100}, (1,)))
    assert shown(ingress.https) == first
    (ingress.machine.data / "ingress.yaml").unlink()
    await ingress.tending.look()
    assert not secret.exists() and not await ingress.certificates()
    with anyio.fail_after(20), pytest.raises(OSError):
        while True:
            socket.create_connection(("127.0.0.1", ingress.https), timeout=20).close()
            await anyio.sleep(0.02)


async def test_a_file_with_a_mistake_changes_nothing(ingress: Ingress) -> None:
    """It says where; what served goes on."""
    pair, first = AUTHORITY.issue(ingress.files, HOST)
    ingress.declare(pair)
    await ingress.tending.look()
    path = ingress.machine.data / "ingress.yaml"
    path.write_text(path.read_text().replace("keyFile", "keyfile"))
    with pytest.raises(Problems, match=r"ingress\.yaml:8:\d+"):
        await ingress.tending.look()
    assert shown(ingress.https) == first


async def test_a_port_that_is_taken_is_told_and_plain_http_goes_on(ingress: Ingress) -> None:
    """Envoy refuses the listener; users without TLS must not be sent to it."""
    pair, first = AUTHORITY.issue(ingress.files, HOST)
    with socket.create_server(("127.0.0.1", ingress.https)):
        ingress.declare(pair, redirect=True)
        with pytest.raises(Conflict):
            await ingress.tending.look()
        assert plain(ingress.machine.ingress)[0] == 200
    await ingress.tending.look()
    await until_shown(ingress.https, first)
