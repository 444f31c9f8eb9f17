"""The machine's processes: they start, serve, hang, die and are restarted by reflex, as under a keeper."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Final

from msgspec import Struct

from poise.simulation.clock import SimulatedClock

BACKOFF_FIRST_S: Final = 0.1
BACKOFF_CAP_S: Final = 30.0
SERVED_S: Final = 60.0  # a death after this long is forgiven
STOPPING_S: Final = 2.0


ERRORS_SETTING: Final = "ERROR_RATIO"  # the one config value that the simulated app obeys


class Version(Struct, kw_only=True):
    """How one digest behaves. Ratios 0..1; None: it never does that.

    In the environment ``healthy_in`` it shows none of its faults.
    """

    digest: str
    healthy_in: str = ""
    error_ratio: float = 0.001
    startup_s: float = 4.0
    dies_after_s: float | None = None
    never_ready: bool = False
    hangs_after_s: float | None = None


class Life(Struct, kw_only=True):
    """One key's process, and what is known of it. ``pid`` None: between two lives."""

    key: str
    digest: str
    config_error_ratio: float = 0.0  # what its config adds to its version's
    pid: int | None = None
    ticks: int = 0
    port: int | None = None
    state: str = "starting"
    hung_at: float | None = None
    began_at: float = 0.0
    ready_at: float | None = None
    restarts: int = 0
    in_a_row: int = 0

    @property
    def serves(self) -> bool:
        """Whether it answers requests."""
        return self.state == "running" and self.hung_at is None


def service_of(replica_key: str) -> str:
    """``project/environment/service`` of a replica's key."""
    return replica_key.rsplit("/", 2)[0]


class Machine:
    """Every process by key. ``before`` is called just before anything changes, ``told(service)`` after."""

    def __init__(
        self,
        clock: SimulatedClock,
        rng: Random,
        at: Callable[[float, Callable[[], None]], None],
        before: Callable[[], None],
        told: Callable[[str], None],
    ) -> None:
        self._clock, self._rng, self._at, self._before, self._told = clock, rng, at, before, told
        self.lives: dict[str, Life] = {}
        self.versions: dict[str, Version] = {}
        self.token = 0
        self.down_until = 0.0
        self.is_calm = False
        self._pids = 1000

    @property
    def is_up(self) -> bool:
        """Whether the keeper answers."""
        return self._clock.t >= self.down_until

    def of_rollout(self, service: str, n: int) -> list[Life]:
        """Lives of one rollout's replicas."""
        prefix = f"{service}/{n:06d}/"
        return [life for key, life in self.lives.items() if key.startswith(prefix)]

    def version_of(self, life: Life) -> Version:
        """How this process behaves where it runs."""
        version = self.versions[life.digest]
        if life.key.split("/", 2)[1] != version.healthy_in:
            return version
        return Version(digest=version.digest, startup_s=version.startup_s)

    def error_ratio_of(self, life: Life) -> float:
        """The share of its requests that fails, 0..1, by its version and its config."""
        return min(1.0, self.version_of(life).error_ratio + life.config_error_ratio)

    def calm(self) -> None:
        """From now on no version and no config is bad."""
        for version in self.versions.values():
            version.error_ratio, version.hangs_after_s = min(version.error_ratio, 0.001), None
        for life in self.lives.values():
            life.config_error_ratio = 0.0
        self.is_calm = True

    def spawn(self, key: str, digest: str, env: Mapping[str, str]) -> Life:
        """A new process, or the one that is there. ``env`` holds its config."""
        known = self.lives.get(key)
        if known is not None:
            return known
        adds = 0.0 if self.is_calm else float(env.get(ERRORS_SETTING, "0"))
        life = self.lives[key] = Life(key=key, digest=digest, config_error_ratio=adds)
        self._begin(life)
        return life

    def stop(self, key: str) -> Life | None:
        """It is stopping, and soon gone; None when there is none."""
        life = self.lives.get(key)
        if life is None or life.state == "stopping":
            return life
        self._before()
        life.state = "stopping"
        pid = life.pid

        def gone() -> None:
            if self.lives.get(key) is life and life.pid == pid:
                del self.lives[key]
                self._told(service_of(key))

        self._at(self._clock.t + STOPPING_S, gone)
        self._told(service_of(key))
        return life

    def restart(self, key: str, pid: int, ticks: int) -> bool:
        """Replace exactly this process."""
        life = self.lives.get(key)
        if life is None or (life.pid, life.ticks) != (pid, ticks) or life.state == "stopping":
            return False
        self._before()
        life.restarts += 1
        self._begin(life)
        return True

    def kill(self, key: str) -> bool:
        """SIGKILL from outside; the keeper's reflex starts it again."""
        life = self.lives.get(key)
        if life is None or life.pid is None or life.state == "stopping":
            return False
        self._die(life)
        return True

    def hang(self, key: str, for_s: float) -> bool:
        """It stops answering, until it is replaced or ``for_s`` have passed."""
        life = self.lives.get(key)
        if life is None or not life.serves:
            return False
        self._before()
        life.hung_at = self._clock.t
        pid = life.pid

        def over() -> None:
            if life.pid == pid and life.hung_at is not None:
                self._before()
                life.hung_at = None
                self._told(service_of(key))

        self._at(self._clock.t + for_s, over)
        self._told(service_of(key))
        return True

    def _begin(self, life: Life) -> None:
        version = self.version_of(life)
        self._pids += 1
        life.pid, life.ticks, life.port = self._pids, int(self._clock.t * 100), 20_000 + self._pids
        life.state, life.hung_at, life.ready_at, life.began_at = "starting", None, None, self._clock.t
        pid, t = life.pid, self._clock.t

        def mine(then: Callable[[], None]) -> Callable[[], None]:
            return lambda: then() if self.lives.get(life.key) is life and life.pid == pid else None

        def ready() -> None:
            if life.state == "starting":
                self._before()
                life.state, life.ready_at = "running", self._clock.t
                self._told(service_of(life.key))

        if not version.never_ready:
            self._at(t + version.startup_s * self._rng.uniform(0.7, 1.5), mine(ready))
        if version.dies_after_s is not None:
            self._at(t + version.dies_after_s, mine(lambda: self._die(life)))
        if version.hangs_after_s is not None:
            self._at(t + version.hangs_after_s, mine(lambda: void(self.hang(life.key, 1200.0))))
        self._told(service_of(life.key))

    def _die(self, life: Life) -> None:
        if life.state == "stopping":
            return
        self._before()
        lived_s = self._clock.t - life.began_at
        life.in_a_row = 0 if lived_s > SERVED_S else life.in_a_row + 1
        life.pid, life.port, life.state, life.hung_at = None, None, "backoff", None
        life.restarts += 1
        pause_s = min(BACKOFF_CAP_S, BACKOFF_FIRST_S * 2 ** min(life.in_a_row, 12))

        def again() -> None:
            if self.lives.get(life.key) is life and life.state == "backoff":
                self._begin(life)

        self._at(self._clock.t + pause_s, again)
        self._told(service_of(life.key))


def void(_: object) -> None:
    """A callback returns nothing."""
