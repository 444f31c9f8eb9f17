"""A house with every face and no keeper: the real store, the real pages, and tokens of every role."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

from bench.engines import Docker, Engine, Podman
from bench.report import Unmeasured

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.testing import TestClient
    from litestar.types import ControllerRouterHandler

    from poise.adapters.sqlite.store import SqliteStore
    from poise.api.parts import Parts

# a busy machine is no finding: nothing in these tests is measured in time
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


REAL_PARTS = ("adapters/envoy", "adapters/load", "e2e", "fleet", "keeper")
"""Folders whose tests start Envoy, keepers and workloads on ports of the machine."""
ENGINES = {"engine", "runtime"}
"""Fixtures that start podman or docker."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests stay together where two processes share them: those of a file, and all with real parts.

    These take fixed ports, and podman numbers its locks across all storages: two at once get in one
    another's way.
    """
    here = Path(__file__).parent
    for item in items:
        folder = item.path.parent.relative_to(here).as_posix()
        is_real = folder.startswith(REAL_PARTS) or not ENGINES.isdisjoint(getattr(item, "fixturenames", ()))
        item.add_marker(pytest.mark.xdist_group("machine" if is_real else item.path.as_posix()))


Chosen = TypeVar("Chosen", bound=Engine)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROLES = ("viewer", "developer", "operator", "admin")


class FixedClock:
    """Stands until told to move."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> datetime:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(min(seconds, 0.01))


class NoKeeper:
    """A runtime that answers nothing."""

    async def list(self) -> list[Any]:
        raise ConnectionError("no keeper here")


@dataclass
class House:
    """The parts, the app over them, and a credential for each kind of asker."""

    data: Path
    clock: FixedClock
    store: SqliteStore
    parts: Parts
    stops: list[str]
    credentials: dict[str, str] = field(default_factory=dict)

    def app(self, *more: ControllerRouterHandler) -> Litestar:
        from poise.api import first, git
        from poise.api.server import make_server
        from poise.web import routes, sign_in

        app = make_server(self.parts, [*first.ROUTES, *git.ROUTES, *routes.ROUTES, *more], sign_in.refused)
        assert self.parts.telemetry is not None
        app.on_shutdown.append(self.parts.telemetry.close)
        return app

    trace_id = f"{0xABC:032x}"
    evil = '<script>alert("x")</script>'  # in names, bodies and attributes of what is sent

    def send_telemetry(self, client: TestClient[Litestar]) -> None:
        """A trace of two services with an error and a record, and two short ones, as of now."""
        from poise.model.telemetry import SECOND_NS, LogRecord, Span, SpanStatus

        now, evil, owner = int(self.clock.now().timestamp()) * SECOND_NS, self.evil, self.parts.telemetry
        begin, mine = now - SECOND_NS, {"trace_id": self.trace_id}
        cart = Span(**mine, span_id="1" * 16, name="GET /cart", service="shop", start_ns=begin,
                    duration_ns=SECOND_NS)  # fmt: skip
        stock = Span(**mine, span_id="2" * 16, parent_id="1" * 16, name=evil, service="stock", message=evil,
                     start_ns=begin + 10, duration_ns=SECOND_NS // 2, status=SpanStatus.ERROR,
                     attributes={evil: evil})  # fmt: skip
        short = [Span(trace_id=f"{n:032x}", span_id="3" * 16, name="GET /", service="shop", start_ns=now - n)
                 for n in (1, 2)]  # fmt: skip
        failed = LogRecord(at_ns=now - 5, service="stock", severity=17, body=f"no 7 {evil}", **mine)
        went = LogRecord(at_ns=now - 6, service="shop", severity=9, body="cart of 9")

        async def send() -> None:
            assert owner is not None
            await owner.append_spans([cart, stock, *short])
            await owner.append_records([failed, went])

        with client.portal() as portal:
            portal.call(send)

    def write(self, *bodies: Any, at: datetime = NOW) -> None:
        """Store objects under their own keys, each with an event."""
        from poise.model.record import Event, Write
        from poise.ports.store import Transaction

        keys = [getattr(body, "key", None) or body.name for body in bodies]
        pairs = list(zip(keys, bodies, strict=True))
        writes = [Write(kind=type(body).__name__, key=key, body=body) for key, body in pairs]
        events = [Event(type="dev.poise.test", subject=f"{key}/", summary=f"wrote {key}") for key in keys]
        anyio.run(self.store.commit, Transaction(at=at, writes=writes, events=events))

    def mint(self, principal: str, ttl: timedelta = timedelta(hours=1), **how: Any) -> str:
        """A stored credential of a principal."""
        from msgspec.structs import replace

        from poise.api.access import mint

        revoked = how.pop("revoked", False)
        credential, token = mint(principal, self.clock.now(), ttl, **how)
        self.write(replace(token, revoked=revoked))
        return credential


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = _house(tmp_path / "data")
    _people(made)
    _things(made)
    yield made
    anyio.run(made.store.close)
    anyio.run(made.parts.signals.close)


@pytest.fixture
def headers(house: House) -> Callable[..., dict[str, str]]:
    """Headers of a request by one kind of asker."""

    def of(who: str = "admin", **more: str) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in more.items()}
        return {"authorization": f"Bearer {house.credentials[who]}", **named}

    return of


def _house(data: Path) -> House:
    from poise.adapters.artifacts import FolderArtifacts
    from poise.adapters.bill.folder import FolderBills
    from poise.adapters.blocks import BlockStore
    from poise.adapters.git.repositories import GitRepositories
    from poise.adapters.masking import Masker
    from poise.adapters.scrape.scraper import Scraper
    from poise.adapters.sealing import Sealer, secret_key
    from poise.adapters.secrets import NamedSecrets
    from poise.adapters.signing import KeyFile, fits
    from poise.adapters.sqlite.store import SqliteStore
    from poise.adapters.telemetry import TelemetryOwner
    from poise.adapters.totals.store import StoredTotals
    from poise.api import first
    from poise.api.intakes import Intakes
    from poise.api.parts import Parts
    from poise.delivery.provenance.deeds import Verifier
    from poise.delivery.source.controller import SourceController
    from poise.engine.loop import Loop

    for name in ("run", "logs", "repos"):
        (data / name).mkdir(parents=True)
    clock, stops = FixedClock(), []
    store = SqliteStore(data / "poise.db")
    sealer = Sealer(secret_key(data))
    masker = Masker(sealer)
    store.mask_with(masker.transaction)
    repositories = GitRepositories(data / "repos")
    metrics, intakes = BlockStore(data / "metrics.db"), Intakes()
    secrets = NamedSecrets(store, sealer.unseal)
    signing_key, releases = first.signing_key(data), FolderArtifacts(data / "releases")
    parts = Parts(
        data=data,
        store=store,
        signals=StoredTotals(data / "signals.db"),
        metrics=metrics,
        intakes=intakes,
        scraper=Scraper(store, metrics, clock, secrets, intakes.count),
        clock=clock,
        loop=Loop(store, clock, (), {}, "test"),
        repositories=repositories,
        telemetry=TelemetryOwner(data),
        runtime=NoKeeper(),  # type: ignore[arg-type]
        source=SourceController(store, repositories),
        signing_key=signing_key,
        key_file=KeyFile(data),
        verifier=Verifier(store, releases, fits, signing_key),
        bills=FolderBills(data / "releases"),
        sealer=sealer,
        masker=masker,
        ingress_port=8080,
        stop=lambda: stops.append("stop"),
    )
    return House(data=data, clock=clock, store=store, parts=parts, stops=stops)


def _people(house: House) -> None:
    """Every role in ``shop``, an admin of another project, one of everything, and broken credentials."""
    from poise.model.access import Principal, Role

    people = {role: {"shop": Role(role)} for role in ROLES}
    people |= {"other-admin": {"other": Role.ADMIN}, "owner": {"*": Role.ADMIN}, "nobody": {}}
    for name, roles in people.items():
        house.write(Principal(name=name, roles=roles))
        house.credentials[name] = house.mint(name)
    house.credentials["garbage"] = "poise_abcdef_" + "0" * 64
    house.credentials["revoked"] = house.mint("owner", revoked=True)
    house.credentials["expired"] = house.mint("owner", timedelta(seconds=-1))
    house.credentials["spent-link"] = house.mint("owner", once=True, revoked=True)


def _things(house: House) -> None:
    """One declared service with a run, so that reading routes have something to answer."""
    from poise.model.delivery import Run
    from poise.model.objective import IndicatorKind, Objective
    from poise.model.service import Project, Service

    web = Service(
        project="shop", environment="production", name="web", command="run", port=80, hostname="web.localhost"
    )
    goal = Objective(
        service=web.key, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=0.999
    )
    run = Run(project="shop", n=1, commit="c" * 40, branch="main", workflow="ci", created_at=NOW)
    house.write(Project(name="shop"), Project(name="other"), web, goal, run)


@pytest.fixture
def served(house: House) -> Iterator[str]:
    """The same app behind a real socket; its address is announced in the data folder."""
    import socket
    import threading
    import time

    import msgspec
    import uvicorn

    from poise.api.views import Address

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        port = listener.getsockname()[1]
        config = uvicorn.Config(
            house.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1, ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.005)
        address = Address(url=f"http://127.0.0.1:{port}", ingress_port=8080, pid=0)
        (house.data / "run" / "api.json").write_bytes(msgspec.json.encode(address))
        yield address.url
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="session")
def podman() -> Iterator[Podman]:
    """Skipped where it, a static busybox or the right to mount is missing."""
    yield from engine_of(Podman)


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """A daemon of our own; skipped where it, a static busybox or the right to mount is missing."""
    yield from engine_of(Docker)


def engine_of(kind: type[Chosen]) -> Iterator[Chosen]:
    try:
        made = kind.here()
    except Unmeasured as missing:
        pytest.skip(str(missing))
    yield made
    made.close()


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Each engine, as the one that keepers started from now on use."""
    made: Engine = request.getfixturevalue(request.param)
    monkeypatch.setenv("POISE_CONTAINER_ENGINE", made.name)
    return made


@pytest.fixture
def httpd_image(engine: Engine) -> str:
    """An image that serves its name on $PORT and ends at SIGTERM."""
    return engine.httpd()
