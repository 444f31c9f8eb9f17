"""Every kind of object that the store holds, by name, with its room (the one writer)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from poise.model.access import Answer, Principal, Token
from poise.model.attestation import Attestation, TrustedKey, Verification
from poise.model.balance import Budget, Counted, Override, Verdict
from poise.model.branch_preview import BranchPreview, PreviewOrder
from poise.model.config import Config, Secret
from poise.model.delivery import Change, Order, Release, Rollout, Run
from poise.model.drift import Drift
from poise.model.exchange import Announcement, Delivery, Hook, Labels
from poise.model.exclusion import Exclusion
from poise.model.fleet import HealOrder, Replica, RollbackRequest, Route, ScaleTarget
from poise.model.grant import Grant
from poise.model.incident import (
    Alert,
    AlertGroup,
    Diagnosis,
    Escalation,
    Incident,
    IncidentOrder,
    Page,
    Summons,
)
from poise.model.ingress import Certificate
from poise.model.lock import Lock
from poise.model.objective import Objective
from poise.model.oncall import EscalationPolicy, OnCallOverride, OnCallSchedule
from poise.model.policy import PolicyState
from poise.model.review import Review, ReviewEdit
from poise.model.rules import RuleFile, RuleState
from poise.model.service import Project, Service
from poise.model.spend import Outlook, SpendLedger

BODIES: Final[dict[str, type[Struct]]] = {
    cls.__name__: cls
    for cls in (
        Attestation, TrustedKey, Verification,
        Project, Service, Objective, Change, Run, Release, Rollout, Order, Budget, Verdict, Override, Counted,
        Replica, Route, ScaleTarget, HealOrder, RollbackRequest, Principal, Token, Answer, Config, Secret,
        Alert, AlertGroup, Incident, IncidentOrder, Escalation, Page, Diagnosis, Review, ReviewEdit,
        OnCallSchedule, OnCallOverride, EscalationPolicy, Hook, Delivery, Labels, Announcement,
        Drift,
        RuleFile, RuleState, Exclusion,
        PolicyState, Grant, Summons,
        Outlook, SpendLedger, Certificate, Lock,
        BranchPreview, PreviewOrder,
    )
}  # fmt: skip

BODY_VERSION: Final = 1
