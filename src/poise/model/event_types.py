"""The types of events: CDEvents 0.5.1 where one exists, else ``dev.poise.*``.

Source: cdevents/spec v0.5.1; each type is pinned with its own version, since they move apart.
"""

from __future__ import annotations

from typing import Final

CHANGE_CREATED: Final = "dev.cdevents.change.created.0.4.0"  # a head on a branch that is not released
CHANGE_MERGED: Final = "dev.cdevents.change.merged.0.3.0"  # a head on the project's branch
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
