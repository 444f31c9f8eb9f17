"""What the journal adds up to: `apply` is the only way the durable state changes, live or replayed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Record = dict[str, Any]


class Entry:
    """The durable half of one workload."""

    __slots__ = (
        "again",
        "boot_id",
        "cluster",
        "connected",
        "connected_at",
        "deadline_at",
        "in_rotation",
        "incarnation",
        "init",
        "init_start",
        "key",
        "last_death_at",
        "last_exit",
        "level",
        "outer",
        "outer_start",
        "phase",
        "pid",
        "port",
        "reason",
        "restarts",
        "spec_hash",
        "spec_id",
        "start_time",
        "started_at",
    )

    def __init__(self, key: str, spec_id: str, spec_hash: str, cluster: str | None) -> None:
        self.key, self.spec_id, self.spec_hash, self.cluster = key, spec_id, spec_hash, cluster
        self.phase = "starting"
        self.incarnation = self.restarts = self.level = 0
        self.outer = self.outer_start = 0
        """The child of the keeper: bwrap, or the app itself without a sandbox. 0: none alive."""
        self.init = self.init_start = 0
        """pid 1 of the sandbox's namespace: killing it ends the whole tree."""
        self.pid = self.start_time = 0
        """The app."""
        self.boot_id = ""
        self.port: int | None = None
        self.connected, self.in_rotation = False, True
        self.connected_at = self.started_at = self.last_death_at = self.deadline_at = 0.0
        self.last_exit: Record | None = None
        self.again = False
        """Being stopped in order to start again (`restart`)."""
        self.reason = ""

    @property
    def nonce(self) -> str:
        """The mark of this one start, in the process' environment and in the status file's name."""
        return f"{self.spec_id}.{self.incarnation}"

    def dump(self) -> Record:
        """Return the entry as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def load(cls, dumped: Record) -> Entry:
        """Return the entry that `dump` gave; unknown fields of another version are dropped."""
        entry = cls(dumped["key"], dumped["spec_id"], dumped["spec_hash"], dumped["cluster"])
        for name in cls.__slots__:
            if name in dumped:
                setattr(entry, name, dumped[name])
        return entry


class State:
    """Everything durable."""

    def __init__(self) -> None:
        self.token = 0
        self.clusters: dict[str, Record] = {}
        self.entries: dict[str, Entry] = {}

    def dump(self) -> Record:
        """Return the state as JSON, for a snapshot."""
        entries = [entry.dump() for entry in self.entries.values()]
        return {"token": self.token, "clusters": self.clusters, "entries": entries}

    def apply(self, record: Record) -> None:
        """Move the state on by one record; records of unknown kind or key change nothing."""
        kind = record["kind"]
        if record.get("old"):
            return
        if kind == "snapshot":
            dumped = record["state"]
            self.token, self.clusters = dumped["token"], dumped["clusters"]
            self.entries = {e["key"]: Entry.load(e) for e in dumped["entries"]}
        elif kind == "token":
            self.token = record["token"]
        elif kind == "clusters":
            self.clusters = record["clusters"]
        elif kind == "accepted":
            self.entries[record["key"]] = Entry(
                record["key"], record["spec_id"], record["spec_hash"], record["cluster"]
            )
        elif kind in ("stopped", "forgotten"):
            self.entries.pop(record["key"], None)
        elif record.get("key") in self.entries:
            _apply_to(self.entries[record["key"]], kind, record)


def _apply_to(entry: Entry, kind: str, record: Record) -> None:
    if kind in ("spawned", "restarted"):
        entry.restarts += kind == "restarted"
        entry.incarnation, entry.boot_id = record["incarnation"], record["boot_id"]
        entry.outer, entry.outer_start = record["outer"], record["outer_start"]
        entry.pid, entry.start_time = record["pid"] or 0, record["start_time"] or 0
        entry.init = entry.init_start = 0
        entry.port, entry.started_at = record["port"], record["at"]
        entry.connected, entry.again, entry.reason = False, False, ""
        entry.phase = "running" if entry.port is None else "starting"
    elif kind == "identified":
        entry.pid, entry.start_time = record["pid"], record["start_time"]
        entry.init, entry.init_start = record["init"], record["init_start"]
    elif kind == "connected":
        entry.connected, entry.connected_at, entry.phase = True, record["at"], "running"
    elif kind == "stopping":
        entry.phase, entry.deadline_at = "stopping", record["deadline_at"]
        entry.again, entry.reason = record["again"], record["reason"]
    elif kind == "hold":
        entry.in_rotation = record["in_rotation"]
    elif kind == "exited":
        entry.last_exit = record["exit"]
        entry.phase = record["phase"]
        entry.outer = entry.outer_start = entry.init = entry.init_start = 0
        entry.pid = entry.start_time = 0
        entry.connected = False
        entry.level, entry.last_death_at = record["level"], record["at"]
    elif kind == "unstarted":
        entry.phase, entry.outer, entry.pid, entry.incarnation = "starting", 0, 0, record["incarnation"]
