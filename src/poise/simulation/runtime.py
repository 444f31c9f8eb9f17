"""The Runtime port, and the probes, over the simulated machine: by key, fenced, idempotent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final, Literal, cast

from poise.delivery.rollout.prober import Sides
from poise.delivery.rollout.sequential import Total
from poise.delivery.rollout.silence import PROBES
from poise.fleet.prober import Target
from poise.fleet.seen import Probed
from poise.model.errors import Conflict, NotFound, Unreachable
from poise.ports.runtime import EndpointFile, EndpointTemplate, Hello, Process, RuntimeEvent, Workload
from poise.simulation.clock import SimulatedClock
from poise.simulation.machine import Life, Machine

TAMPERED: Final = "sha256:" + "0" * 64
State = Literal["starting", "running", "backoff", "stopping", "exited"]


class SimulatedArtifacts:
    """Every digest is there; a folder's name is its digest. ``tampered`` hold something else by now."""

    def __init__(self, tampered: Set[str] = frozenset()) -> None:
        self._tampered = tampered

    def pack(self, workspace: Path, path: str) -> str:
        """The simulation's releases come from its script."""
        raise AssertionError("nothing is packed in the simulation")

    def open(self, digest: str) -> Path:
        """A folder that nobody opens."""
        return Path("/releases") / digest

    def measure(self, digest: str) -> str:
        """It holds what its name says, unless it is one that was tampered with."""
        return TAMPERED if digest in self._tampered else digest


class SimulatedRuntime:
    """One control process' connection to the keeper. ``mutated(token)`` hears each accepted mutation."""

    def __init__(self, machine: Machine, mutated: Callable[[str, int, str], None]) -> None:
        self._machine, self._mutated = machine, mutated

    async def hello(self) -> Hello:
        """See the port."""
        self._answer()
        return Hello(version=1, features=(), pid=1, boot_id="boot", token=self._machine.token, seq=0)

    async def list(self) -> Sequence[Process]:
        """See the port."""
        self._answer()
        return [_process(life) for life in self._machine.lives.values()]

    async def endpoints(self) -> Mapping[str, EndpointFile]:
        """See the port."""
        return {}

    async def spawn(self, token: int, workload: Workload) -> Process:
        """See the port."""
        self._accept("spawn", token, workload.key)
        assert workload.sandbox is not None
        digest = Path(workload.sandbox.binds[0][0]).name
        return _process(self._machine.spawn(workload.key, digest, workload.env))

    async def stop(
        self, token: int, key: str, timeout_s: float | None = None, reason: str = ""
    ) -> Process | None:
        """See the port."""
        self._accept("stop", token, key)
        life = self._machine.stop(key)
        return None if life is None else _process(life)

    async def restart(
        self, token: int, key: str, pid: int, start_time: int, kill_now: bool = False, reason: str = ""
    ) -> bool:
        """See the port."""
        self._accept("restart" if kill_now else "restart gently", token, key)
        if key not in self._machine.lives:
            raise NotFound("POISE-K404", f"no workload '{key}'")
        return self._machine.restart(key, pid, start_time)

    async def template(
        self, token: int, clusters: Mapping[str, EndpointTemplate]
    ) -> Mapping[str, EndpointFile]:
        """See the port."""
        self._accept("template", token, "")
        return {}

    async def hold(self, token: int, key: str, in_rotation: bool) -> Process:
        """See the port. Nobody stays connected here, so no port is told to wait for."""
        self._accept("hold", token, key)
        life = self._machine.lives.get(key)
        if life is None:
            raise NotFound("POISE-K404", f"no workload '{key}'")
        return _process(life, port=False)

    def watch(self, after: int) -> AbstractAsyncContextManager[AsyncIterator[RuntimeEvent]]:
        """The world tells the loop itself."""
        raise AssertionError("the simulated world tells the loop itself")

    async def shutdown(self, token: int, timeout_s: float | None = None) -> None:
        """Nobody shuts this world down."""
        raise AssertionError("nobody shuts the simulated world down")

    def _answer(self) -> None:
        if not self._machine.is_up:
            raise Unreachable("POISE-K700", "the keeper does not answer")

    def _accept(self, what: str, token: int, key: str) -> None:
        self._answer()
        if token < self._machine.token:
            raise Conflict("POISE-K409", "another leader has taken over")
        self._machine.token = token
        self._mutated(what, token, key)


class SimulatedProbes:
    """What the probes would have heard by now, worked out from what the processes do."""

    def __init__(self, machine: Machine, clock: SimulatedClock) -> None:
        self._machine, self._clock = machine, clock
        self._targets: dict[str, dict[str, tuple[Target, float]]] = {}

    def watch(self, owner: str, targets: list[Target]) -> None:
        """See ``Probes``."""
        before = self._targets.get(owner, {})
        self._targets[owner] = {
            target.key: known
            if (known := before.get(target.key)) is not None and known[0] == target
            else (target, self._clock.t)
            for target in targets
        }

    def latest(self, key: str) -> Probed | None:
        """See ``Probes``."""
        owner = key.rsplit("/", 2)[0]
        target, since = self._targets.get(owner, {}).get(key, (None, 0.0))
        life = self._machine.lives.get(key)
        if target is None or life is None or life.pid != target.identity.pid or life.ready_at is None:
            return None
        if life.serves:
            return Probed(identity=target.identity, ok=True)
        failing_s = self._clock.t - max(since, life.hung_at or life.ready_at)
        failures = int(failing_s / target.health.interval_s)
        return Probed(identity=target.identity, ok=failures == 0, failures=failures)


class SimulatedSilence:
    """What probes of both sides of a silent rollout would have heard by now: a round a second."""

    def __init__(self, machine: Machine, clock: SimulatedClock) -> None:
        self._machine, self._clock = machine, clock
        self._pairs: dict[str, tuple[Sides, float]] = {}

    def watch(self, key: str, sides: Sides | None) -> None:
        """See ``Probing``."""
        known = self._pairs.get(key)
        if sides is None:
            self._pairs.pop(key, None)
        elif known is None or (known[0].canary, known[0].baseline) != (sides.canary, sides.baseline):
            self._pairs[key] = sides, self._clock.t

    def totals(self, key: str) -> tuple[Total, ...]:
        """See ``Probing``; as many fail as the worst process of that side fails requests."""
        if key not in self._pairs:
            return ()
        sides, since = self._pairs[key]
        canary, baseline = self._ratio(key, sides.canary), self._ratio(key, sides.baseline)
        asked = int(self._clock.t - since)
        rounds = int(asked * (1 - canary * baseline))  # those that both fail are none
        return tuple(
            Total(rollout=n, epoch=f"{since:g}", trials=rounds, failures=int(bad), metric=PROBES)
            for n, bad in (
                (sides.canary, asked * canary * (1 - baseline)),
                (sides.baseline, asked * baseline * (1 - canary)),
            )
        )

    def _ratio(self, key: str, n: int) -> float:
        lives = self._machine.of_rollout(key, n)
        return max((self._machine.error_ratio_of(one) if one.serves else 1.0 for one in lives), default=1.0)


def _process(life: Life, *, port: bool = True) -> Process:
    return Process(
        key=life.key,
        spec_hash=life.digest,
        state=cast(State, life.state),
        pid=life.pid,
        start_time=life.ticks if life.pid is not None else None,
        port=life.port if port else None,
        connects=life.serves,
        restarts=life.restarts,
    )
