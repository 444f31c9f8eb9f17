"""Every kind of document of ``poise.yaml`` by name: its header and its keys.

The reader, the messages and the JSON Schema come from these tables alone.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from poise.spec.keys_datasource import DATA_SOURCE
from poise.spec.keys_freeze import FREEZE_WINDOW
from poise.spec.keys_objective import EXCLUSION, OBJECTIVE
from poise.spec.keys_oncall import ESCALATION, SCHEDULE
from poise.spec.keys_openslo import (
    ALERT_CONDITION,
    ALERT_POLICY,
    ALERT_TARGET,
    INDICATOR_SPEC,
    OPENSLO_METADATA,
    OPENSLO_SERVICE,
    SLO,
)
from poise.spec.keys_policy import POLICY, PROJECT
from poise.spec.keys_probe import PROBE
from poise.spec.keys_scrape import SCRAPE_CONFIG
from poise.spec.keys_service import SERVICE
from poise.spec.keys_text import NAME
from poise.spec.shape import (
    Field,
    Record,
)

POISE_V1: Final = "poise.dev/v1"
OPENSLO_V1: Final = "openslo/v1"

_LATER: Final = "Remove it; this version does not do it."
METADATA: Final = Record(
    fields=(Field("name", NAME, "name", "The name.", required=True),),
    refused={"namespace": "A project is a repository.", "labels": _LATER, "annotations": _LATER},
)


class KindTable(Struct, frozen=True, kw_only=True):
    """One kind of document: its header and the keys of ``metadata`` and ``spec``."""

    kind: str
    api_version: str
    metadata: Record
    spec: Record
    about: str


KINDS: Final = {
    table.kind: table
    for table in (
        KindTable(
            kind="Service",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=SERVICE,
            about="One service: its command, port and how it is released.",
        ),
        KindTable(
            kind="BudgetPolicy",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=POLICY,
            about="How the error budget paces change.",
        ),
        KindTable(
            kind="Project",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=PROJECT,
            about="What holds for every service of the repository.",
        ),
        KindTable(
            kind="OnCallSchedule",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=SCHEDULE,
            about="Who is on call, and when.",
        ),
        KindTable(
            kind="EscalationPolicy",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=ESCALATION,
            about="Who is paged, in which order, until somebody answers.",
        ),
        KindTable(
            kind="SLO",
            api_version=OPENSLO_V1,
            metadata=OPENSLO_METADATA,
            spec=SLO,
            about="An objective of one service (OpenSLO v1).",
        ),
        KindTable(
            kind="Objective",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=OBJECTIVE,
            about="An objective of one service in Poise's own short form.",
        ),
        KindTable(
            kind="Exclusion",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=EXCLUSION,
            about="Time that does not count for budgets, such as maintenance.",
        ),
        KindTable(
            kind="FreezeWindow",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=FREEZE_WINDOW,
            about="A stretch of the calendar in which features wait.",
        ),
        KindTable(
            kind="SLI",
            api_version=OPENSLO_V1,
            metadata=OPENSLO_METADATA,
            spec=INDICATOR_SPEC,
            about="An indicator that several objectives share (OpenSLO v1).",
        ),
        KindTable(
            kind="AlertPolicy",
            api_version=OPENSLO_V1,
            metadata=OPENSLO_METADATA,
            spec=ALERT_POLICY,
            about="A burn-rate tier that objectives name (OpenSLO v1).",
        ),
        KindTable(
            kind="AlertCondition",
            api_version=OPENSLO_V1,
            metadata=OPENSLO_METADATA,
            spec=ALERT_CONDITION,
            about="The condition of alert policies (OpenSLO v1).",
        ),
        KindTable(
            kind="AlertNotificationTarget",
            api_version=OPENSLO_V1,
            metadata=OPENSLO_METADATA,
            spec=ALERT_TARGET,
            about="No effect here: kind EscalationPolicy says who is paged (OpenSLO v1).",
        ),
        KindTable(
            kind="Probe",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=PROBE,
            about="A look from outside: HTTP, TCP, TLS or DNS.",
        ),
        KindTable(
            kind="ScrapeConfig",
            api_version=POISE_V1,
            metadata=METADATA,
            spec=SCRAPE_CONFIG,
            about="Targets whose metrics are scraped, in Prometheus' words.",
        ),
        KindTable(
            kind="DataSource",
            api_version=OPENSLO_V1,
            metadata=OPENSLO_METADATA,
            spec=DATA_SOURCE,
            about="A metrics server that objectives count from (OpenSLO v1).",
        ),
    )
}

SERVICE_ELSEWHERE: Final = KindTable(
    kind="Service",
    api_version=OPENSLO_V1,
    metadata=OPENSLO_METADATA,
    spec=OPENSLO_SERVICE,
    about="A service that runs elsewhere, for its objectives (OpenSLO v1).",
)

KINDS_REFUSED: Final = {
    "Stack": "Remove it: infrastructure comes later.",
    "HorizontalPodAutoscaler": "Remove it: use 'replicas' in the service.",
}
