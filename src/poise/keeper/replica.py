"""One workload, alive or between two lives: its descriptors, its timers, its next step."""

from __future__ import annotations

import os
import signal
import time

from . import backoff, container, limits, ports, proc, sandbox
from .launch import crash, launch
from .loop import say
from .probe import Probe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .engine import Engine
    from .folders import Folders
    from .logs import Logs
    from .loop import Loop, Timer
    from .state import Entry
    from .workload import Spec

    Json = dict[str, Any]

    class Owner(Protocol):
        """What a replica needs of the table it stands in."""

        loop: Loop
        folders: Folders
        logs: Logs
        bwrap: str | None
        engine: Engine | None
        gates: list[int]
        closing: bool

        def record(self, kind: str, **fields: Any) -> Json: ...
        def refresh(self, cluster: str | None) -> None: ...
        def ports(self) -> set[int]: ...
        def drop(self, entry: Entry) -> None: ...
        def limit_exited(self) -> None: ...


_NO_EXIT: Json = {"unknown": True}


class Replica:
    """Runs one entry: `outer` is the keeper's child, `init` ends the tree, `app` gets SIGTERM."""

    def __init__(self, owner: Owner, entry: Entry, spec: Spec | None) -> None:
        self.owner, self.entry, self.spec = owner, entry, spec
        self._outer: int | None = None
        self._init: int | None = None
        self._app: int | None = None
        self._oom_file: str | None = None
        self._oom_killed = False
        self._probe: Probe | None = None
        self._timers: dict[str, Timer] = {}

    def shown(self) -> Json:
        """Return what `list` tells about it."""
        e = self.entry
        return {
            "key": e.key,
            "spec_hash": e.spec_hash,
            "state": e.phase,
            "pid": e.pid or None,
            "start_time": e.start_time or None,
            "boot_id": e.boot_id or None,
            "port": e.port,
            "connects": e.connected,
            "in_rotation": e.in_rotation,
            "restarts": e.restarts,
            "started_at": e.started_at or None,
            "last_exit": e.last_exit,
            "cluster": e.cluster,
            "rss_kb": proc.rss_kb(e.pid) if e.pid else 0,
        }

    # -- life ------------------------------------------------------------------------------------------

    def start(self, kind: str) -> None:
        """Fork it behind a gate and record that; the gate opens once the record is durable."""
        spec, owner, entry = self.spec, self.owner, self.entry
        assert spec is not None
        self._cancel("back")
        nonce = f"{entry.spec_id}.{entry.incarnation + 1}"
        try:
            port = ports.fresh(owner.ports()) if spec.port == 0 else spec.port
            env = self._environment(spec, _env(spec, nonce, port), nonce)
            pid, gate = launch(spec, self._argv(spec, nonce), env, *self._files(spec, nonce))
        except OSError as error:
            say(f"{entry.key}: cannot start: {error}")
            self._later("back", 1.0, lambda: self.start(kind))
            return
        crash("after_fork")
        if spec.log:
            owner.logs.mark(spec.log)  # the gate is shut: all that this start says comes after it
        begun = proc.start_time(pid) or 0
        app = (None, None) if self._enclosed else (pid, begun)
        owner.record(
            kind,
            key=entry.key,
            incarnation=entry.incarnation + 1,
            boot_id=proc.boot_id(),
            outer=pid,
            outer_start=begun,
            pid=app[0],
            start_time=app[1],
            port=port,
        )
        owner.gates.append(gate)
        self._follow()

    def recover(self) -> None:
        """Adopt the process if it is still exactly the one recorded, else go on from its death."""
        entry = self.entry
        if entry.outer:
            if entry.boot_id == proc.boot_id() and self._follow():
                if entry.phase == "stopping":
                    self._end_by(max(0.0, entry.deadline_at - time.time()))
            else:
                self._died()
        elif entry.phase != "exited":
            if self.spec is None:
                say(f"{entry.key}: its specification is gone (a reboot): forgotten")
                self.owner.record("forgotten", key=entry.key)
                self.owner.drop(entry)
            else:
                self.start("spawned" if entry.incarnation == 0 or entry.phase == "starting" else "restarted")

    def _follow(self) -> bool:
        """Watch the process for its death and for what it becomes; False if it is gone."""
        entry = self.entry
        self._outer = proc.open_pidfd(entry.outer, entry.outer_start)
        if self._outer is None:
            return False
        self.owner.loop.on_read(self._outer, self._died)
        if self._enclosed:
            if entry.pid:
                self._init = proc.open_pidfd(entry.init, entry.init_start)
                self._app = proc.open_pidfd(entry.pid, entry.start_time)
                self._heed_memory()
            else:
                self._identify(limits.IDENTIFY_FIRST_S)
        else:
            self._app = self._outer
        if entry.port is not None and not entry.connected and entry.phase == "starting":
            self._probe = Probe(self.owner.loop, entry.port, self._connected)
        return True

    def _identify(self, wait_s: float) -> None:
        """Learn the pids inside; bwrap takes some milliseconds to get there, an engine some hundred."""
        who = self._who()
        if who is None:
            longer = min(limits.IDENTIFY_CAP_S, wait_s * 1.5)
            self._later("identify", wait_s, lambda: self._identify(longer))
            return
        init, init_start, app, app_start = who
        self._init, self._app = proc.open_pidfd(init, init_start), proc.open_pidfd(app, app_start)
        self.owner.record(
            "identified", key=self.entry.key, pid=app, start_time=app_start, init=init, init_start=init_start
        )
        self._heed_memory()
        if self.entry.phase == "stopping":
            self._terminate()

    def _who(self) -> tuple[int, int, int, int] | None:
        folders, nonce = self.owner.folders, self.entry.nonce
        if self._contained:
            return container.who(folders.env_file(nonce))
        return sandbox.who(folders.status(nonce))

    def _heed_memory(self) -> None:
        """Ask why the app ended at the instant it does: its cgroup is gone a tenth of a second later."""
        if self._contained and self._init is not None:
            self._oom_file = container.memory_events(self.entry.init)
            if self._oom_file is not None:
                self.owner.loop.on_read(self._init, self._look_for_oom)

    def _look_for_oom(self) -> None:
        assert self._init is not None
        self.owner.loop.forget(self._init)
        self._oom_killed, self._oom_file = container.oom_kills(self._oom_file) > 0, None

    def _connected(self) -> None:
        entry, self._probe = self.entry, None
        self.owner.record("connected", key=entry.key, pid=entry.pid or None, port=entry.port)
        self.owner.refresh(entry.cluster)

    # -- death -----------------------------------------------------------------------------------------

    def _died(self) -> None:
        """Record the end and do what follows from it, in the same round."""
        entry = self.entry
        how = self._bury()
        if self.spec and self.spec.log:
            self.owner.logs.look(self.spec.log, self.spec.log_limit_bytes)
            self.owner.logs.mark(self.spec.log)
        if os.path.exists(self.owner.folders.mark(entry.nonce)):
            # The keeper died before it opened the gate: nothing ran, so nothing ended.
            self.owner.folders.drop_start(entry.nonce)
            self.owner.record("unstarted", key=entry.key, incarnation=entry.incarnation)
            self._begin_again("spawned")
            return
        self.owner.folders.drop_start(entry.nonce)
        stopped = entry.phase == "stopping" and not entry.again
        again, reason = entry.again, entry.reason
        ends = stopped or self.spec is None or not (self.spec.restart or again)
        level, delay_s = (0, 0.0) if ends or again else self._penalty()
        end = {"pid": entry.pid or None, "start_time": entry.start_time or None, "reason": reason}
        exit_ = {**how, "at": time.time()}
        phase = "exited" if ends else "backoff"
        self.owner.record("exited", key=entry.key, exit=exit_, phase=phase, level=level, **end)
        self.owner.refresh(entry.cluster)
        if stopped:
            self.owner.record("stopped", key=entry.key, exit=exit_, **end)
            self.owner.drop(entry)
        elif ends:
            self.owner.folders.drop_spec(entry.spec_id)
            self.owner.limit_exited()
        elif delay_s > 0:
            say(f"{entry.key}: ended ({how}); starts again in {delay_s:.1f} s")
            self._later("back", delay_s, lambda: self._begin_again("restarted"))
        else:
            self._begin_again("restarted")

    def _begin_again(self, kind: str) -> None:
        if self.spec is not None and not self.owner.closing:
            self.start(kind)

    def _bury(self) -> Json:
        """End what is left of the tree, reap it, close what was open; return how the app ended."""
        entry, outer = self.entry, self._outer
        for timer in list(self._timers):
            self._cancel(timer)
        if self._probe:
            self._probe.cancel()
            self._probe = None
        status = self.owner.folders.status(entry.nonce)
        how = proc.ended(outer) if outer is not None else None
        self._kill_tree(owned=how is not None)
        if outer is not None:
            self.owner.loop.forget(outer)
            proc.reap(outer)
        if self._oom_file is not None and self._init is not None:
            self._look_for_oom()
        for descriptor in {self._outer, self._init, self._app} - {None}:
            assert descriptor is not None
            os.close(descriptor)
        self._outer = self._init = self._app = None
        told = sandbox.exit_of(status) if self._enclosed else None
        if self._contained and told is None and self.owner.engine is not None:
            container.remove(self.owner.engine, _container_name(entry.nonce))  # its client was killed
        oom, self._oom_killed = self._oom_killed, False
        return {**(told or how or self._result() or _NO_EXIT), **({"oom": True} if oom else {})}

    def _kill_tree(self, owned: bool) -> None:
        """SIGKILL everything of this start. `owned`: the outer process is our child, not yet reaped."""
        entry = self.entry
        if entry.boot_id != proc.boot_id():
            return
        if self._enclosed:
            self._kill_namespace()
        if owned:
            try:
                os.killpg(entry.outer, signal.SIGKILL)  # its pid cannot be another's before it is reaped
            except OSError:
                pass
        elif entry.outer:
            proc.sweep(entry.outer, entry.nonce)

    def _kill_namespace(self) -> None:
        if self._init is None:
            init = self.entry.init or self._init_told()
            start = self.entry.init_start or (proc.start_time(init) if init else None)
            if start and (self.entry.init_start or proc.carries(init, self.entry.nonce)):
                self._init = proc.open_pidfd(init, start)
        if not proc.send(self._init, signal.SIGKILL) and self._contained and self.owner.engine is not None:
            container.remove(self.owner.engine, _container_name(self.entry.nonce))

    def _init_told(self) -> int:
        """Return pid 1 of the namespace by the word of whoever made it, 0 if that was not said."""
        if self._contained:
            return (self._who() or (0,))[0]
        return sandbox.status(self.owner.folders.status(self.entry.nonce)).get("child-pid", 0)

    def _penalty(self) -> tuple[int, float]:
        entry, spec, now = self.entry, self.spec, time.time()
        assert spec is not None
        served_s: float | None = None
        if entry.connected:
            served_s = max(0.0, now - entry.connected_at)
        elif entry.port is None and now - entry.started_at >= spec.backoff.served_s:
            served_s = now - entry.started_at
        quiet_s = max(0.0, now - entry.last_death_at)
        return backoff.after_death(spec.backoff, entry.level, quiet_s, served_s, os.urandom(1)[0] / 255)

    def _result(self) -> Json | None:
        """Return the exit code that a step wrote down itself, for one whose parent died before it."""
        if not self.spec or not self.spec.result_path:
            return None
        try:
            with open(self.spec.result_path, "rb") as file:
                return {"code": int(file.read(32))}
        except (OSError, ValueError):
            return None

    # -- stopping --------------------------------------------------------------------------------------

    def stop(self, timeout_s: float | None, reason: str, again: bool) -> None:
        """Out of rotation, SIGTERM, at the deadline SIGKILL to the tree; with `again`, then a fresh start."""
        entry = self.entry
        if not entry.outer:
            self._cancel("back")
            self.owner.record(
                "stopped", key=entry.key, exit=entry.last_exit, reason=reason, pid=None, start_time=None
            )
            self.owner.drop(entry)
            return
        if timeout_s is None:
            timeout_s = self.spec.stop_timeout_s if self.spec else limits.STOP_TIMEOUT_S
        deadline_at = time.time() + timeout_s
        if entry.phase == "stopping":
            deadline_at = min(deadline_at, entry.deadline_at)
            if not entry.again and deadline_at == entry.deadline_at:
                return
        self.owner.record("stopping", key=entry.key, deadline_at=deadline_at, again=again, reason=reason)
        self.owner.refresh(entry.cluster)
        if self._probe:
            self._probe.cancel()
            self._probe = None
        self._end_by(max(0.0, deadline_at - time.time()))

    def restart(self, victim: tuple[int, int], timeout_s: float | None, reason: str) -> bool:
        """End exactly the process (pid, start time) and start afresh; (0, 0) ends the wait of a back-off."""
        entry = self.entry
        if entry.phase == "backoff" and "back" in self._timers and victim == (0, 0):
            self.start("restarted")
            return True
        if (
            not entry.pid
            or victim != (entry.pid, entry.start_time)
            or self.spec is None
            or self.owner.closing
        ):
            return False
        if entry.phase == "stopping" and not entry.again:
            return False
        self.stop(timeout_s, reason, again=True)
        return True

    def _end_by(self, timeout_s: float) -> None:
        if timeout_s > 0:
            self._terminate()
            self._later("stop", timeout_s, self._force)
        else:
            self._force()

    def _terminate(self) -> None:
        if not proc.send(self._app, signal.SIGTERM) and self._contained and self.owner.engine is not None:
            container.terminate(self.owner.engine, _container_name(self.entry.nonce))

    def _force(self) -> None:
        if self._enclosed:
            self._kill_namespace()
        if self._init is None:
            # Within a namespace bwrap must live on, to say how the app ended.
            proc.send(self._outer, signal.SIGKILL)
            proc.sweep(self.entry.outer, self.entry.nonce)
        self._later("stop", limits.FORCE_AGAIN_S, self._force)

    # -- small -----------------------------------------------------------------------------------------

    @property
    def _enclosed(self) -> bool:
        """Whether the app is not the keeper's own child: bwrap or an engine stands between."""
        # Without its specification (lost at a logout) an entry with an init was enclosed.
        if self.spec is None:
            return self.entry.init != 0
        return self.spec.sandbox is not None or self.spec.container is not None

    @property
    def _contained(self) -> bool:
        if self.spec is None:
            return self.entry.init != 0 and self.entry.init == self.entry.pid
        return self.spec.container is not None

    def _argv(self, spec: Spec, nonce: str) -> list[str]:
        folders = self.owner.folders
        if spec.container is not None:
            assert self.owner.engine is not None
            name, env_file = _container_name(nonce), folders.env_file(nonce)
            return container.wrap(self.owner.engine, spec.container, spec.argv, name, env_file)
        if spec.sandbox is None:
            return spec.argv
        assert self.owner.bwrap is not None
        masked = [folders.data, folders.specs, os.path.expanduser("~")]
        return sandbox.wrap(self.owner.bwrap, spec.sandbox, spec.argv, spec.cwd, masked)

    def _environment(self, spec: Spec, env: dict[str, str], nonce: str) -> dict[str, str]:
        """Return what the child is given; a container's own goes into a file: its client has another."""
        if spec.container is None:
            return env
        inside = {name: value for name, value in env.items() if name != "PATH" or "PATH" in spec.env}
        container.write_env(self.owner.folders.env_file(nonce), inside, spec.container.passed)
        marks = {"POISE_KEY": spec.key, "POISE_NONCE": nonce}
        return {**container.engine_env(spec.env, spec.container.passed), **marks}

    def _files(self, spec: Spec, nonce: str) -> tuple[str | None, str]:
        folders = self.owner.folders
        return (folders.status(nonce) if self._enclosed else None), folders.mark(nonce)

    def _later(self, name: str, delay_s: float, deed: Callable[[], object]) -> None:
        self._cancel(name)
        self._timers[name] = self.owner.loop.later(delay_s, deed)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer:
            timer.cancel()


def _container_name(nonce: str) -> str:
    return f"poise-{nonce}"


def _env(spec: Spec, nonce: str, port: int | None) -> dict[str, str]:
    env = {"PATH": "/usr/local/bin:/usr/bin:/bin", **spec.env, "POISE_KEY": spec.key, "POISE_NONCE": nonce}
    if port is not None:
        env["PORT"] = str(port)
    return env
