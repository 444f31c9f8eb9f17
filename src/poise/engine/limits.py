"""The loop's named limits."""

from __future__ import annotations

from typing import Final

CONFLICT_RETRIES: Final = 5  # decide again at once, so often; then after CONFLICT_PAUSE_S
CONFLICT_PAUSE_S: Final = 1.0
INTENT_ATTEMPTS: Final = 10
INTENT_CONCURRENCY: Final = 16
INTENT_CONCURRENCY_PER_ACT: Final = 5  # hung receivers of pages must not keep replicas from starting
INTENT_BATCH: Final = 500
MISTAKE_PAUSE_S: Final = 10.0
RESYNC_S: Final = 30.0
LEASE_TTL_S: Final = 15.0
LEASE_RENEW_S: Final = 5.0
VERDICT_MAX_AGE_S: Final = 30.0
FAULT_PAUSE_S: Final = 2.0
ENDED_INTENT_KEPT_S: Final = 7 * 86_400.0
FAILED_INTENT_KEPT_S: Final = 30 * 86_400.0
ANSWER_KEPT_S: Final = 86_400.0  # the life of an Idempotency-Key
PRUNE_BATCH: Final = 500  # rows looked at in one transaction
PRUNE_PAUSE_S: Final = 1.0  # between two batches
PRUNE_EVERY_S: Final = 3600.0
