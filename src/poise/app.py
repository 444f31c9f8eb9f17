"""The only place where parts are wired.

``serve_forever`` builds the house: store, keeper, Envoy, every room's controller, the loop, the front door.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec
import structlog
import uvicorn
from msgspec import Struct

from poise import __version__
from poise.adapters import interpreter, probe
from poise.adapters.artifacts import FolderArtifacts
from poise.adapters.bill.folder import FolderBills
from poise.adapters.blackbox import BlackboxProber
from poise.adapters.blocks import BlockStore
from poise.adapters.clock import SystemClock
from poise.adapters.disk import DataDisk
from poise.adapters.envoy.adapter import EnvoyTraffic
from poise.adapters.envoy.config import endpoint_file
from poise.adapters.envoy.launch import ensure_envoy
from poise.adapters.envoy.tending import IngressTending
from poise.adapters.git.repositories import GitRepositories
from poise.adapters.host import HostMetrics
from poise.adapters.images import EngineImages
from poise.adapters.keeper import KeeperClient, ensure_keeper
from poise.adapters.keeper.proc import boot_id, start_ticks
from poise.adapters.masking import Masker
from poise.adapters.notify.smtp import SmtpNotifier, settings_from
from poise.adapters.notify.webhook import WebhookNotifier, webhook_secret
from poise.adapters.output.retention import OutputTending
from poise.adapters.prometheus.sources import DataSources
from poise.adapters.promql.checking import expression_fault
from poise.adapters.regex import matching
from poise.adapters.scrape.scraper import Scraper
from poise.adapters.sealing import Sealer, secret_key
from poise.adapters.secrets import NamedSecrets
from poise.adapters.signing import KeyFile, fits
from poise.adapters.sinks import HttpSink
from poise.adapters.sqlite.store import SqliteStore
from poise.adapters.telemetry import TelemetryOwner
from poise.adapters.telemetry.limits import retention_from
from poise.adapters.totals import StoredCheckpoints, StoredTotals
from poise.adapters.usage import UsageSampler
from poise.adapters.worker.asking import AskedRange, AskedRules, AskedUsual
from poise.adapters.worker.pool import QueryWorker
from poise.adapters.workspaces import FolderWorkspaces
from poise.api import first
from poise.api import git as git_face
from poise.api.intakes import Intakes
from poise.api.keys import ensure_key
from poise.api.parts import Parts
from poise.api.seals import credential_of
from poise.api.server import make_server
from poise.api.views import Address
from poise.balance.budget.controller import BudgetController
from poise.balance.burn.watch import BurnWatch
from poise.balance.gate.controller import GateController
from poise.balance.indicator.shaping import Shaping
from poise.balance.ledger.controller import LedgerController
from poise.balance.policy.controller import PolicyController
from poise.delivery.announce.controller import AnnounceController
from poise.delivery.announce.deeds import Announcer
from poise.delivery.branch_preview.controller import BranchPreviewController
from poise.delivery.infrastructure.controller import InfrastructureController
from poise.delivery.infrastructure.drifting import DriftController
from poise.delivery.pipeline.attesting import Attester, Installation
from poise.delivery.pipeline.controller import PipelineController
from poise.delivery.pipeline.deeds import JobRunner, Packer
from poise.delivery.provenance.deeds import Verifier
from poise.delivery.rollout.controller import RolloutController
from poise.delivery.rollout.prober import Prober as SilenceProber
from poise.delivery.source.controller import SourceController
from poise.delivery.source.deeds import BranchFetcher
from poise.engine.controller import Controller, Performer
from poise.engine.housekeeping import Housekeeping
from poise.engine.lag import LoopLag
from poise.engine.limits import LEASE_RENEW_S
from poise.engine.loop import Loop, contain
from poise.engine.query_reader import QueryReader
from poise.engine.reader import Reader
from poise.engine.recorder import Recorder
from poise.engine.ruler import Ruler
from poise.fleet.controller import FleetController
from poise.fleet.deeds import RestartPerformer, SpawnPerformer, StopPerformer, TrafficPerformer
from poise.fleet.prober import Prober
from poise.model import acts
from poise.model.errors import Conflict, PoiseError
from poise.model.oncall import ContactKind
from poise.model.signal import Batch
from poise.ports.notifier import Notifier
from poise.reliability.cause.controller import CauseController
from poise.reliability.detection.controller import DetectionController
from poise.reliability.healing.controller import HealingController
from poise.reliability.incident.controller import GroupingController, IncidentController
from poise.reliability.paging.controller import DisputeController, PagingController
from poise.reliability.paging.deeds import PagePerformer
from poise.reliability.review.controller import ReviewController
from poise.reliability.rules.controller import RulesController
from poise.reliability.scaling.controller import ScalingController
from poise.web import routes as pages
from poise.web import sign_in

log = structlog.get_logger()

FOLDERS = ("run", "logs", "repos", "releases", "workspaces", "envoy")
KEEPER_PATIENCE_S = 0.2  # for so long a silent keeper may be one that is being upgraded


class Config(Struct, frozen=True, kw_only=True):
    """What differs between two houses on one machine."""

    data: Path
    port: int = 8700
    ingress_port: int = 8080
    read_period_s: float = 1.0


class House:
    """Every part of one installation, made in order of dependence."""

    def __init__(self, config: Config) -> None:
        data = config.data
        self.config = config
        self.clock = SystemClock()
        self.sealer = Sealer(secret_key(data))
        self.masker = Masker(self.sealer)
        self.store = SqliteStore(data / "poise.db")
        self.store.mask_with(self.masker.transaction)
        self.signals = StoredTotals(data / "signals.db")
        self.checkpoints = StoredCheckpoints(data / "signals.db")
        self.metrics = BlockStore(data / "metrics.db")
        self.queries = QueryWorker(data / "metrics.db")
        self.telemetry = TelemetryOwner(data, retention_from(os.environ))
        self.recorder = Recorder(self.metrics, self.clock)
        self.host = HostMetrics(self.metrics, self.clock)
        self.blackbox = BlackboxProber(self.store, self.metrics, self.clock)
        self.intakes = Intakes()
        named = NamedSecrets(self.store, self.sealer.unseal)
        self.scraper = Scraper(self.store, self.metrics, self.clock, named, self.intakes.count)
        self.loop_lag = LoopLag()
        self.sources = DataSources(self.store, self.sealer.unseal, self.metrics)
        self.query_reader = QueryReader(self.store, self.signals, self.sources.of, self.clock, matching)
        self.repositories = GitRepositories(data / "repos")
        self.artifacts = FolderArtifacts(data / "releases")
        self.workspaces = FolderWorkspaces(data / "workspaces", data / "logs")
        self.output = OutputTending(data, self.store, self.clock)
        self.runtime = KeeperClient(data)
        self.keeper_watch = KeeperClient(data, patience_s=KEEPER_PATIENCE_S)
        self.traffic = EnvoyTraffic(data)
        self.signing_key = first.signing_key(data)
        self.key_file = KeyFile(data)
        self.bills = FolderBills(data / "releases")
        self.verifier = Verifier(self.store, self.artifacts, fits, self.signing_key)
        self.url = os.environ.get("POISE_URL", "").rstrip("/") or f"http://127.0.0.1:{config.port}"
        told = (
            WebhookNotifier(webhook_secret(self.signing_key)),
            SmtpNotifier(settings_from(os.environ)),
        )
        self.notifiers: dict[ContactKind, Notifier] = {one.kind: one for one in told}
        self.prober = Prober(probe.LoopbackProbe(), probe.stopped, lambda key: self.loop.wake("fleet", key))
        self.silence_prober = SilenceProber(probe.LoopbackProbe())
        self.fleet = FleetController(self.store, self.runtime, self.traffic, self.prober, probe.fixed_port)
        self.source = SourceController(self.store, self.repositories)
        self.budget = self._budget()
        self.loop = Loop(
            self.store, self.clock, self._controllers(), self._performers(), holder(), on_mistake=contain
        )
        self.ingress = IngressTending(data, self.traffic, self.store, self.clock, self._fence)
        self.rule_worker = QueryWorker(data / "metrics.db", workers=1)  # a dashboard delays no alert
        self.ruler = Ruler(
            self.store, self.metrics, AskedRules(self.rule_worker), self.clock, self._fence, self.url
        )
        self.reader = Reader(
            self.traffic,
            self.signals,
            self.clock,
            self._measured,
            config.read_period_s,
            UsageSampler(self.store, self.clock).samples,
        )

    def _controllers(self) -> list[Controller]:
        store = self.store
        return [
            self.source,
            InfrastructureController(store, self.repositories, expression_fault),
            DriftController(store, self.repositories, DataDisk(self.config.data), self.runtime),
            PipelineController(store, self.repositories, self.workspaces),
            BranchPreviewController(store, self.repositories),
            RolloutController(store, self.signals, self.silence_prober),
            GateController(store, self.signing_key),
            PolicyController(store),
            self.budget,
            LedgerController(store),
            HealingController(store),
            ScalingController(store, self.signals),
            DetectionController(store),
            RulesController(store),
            GroupingController(store),
            IncidentController(store),
            CauseController(store, self.signals, AskedUsual(self.queries)),
            ReviewController(store, self.signals),
            PagingController(store),
            DisputeController(store),
            AnnounceController(store),
            self.fleet,
            Housekeeping(store),
        ]

    def _budget(self) -> BudgetController:
        return BudgetController(
            self.store,
            self.signals,
            problem_of=self.query_reader.problem,
            interpolated_of=self.query_reader.is_interpolated,
            shaper=Shaping,
            observers=(BurnWatch(),),
            checkpoints=self.checkpoints,
        )

    def _performers(self) -> Mapping[type, Performer]:
        store, runtime = self.store, self.runtime

        def wake(key: str) -> None:
            self.loop.wake("pipeline", f"run/{key}")

        return {
            acts.RunJob: JobRunner(store, self.clock, self.repositories, self.workspaces, runtime, wake),
            acts.PackRelease: Packer(
                store,
                self.repositories,
                self.workspaces,
                self.artifacts,
                EngineImages(),
                wake,
                Attester(self.key_file, self.bills, self._installation()),
            ),
            acts.VerifyRelease: self.verifier,
            acts.SendEvent: Announcer(
                store,
                HttpSink(self.signing_key, self.clock),
                first.installation(self.signing_key),
                f"http://127.0.0.1:{self.config.port}",
                lambda project: self.loop.wake("announce", project),
            ),
            acts.FetchBranch: BranchFetcher(
                store,
                self.repositories,
                lambda hook: credential_of(self.sealer, hook),
                self.source,
                lambda project: self.loop.wake("source", project),
            ),
            acts.SpawnReplica: SpawnPerformer(
                store, runtime, self.artifacts, self.config.data, self.sealer.unseal
            ),
            acts.SendPage: PagePerformer(store, self.notifiers, self.signing_key, self.url),
            acts.StopReplica: StopPerformer(runtime, self.traffic, probe.connections),
            acts.RestartReplica: RestartPerformer(runtime, self.traffic, probe.connections),
            acts.ApplyTraffic: TrafficPerformer(
                store,
                runtime,
                self.traffic,
                self.config.ingress_port,
                lambda cluster: endpoint_file(self.config.data / "envoy", cluster),
            ),
        }

    def _installation(self) -> Installation:
        builder = f"https://poise.dev/installation/{first.installation(self.signing_key)}"
        return Installation(builder=builder, version=__version__, url=self.url)

    def _fence(self) -> int | None:
        return self.loop.lease.token if self.loop.lease is not None else None

    def _measured(self, batch: Batch) -> None:
        """A reading is durable: a canary under judgement is looked at at once."""
        self.recorder.took(batch)
        services = {dict(sample.series.labels).get("service") for sample in batch.samples}
        for service in services:
            if service:
                self.loop.wake("rollout", service)

    async def follow_fleet(self) -> None:
        """What the keeper tells of a replica is looked at at once; while one starts, queries stand still."""
        await self.fleet.follow(lambda service: self.loop.wake("fleet", service), self.queries.stand_aside)

    async def keep_keeper(self) -> None:
        """A keeper is there whenever this process runs; what it tells of a build step wakes its run."""
        while True:
            try:
                after = (await self.keeper_watch.hello()).seq
                async with self.keeper_watch.watch(after) as events:
                    async for event in events:
                        if event.key.startswith("run/"):
                            self.loop.wake("pipeline", "/".join(event.key.split("/")[:3]))
            except (PoiseError, OSError) as error:
                log.warning("the keeper does not answer", error=str(error))
                await anyio.to_thread.run_sync(ensure_keeper, self.config.data)

    async def keep_envoy(self) -> None:
        """Envoy is there whenever this process leads (the keeper restarts it when it dies)."""
        while True:
            try:
                if self.loop.lease is not None:
                    await ensure_envoy(
                        self.config.data, self.runtime, self.loop.lease.token, self.config.ingress_port
                    )
            except (PoiseError, OSError) as error:
                log.warning("envoy is not up", error=str(error))
            await self.clock.sleep(LEASE_RENEW_S)

    async def take_over(self) -> None:
        """Free the predecessor's lease: we hold this folder's lock, so it is dead and nobody need wait."""
        lease = await self.store.lease("leader")
        if lease is not None and lease.holder:
            await self.store.release(lease)

    async def close(self) -> None:
        """Give the lease back and close the stores; workloads go on."""
        if self.loop.lease is not None:
            await self.store.release(self.loop.lease)
        await self.queries.close()
        await self.telemetry.close()
        await self.rule_worker.close()
        await self.sources.close()
        await self.scraper.close()
        await self.checkpoints.close()
        await self.signals.close()
        await self.metrics.close()
        await self.store.close()


def holder() -> str:
    """This process, told apart from every other: boot id, pid, start time."""
    return f"{boot_id()}:{os.getpid()}:{start_ticks(os.getpid())}"


def serve_forever(config: Config) -> None:
    """Run the control process until it is told to stop. Raises ``Conflict`` for a taken port or folder."""
    _folders(config.data)
    interpreter.share()
    with _alone(config.data), _listening(config.port) as listener:
        anyio.run(_serve, config, listener)


async def _serve(config: Config, listener: socket.socket) -> None:
    ensure_keeper(config.data)
    house = House(config)
    structlog.configure(processors=house.masker.processors())
    await house.masker.learn_all(house.store)
    await house.take_over()
    await first.welcome(house.store, house.clock, config.data)
    await ensure_key(house.store, house.clock, house.key_file, house.signing_key)
    server = _server(house)
    await house.loop.lead()
    if house.loop.lease is not None:
        await ensure_envoy(config.data, house.runtime, house.loop.lease.token, config.ingress_port)
    interpreter.settle()
    async with anyio.create_task_group() as group:
        for task in (
            house.prober.run,
            house.silence_prober.run,
            house.reader.run,
            house.query_reader.run,
            house.recorder.run,
            house.host.run,
            house.blackbox.run,
            house.scraper.run,
            house.ruler.run,
            house.ingress.run,
            house.metrics.run,
            house.loop_lag.run,
            house.output.run,
            house.loop.run,
            house.follow_fleet,
            house.keep_keeper,
            house.keep_envoy,
        ):
            group.start_soon(task)
        _announce(config)
        await server.serve(sockets=[listener])
        group.cancel_scope.cancel()
    await house.close()


def _server(house: House) -> uvicorn.Server:
    """The front door; told to stop, it lets go of open streams after a second."""
    stopping: list[uvicorn.Server] = []

    def stop() -> None:
        for server in stopping:
            server.should_exit = True

    faces = [*first.ROUTES, *git_face.ROUTES, *pages.ROUTES]
    server = uvicorn.Server(
        uvicorn.Config(
            make_server(_parts(house, stop), faces, sign_in.refused),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=1,
        )
    )
    stopping.append(server)
    return server


def _parts(house: House, stop: Callable[[], None]) -> Parts:
    return Parts(
        data=house.config.data,
        store=house.store,
        signals=house.signals,
        metrics=house.metrics,
        clock=house.clock,
        loop=house.loop,
        repositories=house.repositories,
        runtime=house.runtime,
        source=house.source,
        signing_key=house.signing_key,
        sealer=house.sealer,
        masker=house.masker,
        ingress_port=house.config.ingress_port,
        stop=stop,
        notifiers=house.notifiers,
        url=house.url,
        queries=house.queries,
        ranges=AskedRange(house.queries),
        sources=house.sources.of,
        loop_lag=house.loop_lag.seen,
        rules=house.ruler.standings,
        intakes=house.intakes,
        scraper=house.scraper,
        telemetry=house.telemetry,
        curve=house.budget.curve,
        key_file=house.key_file,
        verifier=house.verifier,
        bills=house.bills,
    )


def _announce(config: Config) -> None:
    """Tell the command line where to find us; written beside and renamed."""
    address = Address(
        url=f"http://127.0.0.1:{config.port}", ingress_port=config.ingress_port, pid=os.getpid()
    )
    path = config.data / "run" / "api.json"
    beside = path.with_suffix(".part")
    beside.write_bytes(msgspec.json.encode(address))
    beside.rename(path)


def _folders(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    data.chmod(0o700)
    for name in FOLDERS:
        (data / name).mkdir(exist_ok=True, mode=0o700)


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    """One control process per data folder; the kernel frees the lock when it dies."""
    with (data / "run" / "poise.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Conflict(
                "POISE-E413", "another control process runs on this data folder", where=str(data),
                mend="Run: poise status",
            ) from error  # fmt: skip
        yield


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit it; without it the body of an answer waits 40 ms for the head's ACK
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise Conflict(
                "POISE-E410", f"port {port} is in use", where=f"127.0.0.1:{port}", why=error.strerror or "",
                mend="Choose another: poise up --port 8701",
            ) from error  # fmt: skip
        listener.listen(2048)
        yield listener
