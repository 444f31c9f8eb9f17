"""The types of events: CDEvents 0.5.1 where one exists, else ``dev.poise.*``.

Source: cdevents/spec v0.5.1; each type is pinned with its own version, since they move apart.
"""

from __future__ import annotations

from typing import Final

CHANGE_CREATED: Final = "dev.cdevents.change.created.0.4.0"  # a head on a branch that is not released
CHANGE_MERGED: Final = "dev.cdevents.change.merged.0.3.0"  # a head on the project's branch
CHANGE_CLASSIFIED: Final = "dev.poise.change.classified"  # a label came or went after it was pushed
RUN_QUEUED: Final = "dev.cdevents.pipelinerun.queued.0.3.0"
RUN_STARTED: Final = "dev.cdevents.pipelinerun.started.0.3.0"
RUN_FINISHED: Final = "dev.cdevents.pipelinerun.finished.0.3.0"
JOB_STARTED: Final = "dev.cdevents.taskrun.started.0.3.0"
JOB_FINISHED: Final = "dev.cdevents.taskrun.finished.0.3.0"
ARTIFACT_PACKAGED: Final = "dev.cdevents.artifact.packaged.0.3.0"
SERVICE_DEPLOYED: Final = "dev.cdevents.service.deployed.0.3.0"
SERVICE_UPGRADED: Final = "dev.cdevents.service.upgraded.0.3.0"
SERVICE_ROLLED_BACK: Final = "dev.cdevents.service.rolledback.0.3.0"
SERVICE_REMOVED: Final = "dev.cdevents.service.removed.0.3.0"

SPEC_APPLIED: Final = "dev.poise.spec.applied"
SPEC_REFUSED: Final = "dev.poise.spec.refused"
DECLARED: Final = "dev.poise.object.declared"  # a project, service or objective is new
REDECLARED: Final = "dev.poise.object.changed"
UNDECLARED: Final = "dev.poise.object.removed"

ROLLOUT_CREATED: Final = "dev.poise.rollout.created"
ROLLOUT_STARTED: Final = "dev.poise.rollout.started"  # its replicas may come up
ROLLOUT_SHADOWED: Final = "dev.poise.rollout.shadowed"
ROLLOUT_STEPPED: Final = "dev.poise.rollout.stepped"  # it may take more traffic
ROLLOUT_HELD: Final = "dev.poise.rollout.held"  # the gate said hold; told once until it goes again
ROLLOUT_ROLLING_BACK: Final = "dev.poise.rollout.rollingback"
ROLLOUT_FAILED: Final = "dev.poise.rollout.failed"  # it never became ready; users never met it
ROLLOUT_SUPERSEDED: Final = "dev.poise.rollout.superseded"
RELEASE_REJECTED: Final = "dev.poise.release.rejected"  # its digest was rolled back before
RELEASE_UNCHANGED: Final = "dev.poise.release.unchanged"  # it equals what is live
RELEASE_VERIFIED: Final = "dev.poise.release.verified"  # before anything of it started, or told as bootstrap
RELEASE_REFUSED: Final = "dev.poise.release.refused"  # its envelope, its key or its files do not fit
KEY_MADE: Final = "dev.poise.key.made"  # it signs provenance from now on
KEY_TRUSTED: Final = "dev.poise.key.trusted"
KEY_REMOVED: Final = "dev.poise.key.removed"
ORDER_TAKEN: Final = "dev.poise.order.taken"
ORDER_REFUSED: Final = "dev.poise.order.refused"

REPLICA_ASKED: Final = "dev.poise.replica.asked"
REPLICA_READY: Final = "dev.poise.replica.ready"
REPLICA_UNREADY: Final = "dev.poise.replica.unready"
REPLICA_REPLACED: Final = "dev.poise.replica.replaced"  # another process under the same key
REPLICA_STOPPED: Final = "dev.poise.replica.stopped"
REPLICA_KILLED: Final = "dev.poise.replica.killed"  # it did not end when it was asked to
TRAFFIC_ASKED: Final = "dev.poise.traffic.asked"
TRAFFIC_ACKNOWLEDGED: Final = "dev.poise.traffic.acknowledged"
HEAL_ORDERED: Final = "dev.poise.heal.ordered"
HEAL_WITHHELD: Final = "dev.poise.heal.withheld"  # a mass failure: nothing is killed
HEAL_SPENT: Final = "dev.poise.heal.spent"
HEAL_FAILED: Final = "dev.poise.heal.failed"  # healed three times in a row and still not ready

BUDGET_CHANGED: Final = "dev.poise.budget.changed"  # its state, not each number
BUDGET_CHARGED: Final = "dev.poise.budget.charged"  # an entry of the ledger has ended, and whose it is
GATE_ANSWERED: Final = "dev.poise.gate.answered"
OVERRIDE_CREATED: Final = "dev.poise.override.created"
OVERRIDE_APPROVED: Final = "dev.poise.override.approved"
GRANT_ASKED: Final = "dev.poise.grant.asked"
GRANT_DECIDED: Final = "dev.poise.grant.decided"
GRANT_ESCALATED: Final = "dev.poise.grant.escalated"  # a dispute stays open: who decides is paged
GRANT_ACKNOWLEDGED: Final = "dev.poise.grant.acknowledged"
LOCK_PLACED: Final = "dev.poise.lock.placed"
LOCK_LIFTED: Final = "dev.poise.lock.lifted"
POLICY_LEVEL_CHANGED: Final = "dev.poise.policy.changed"  # the level of a service, not each number
EXCLUSION_CREATED: Final = "dev.poise.exclusion.created"  # by a person; declared ones are objects
EXCLUSION_REMOVED: Final = "dev.poise.exclusion.removed"

CONFIG_CHANGED: Final = "dev.poise.config.changed"
SECRET_CHANGED: Final = "dev.poise.secret.changed"  # noqa: S105 - a type, not a secret

SCALE_CHANGED: Final = "dev.poise.scale.changed"
SCALE_WITHHELD: Final = "dev.poise.scale.withheld"  # data is missing, or the flap budget is used up
ROLLBACK_REQUESTED: Final = "dev.poise.rollback.requested"  # a crash loop soon after a release

ALERTS_TRUNCATED: Final = "dev.poise.alert.truncated"  # another system left some out
HOOK_CHANGED: Final = "dev.poise.hook.changed"
ALERT_FIRING: Final = "dev.poise.alert.firing"
ALERT_RESOLVED: Final = "dev.poise.alert.resolved"
INCIDENT_DETECTED: Final = "dev.cdevents.incident.detected.0.3.0"
INCIDENT_RESOLVED: Final = "dev.cdevents.incident.resolved.0.3.0"
INCIDENT_JOINED: Final = "dev.poise.incident.joined"  # another alert or service is part of it
INCIDENT_ACKNOWLEDGED: Final = "dev.poise.incident.acknowledged"
INCIDENT_MITIGATED: Final = "dev.poise.incident.mitigated"
INCIDENT_REOPENED: Final = "dev.poise.incident.reopened"
INCIDENT_MERGED: Final = "dev.poise.incident.merged"
INCIDENT_NOTED: Final = "dev.poise.incident.noted"
INCIDENT_RATED: Final = "dev.poise.incident.rated"  # its severity changed
PAGE_ASKED: Final = "dev.poise.page.asked"
PAGE_SENT: Final = "dev.poise.page.sent"
PAGE_FAILED: Final = "dev.poise.page.failed"
PAGE_NOBODY: Final = "dev.poise.page.nobody"  # nobody could be paged; says why
ESCALATED: Final = "dev.poise.escalation.stepped"
ONCALL_OVERRIDDEN: Final = "dev.poise.oncall.overridden"
CAUSE_DIAGNOSED: Final = "dev.poise.cause.diagnosed"
REVIEW_DRAFTED: Final = "dev.poise.review.drafted"
REVIEW_EDITED: Final = "dev.poise.review.edited"
REVIEW_CLASSIFIED: Final = "dev.poise.review.classified"  # what kind of outage it was
REVIEW_PUBLISHED: Final = "dev.poise.review.published"
ACTION_ADDED: Final = "dev.poise.action.added"
ACTION_DONE: Final = "dev.poise.action.done"
PREVIEW_CHANGED: Final = "dev.poise.preview.changed"  # a branch preview is built, starts or is ready
PREVIEW_FAILED: Final = "dev.poise.preview.failed"
PREVIEW_STOPPED: Final = "dev.poise.preview.stopped"
PREVIEW_STOP_ASKED: Final = "dev.poise.preview.stop_asked"
DRIFT_FOUND: Final = "dev.poise.drift.found"
DRIFT_GONE: Final = "dev.poise.drift.gone"
