"""Processes on this machine: started by key, restarted by reflex, stopped gently, and told apart for certain.

Whatever implements this keeps workloads running while the control process is dead.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Literal, Protocol

from msgspec import Struct


class Sandbox(Struct, frozen=True, kw_only=True):
    """What a workload may see: the machine read-only, less the masks, plus the binds.

    The data folder, the keeper's copy of secrets and the home folder are always masked; `binds` come on top
    of the masks, as (source, target, "ro" or "rw"); a target need not exist at the top level ("/app").
    A workload with a port needs `network`. `tmp`: an own, empty /tmp.
    """

    network: bool = False
    binds: tuple[tuple[str, str, Literal["ro", "rw"]], ...] = ()
    masks: tuple[str, ...] = ()
    chdir: str | None = None
    tmp: bool = True


class Container(Struct, frozen=True, kw_only=True):
    """The image that a workload runs, as NAME@sha256:DIGEST, and what it may use.

    It is on the machine's network and listens on $PORT, as a process does. No capability, no new privileges;
    ``read_only``: nor may it write to its own files. ``cpu`` counts processors. Above ``memory_bytes`` the
    kernel kills it, which its ``ExitRecord`` tells. An empty ``argv``: the image says what it runs.
    """

    image: str
    memory_bytes: int | None = None
    cpu: float | None = None
    read_only: bool = False


class Backoff(Struct, frozen=True, kw_only=True):
    """When a dead workload may start again: at once, then doubling and jittered up to a cap, never giving up.

    `served_s`: a death after serving this long is not counted; `burst`: deaths forgiven to one that served
    more briefly; `forget_s`: quiet time after which all is forgiven.
    """

    initial_s: float = 0.1
    cap_s: float = 30.0
    forget_s: float = 600.0
    burst: int = 5
    served_s: float = 1.0


class Workload(Struct, frozen=True, kw_only=True):
    """What to run under a key: a process, in a sandbox or not, or a container. Secrets ride in `env` alone.

    `port`: "fresh" gives a new loopback port in $PORT at every start; `cluster`: the endpoint file it joins
    once it accepts TCP; `log`: the file its output is appended to, of which the newest `log_limit_bytes`
    are kept; `result_path`: where a one-shot step writes its own exit code, in case its parent dies.
    `rlimits`: soft and hard limits by name (as, core, cpu, data, fsize, nofile, nproc, stack).
    """

    key: str
    argv: tuple[str, ...]
    cwd: str = "/"
    env: Mapping[str, str] = {}
    restart: Literal["always", "never"] = "always"
    port: Literal["fresh"] | int | None = None
    cluster: str | None = None
    sandbox: Sandbox | None = None
    container: Container | None = None
    log: str | None = None
    log_limit_bytes: int = 32 << 20
    stop_timeout_s: float = 10.0
    backoff: Backoff = Backoff()
    rlimits: Mapping[str, int] = {}
    result_path: str | None = None


class ExitRecord(Struct, frozen=True, kw_only=True):
    """How a process ended: by a code, by a signal, or unknown. `at`: epoch seconds it was seen.

    ``oom``: the kernel had killed a process of it for memory.
    """

    at: float
    code: int | None = None
    signal: int | None = None
    unknown: bool = False
    oom: bool = False


ProcessState = Literal["starting", "running", "backoff", "stopping", "exited"]


class Process(Struct, frozen=True, kw_only=True):
    """What runs under a key now. (key, pid, start_time) is its identity; a port or a name never is.

    `pid` is the app's own, None between two lives and while a sandbox is being set up; `start_time` is in
    clock ticks since boot `boot_id`; `connects`: its port has accepted TCP since the last start.
    `running` means connected, or simply alive when it has no port. `started_at`: epoch seconds.
    """

    key: str
    spec_hash: str
    state: ProcessState
    pid: int | None = None
    start_time: int | None = None
    boot_id: str | None = None
    port: int | None = None
    connects: bool = False
    in_rotation: bool = True
    restarts: int = 0
    started_at: float | None = None
    last_exit: ExitRecord | None = None
    cluster: str | None = None
    rss_kb: int = 0


class RuntimeEvent(Struct, frozen=True, kw_only=True):
    """Something that happened to a key. `seq` ascends, with gaps; `at`: epoch seconds.

    `exit` is set on exited and stopped; `pid` is None while a sandbox is being set up.
    """

    seq: int
    at: float
    kind: Literal["spawned", "exited", "restarted", "connected", "stopped"]
    key: str
    pid: int | None = None
    start_time: int | None = None
    port: int | None = None
    exit: ExitRecord | None = None
    reason: str = ""


class EndpointTemplate(Struct, frozen=True, kw_only=True):
    """Fleet's half of one cluster's endpoint file; the live ports are the runtime's half.

    `path`: absolute, where Envoy reads it; `endpoint`: fields of every `LbEndpoint` beside its address.
    """

    path: str
    version: int = 0
    endpoint: Mapping[str, object] = {}


class EndpointFile(Struct, frozen=True, kw_only=True):
    """What was last written for a cluster. `version` is its template's, `version_info` Envoy's."""

    version: int | None = None
    version_info: str = "0"
    ports: tuple[int, ...] = ()


class Hello(Struct, frozen=True, kw_only=True):
    """Who answers. `seq`: number of the newest record; `token`: highest fencing token seen."""

    version: int
    features: tuple[str, ...]
    pid: int
    boot_id: str
    token: int
    seq: int
    rss_kb: int = 0
    data: str = ""


class Runtime(Protocol):
    """Owns processes. Each mutation carries the leader's fencing token: a lower one than seen is `Conflict`.

    All are idempotent by key, so each may be sent again after any failure. Raise `Unreachable` when the
    runtime does not answer, `Invalid` for what it cannot run, `NotFound` for a key it does not know.
    """

    async def hello(self) -> Hello: ...

    async def list(self) -> Sequence[Process]:
        """Everything that is; the truth after any gap."""
        ...

    async def endpoints(self) -> Mapping[str, EndpointFile]:
        """What stands in the endpoint files, by cluster."""
        ...

    async def spawn(self, token: int, workload: Workload) -> Process:
        """Run a workload, or adopt the one with this key and content; `Conflict` if its content differs."""
        ...

    async def stop(
        self, token: int, key: str, timeout_s: float | None = None, reason: str = ""
    ) -> Process | None:
        """Out of rotation, SIGTERM, SIGKILL to the tree after `timeout_s`, then forget the key.

        Returns at once: None when nothing of it is left, else a process that is stopping.
        """
        ...

    async def restart(
        self, token: int, key: str, pid: int, start_time: int, kill_now: bool = False, reason: str = ""
    ) -> bool:
        """Replace exactly this process on a fresh port; False, and nothing done, if another lives there now.

        With pid and start_time 0, a key in back-off starts at once (its cause is known to be gone).
        """
        ...

    async def template(
        self, token: int, clusters: Mapping[str, EndpointTemplate]
    ) -> Mapping[str, EndpointFile]:
        """Set all endpoint templates; the files of clusters no longer named are deleted."""
        ...

    async def hold(self, token: int, key: str, in_rotation: bool) -> Process:
        """Take a replica out of its endpoint file (False) or let it back, without touching the process."""
        ...

    def watch(self, after: int) -> AbstractAsyncContextManager[AsyncIterator[RuntimeEvent]]:
        """Events numbered above `after`, the recorded ones and then the live ones; survives reconnects."""
        ...

    async def shutdown(self, token: int, timeout_s: float | None = None) -> None:
        """Stop every workload, then end the runtime itself."""
        ...
