"""Every limit of the keeper, by name, in one place."""

PROTOCOL = 1
"""The protocol spoken; the one before it is understood too."""
PROTOCOL_OLDEST = max(1, PROTOCOL - 1)

LINE_BYTES = 1 << 20
"""A longer request line is refused and skipped."""
CLIENTS = 64
OUT_BUFFER_BYTES = 8 << 20
"""A client that lets more than this pile up unread is cut off; it may come back and replay."""
READ_BYTES = 1 << 16
REPLAY_EVENTS = 5_000
"""At most this many old records answer one `watch`; ask again from the last one seen."""

WORKLOADS = 512
EXITED_KEPT = 256
"""One-shot workloads that ended are listed until stopped, at most this many; the oldest go first."""
KEY_CHARS = 300
ARGV_ITEMS = 1_000
ENV_ITEMS = 2_000
BINDS = 200
CLUSTERS = 512

JOURNAL_BYTES = 4 << 20
"""Above this the journal is rewritten as a snapshot and its newest events."""
JOURNAL_EVENTS_KEPT = 1_000
UNSYNCED_RECORDS = 10_000
"""Records held in memory while the disk is full."""

BACKOFF_INITIAL_S = 0.1
BACKOFF_CAP_S = 30.0
BACKOFF_FORGET_S = 600.0
BACKOFF_BURST = 5
"""Deaths of a workload that had served but briefly which are forgiven before back-off starts."""
SERVED_S = 1.0
"""A workload that served this long before it died is restarted at once and not counted."""

STOP_TIMEOUT_S = 10.0
STOP_TIMEOUT_MAX_S = 3_600.0
FORCE_AGAIN_S = 1.0
"""SIGKILL is repeated at this pace until the death is seen."""

PROBE_FIRST_S = 0.001
PROBE_CAP_S = 0.050
PROBE_SHARE = 0.05
"""The wait between two connects is this share of the time since the start: small for a fast start."""
PROBE_CONNECT_S = 1.0
IDENTIFY_FIRST_S = 0.001
IDENTIFY_CAP_S = 0.050

PORT_LOW, PORT_HIGH = 20_000, 32_700
"""Fresh ports come from here, outside the ephemeral range: no outgoing connection can sit on one."""

LOG_BYTES = 32 << 20
"""The newest output of a workload that is kept where its specification does not say; the rest goes."""
LOG_SLACK = 8
"""A file over its limit is trimmed to the limit less one part in so many, so that trims are few."""
LOG_BLOCK_BYTES = 4_096
LOG_CHECK_S = 0.5
LOG_CHECK_FAST_S = 0.02
"""The time between two looks at log files, and at one that grows fast."""
LOG_INDEX_BYTES = 1 << 20
"""Above this the index of a log is thinned: about nine hours of output that never pauses."""
LOG_APPARENT_BYTES = 1 << 40
"""Above this the hole at the front of a log is taken out of the file; ext4 ends at 16 TiB."""
TMP_BYTES = 1 << 30
"""Size of a sandbox's own /tmp."""

IMAGE_CHARS = 400
CONTAINER_PIDS = 4_096
"""Processes and threads that one container may have."""
CONTAINER_ULIMITS = {"nofile": 1 << 20, "nproc": 2 * CONTAINER_PIDS}
"""The hard limits in a container, where the keeper's own are not lower; the soft ones are half."""
CONTAINER_MEMORY_BYTES = 6 << 20
"""Less is refused by the engines themselves."""

LOCK_WAIT_S = 5.0
UPGRADE_CHECK_S = 5.0
