"""A body of traces or logs as it was sent: unpacked, decoded and kept, and what is answered to its sender."""

from __future__ import annotations

import threading
from typing import Any, Final

from google.protobuf import json_format  # type: ignore[import-untyped]

from poise.adapters.otlp import log_records, spans
from poise.adapters.otlp.attributes import Found, TelemetryLimits
from poise.adapters.telemetry.file import DAY_NS, TelemetryFile
from poise.adapters.telemetry.wire import Push, Taken
from poise.adapters.unpacking import unpacked
from poise.model.telemetry import Appended

TOLD: Final = 3  # faults in a response
LIMITS: Final = TelemetryLimits()
_ONE_AT_A_TIME: Final = threading.Lock()  # a decoded body may take twenty times its size


def taken(file: TelemetryFile, asked: Push) -> Taken:
    """What is good is durable on return. Raises ``Invalid``, ``TooLarge``, and ``Unreachable``."""
    found = Found(LIMITS, asked.now_ns, asked.now_ns - int(file.retention.days * DAY_NS))
    with _ONE_AT_A_TIME:
        body = unpacked(asked.body, asked.encoding, asked.body_bytes)
        if asked.signal == "traces":
            read_spans = spans.read_spans(body, found, json=asked.json)
            del body
            kept, answered = file.append_spans(read_spans), spans.answered
        else:
            records = log_records.read_records(body, found, json=asked.json)
            del body
            kept, answered = file.append_records(records), log_records.answered
    made = answered(found.faults.total, _told(found, kept))
    return Taken(
        response=_encoded(made, json=asked.json),
        kept=kept.kept,
        known=kept.known,
        rejected=dict(found.faults.counts),
        warned=dict(found.warned),
        faults=found.named(),
    )


def _told(found: Found, kept: Appended) -> str:
    """What was not kept and why; empty when there is nothing to tell."""
    rejected = ", ".join(f"{kind}: {count}" for kind, count in sorted(found.faults.counts.items()))
    warned = ", ".join(f"{kind}: {count}" for kind, count in sorted(found.warned.items()))
    parts = []
    if rejected:
        first = "; ".join(dict.fromkeys(one.what for one in found.named()[:TOLD]))
        parts.append(
            f"{found.faults.total} were not kept ({rejected}): {first}. The other {kept.kept} are kept."
        )
    if warned:
        parts.append(f"Kept, but not as it was sent ({warned}).")
    return " ".join(parts)


def _encoded(made: Any, *, json: bool) -> bytes:
    if json:
        return str(json_format.MessageToJson(made, indent=None)).encode()
    return bytes(made.SerializeToString())
