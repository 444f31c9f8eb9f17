"""The table of workloads: accepts, starts, watches, restarts, stops. All that happens is a record first."""

from __future__ import annotations

import os

from . import engine, limits, sandbox
from .endpoints import Endpoints
from .launch import crash
from .logs import Logs
from .loop import say
from .replica import Replica
from .wire import Refusal
from .workload import Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .folders import Folders
    from .journal import Journal
    from .loop import Loop
    from .state import Entry, State

    Json = dict[str, Any]


class Supervisor:
    """Owns every workload of this machine; the only writer of the state."""

    def __init__(self, loop: Loop, folders: Folders, journal: Journal, state: State) -> None:
        self.loop, self.folders, self.journal, self.state = loop, folders, journal, state
        self.endpoints = Endpoints()
        self.logs = Logs()
        self.bwrap = sandbox.find()
        self.engine = engine.find()
        self.replicas: dict[str, Replica] = {}
        self.gates: list[int] = []
        self.closing = False
        self.announce: Callable[[Json], None] = lambda record: None

    # -- what requests ask for -------------------------------------------------------------------------

    def spawn(self, raw: Json) -> Json:
        """Start a workload by key; a key that is there with the same hash is adopted, never started twice."""
        spec = Spec(raw)
        known = self.replicas.get(spec.key)
        if known:
            if known.entry.spec_hash != spec.spec_hash:
                raise Refusal(
                    "conflict",
                    f"the key '{spec.key}' runs something else",
                    "its specification has another hash",
                    "stop it first, or use a new key",
                )
            return {"adopted": True, "process": known.shown()}
        self._refuse_what_cannot_run(spec)
        spec_id = os.urandom(8).hex()
        self.folders.save_spec(spec_id, spec.raw)
        self.record("accepted", key=spec.key, spec_id=spec_id, spec_hash=spec.spec_hash, cluster=spec.cluster)
        replica = self.replicas[spec.key] = Replica(self, self.state.entries[spec.key], spec)
        replica.start("spawned")
        return {"adopted": False, "process": replica.shown()}

    def stop(self, key: str, timeout_s: float | None, reason: str) -> Json:
        """Take a workload out of rotation, end it and forget its key; a key that is not there is fine."""
        replica = self.replicas.get(key)
        if replica is None:
            return {"process": None}
        replica.stop(timeout_s, reason, again=False)
        return {"process": replica.shown() if key in self.replicas else None}

    def restart(self, key: str, victim: tuple[int, int], timeout_s: float | None, reason: str) -> Json:
        """Replace exactly the process (pid, start time); ignored when another one lives under the key now."""
        replica = self.replicas.get(key)
        done = replica is not None and replica.restart(victim, timeout_s, reason)
        return {"done": done, "process": replica.shown() if replica else None}

    def hold(self, key: str, in_rotation: bool) -> Json:
        """Put a replica's port into, or take it out of, its endpoint file without touching the process."""
        replica = self.replicas.get(key)
        if replica is None:
            raise Refusal(
                "not_found", f"no workload '{key}'", "it was stopped or never spawned", "ask `list`"
            )
        if replica.entry.in_rotation != in_rotation:
            self.record("hold", key=key, in_rotation=in_rotation)
            self.refresh(replica.entry.cluster)
        return {"process": replica.shown()}

    def template(self, clusters: dict[str, Json]) -> Json:
        """Take the full set of endpoint templates; files of clusters no longer named are deleted."""
        gone = {c: t for c, t in self.state.clusters.items() if c not in clusters}
        if clusters != self.state.clusters:
            self.record("clusters", clusters=clusters)
        for cluster, template in gone.items():
            if template["path"] not in [kept["path"] for kept in clusters.values()]:
                self.endpoints.remove(cluster, template)
        for cluster in clusters:
            self.refresh(cluster)
        return {"clusters": self.clusters()}

    def list(self) -> Json:
        """Tell everything that is."""
        processes = [replica.shown() for replica in self.replicas.values()]
        return {"processes": processes, "clusters": self.clusters(), "seq": self.journal.seq}

    def clusters(self) -> Json:
        """Tell what stands in the endpoint files."""
        versions = {c: t.get("version") for c, t in self.state.clusters.items()}
        return {c: {"version": v, **self.endpoints.shown(c)} for c, v in versions.items()}

    def shutdown(self, timeout_s: float | None) -> Json:
        """Stop everything; the keeper ends when the last workload has."""
        self.closing = True
        for replica in list(self.replicas.values()):
            replica.stop(timeout_s, "shutdown", again=False)
        self._end_if_done()
        return {"stopping": len(self.replicas)}

    # -- what replicas call ----------------------------------------------------------------------------

    def record(self, kind: str, **fields: Any) -> Json:
        """Queue a record and move the state on by it; durable at the end of this round."""
        record = self.journal.append(kind, fields)
        self.state.apply(record)
        return record

    def refresh(self, cluster: str | None) -> None:
        """Write a cluster's endpoint file if the ports that serve have changed."""
        template = self.state.clusters.get(cluster) if cluster else None
        if cluster and template:
            entries = self.state.entries.values()
            ports = [e.port for e in entries if e.cluster == cluster and e.port and _serves(e)]
            self.endpoints.write(cluster, template, sorted(ports))

    def ports(self) -> set[int]:
        """Return the ports given out."""
        return {entry.port for entry in self.state.entries.values() if entry.port}

    def drop(self, entry: Entry) -> None:
        """Forget a workload whose end is recorded."""
        self.folders.drop_spec(entry.spec_id)
        self.replicas.pop(entry.key, None)
        self._end_if_done()

    def limit_exited(self) -> None:
        """Forget the oldest ended one-shot workloads above the limit."""
        ended = [r.entry for r in self.replicas.values() if r.entry.phase == "exited"]
        for entry in ended[: max(0, len(ended) - limits.EXITED_KEPT)]:
            self.record("forgotten", key=entry.key)
            self.drop(entry)

    # -- rounds and recovery ---------------------------------------------------------------------------

    def commit(self) -> None:
        """Make this round's records durable, then open the gates of what was forked, then tell watchers."""
        done = self.journal.sync()
        # With a full disk the gates open all the same: a workload that serves is worth more than its record.
        self.open_gates()
        for record in done:
            self.announce(record)
        if self.journal.too_big():
            self.journal.compact(self.state.dump)

    def open_gates(self) -> None:
        """Let the forked children run."""
        if not self.gates:
            return
        crash("after_record")
        for gate in self.gates:
            try:
                os.write(gate, b"1")
            except OSError as error:
                say(f"a child went before its gate opened: {error}")
            os.close(gate)
        self.gates.clear()
        crash("after_gate")

    def recover(self) -> None:
        """Adopt what the state says is running, and carry on with what the last keeper left half done."""
        self.folders.tidy({entry.spec_id for entry in self.state.entries.values()})
        for entry in list(self.state.entries.values()):
            raw = self.folders.load_spec(entry.spec_id)
            try:
                spec = Spec(raw) if raw is not None else None
            except Refusal as refusal:
                say(f"{entry.key}: its kept specification no longer parses: {refusal.why}")
                spec = None
            self.replicas[entry.key] = Replica(self, entry, spec)
        for replica in list(self.replicas.values()):
            replica.recover()
        for cluster in self.state.clusters:
            self.refresh(cluster)
        self.loop.later(limits.LOG_CHECK_FAST_S, self._look_at_logs)

    def _refuse_what_cannot_run(self, spec: Spec) -> None:
        if self.closing:
            raise Refusal(
                "closing", "nothing is started any more", "the keeper is stopping everything", "wait"
            )
        if len(self.replicas) >= limits.WORKLOADS:
            raise Refusal(
                "too_many", f"no room for '{spec.key}'", f"the limit is {limits.WORKLOADS}", "stop some first"
            )
        if self.journal.failing:
            raise Refusal(
                "disk_full",
                f"'{spec.key}' is not started",
                self.journal.failing,
                "free space under the data folder",
            )
        if spec.sandbox and self.bwrap is None:
            raise Refusal(
                "no_sandbox",
                f"'{spec.key}' wants a sandbox",
                "bubblewrap (bwrap) is not on the keeper's PATH",
                "apt-get install bubblewrap",
            )
        if spec.container and self.engine is None:
            raise Refusal(
                "no_engine",
                f"'{spec.key}' is a container",
                f"neither podman nor docker is on the keeper's PATH, or {engine.CHOICE} names another",
                "apt-get install podman (or docker.io), then start the keeper again",
            )

    def _look_at_logs(self) -> None:
        again_s = self.logs.look(self.folders.own_log, limits.LOG_BYTES)
        for replica in self.replicas.values():
            if replica.spec and replica.spec.log and replica.entry.outer:
                again_s = min(again_s, self.logs.look(replica.spec.log, replica.spec.log_limit_bytes))
        self.loop.later(again_s, self._look_at_logs)

    def _end_if_done(self) -> None:
        if self.closing and not self.replicas:
            self.loop.later(0.0, self._end)

    def _end(self) -> None:
        self.commit()
        self.folders.leave()
        self.loop.over = True


def _serves(entry: Entry) -> bool:
    return entry.connected and entry.in_rotation and entry.phase == "running"
