"""An event of the journal as a CloudEvent whose data is a CDEvent. Pure: same event, same bytes.

Source: cdevents/spec v0.5.1, schemas and "CloudEvents Binding"; purl-spec for ``artifactId``.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any, Final

from msgspec import Struct

from poise.model import event_types as types
from poise.model.record import Recorded

SPEC_VERSION: Final = "0.5.1"
ANNOUNCED: Final = (
    types.CHANGE_CREATED, types.CHANGE_MERGED, types.RUN_QUEUED, types.RUN_STARTED, types.RUN_FINISHED,
    types.JOB_STARTED, types.JOB_FINISHED, types.ARTIFACT_PACKAGED, types.SERVICE_DEPLOYED,
    types.SERVICE_UPGRADED, types.SERVICE_ROLLED_BACK, types.SERVICE_REMOVED, types.INCIDENT_DETECTED,
    types.INCIDENT_RESOLVED,
)  # fmt: skip
_OUTCOME: Final = {"success": "success", "failure": "failure", "timeout": "failure", "skipped": "cancel"}
UNKNOWN: Final = "unknown"


class Facts(Struct, frozen=True, kw_only=True):
    """What an event does not carry itself: who we are, and what its subject is on record as."""

    installation: str
    base_url: str
    workflow: str = ""
    environment: str = ""
    service: str = ""
    digest: str = ""


def cloud_event(row: Recorded, facts: Facts) -> dict[str, Any]:
    """The event in CloudEvents' JSON format; its id is of the installation and the sequence."""
    project = row.event.subject.split("/", 1)[0]
    name, source = f"{facts.installation}-{row.sequence}", f"/poise/{facts.installation}/{project}"
    at = row.at.isoformat()
    subject_id, content = _subject(row, project, facts)
    context: dict[str, Any] = {
        "specversion": SPEC_VERSION, "id": name, "source": source, "type": row.event.type, "timestamp": at,
    }  # fmt: skip
    if commit := row.event.data.get("commit"):
        context["chainId"] = _chain(f"{project}/{commit}")
    told = {"summary": row.event.summary, "actor": row.event.actor, **row.event.data}
    event = {
        "context": context,
        "subject": {"id": subject_id, "source": source, "content": content},
        "customData": {"poise": told},
        "customDataContentType": "application/json",
    }
    return {
        "specversion": "1.0", "id": name, "source": source, "type": row.event.type, "subject": subject_id,
        "time": at, "datacontenttype": "application/json", "data": event,
    }  # fmt: skip


def artifact_id(service: str, digest: str) -> str:
    """The purl of a release; the colon of a digest is encoded, as CDEvents' own examples have it."""
    return f"pkg:generic/{service or UNKNOWN}@{(digest or UNKNOWN).replace(':', '%3A')}"


def _subject(row: Recorded, project: str, facts: Facts) -> tuple[str, dict[str, Any]]:
    """(id, content) of the subject, by what the type is about."""
    match row.event.type.split(".")[2]:
        case "change":
            return _change(row, project)
        case "pipelinerun":
            return row.event.subject, _run(row, project, facts)
        case "taskrun":
            return _job(row, facts)
        case "artifact":
            return _artifact(row, project)
        case "service":
            return _service(row, facts)
        case _:
            return row.event.subject, _incident(row, facts)


def _change(row: Recorded, project: str) -> tuple[str, dict[str, Any]]:
    content: dict[str, Any] = {"repository": {"id": project}}
    if row.event.type == types.CHANGE_CREATED:
        content["description"] = row.event.summary
    return row.event.subject, content


def _run(row: Recorded, project: str, facts: Facts) -> dict[str, Any]:
    content = {"pipelineName": facts.workflow or project, "uri": _uri(row.event.subject, facts)}
    if row.event.type == types.RUN_FINISHED:
        content["outcome"] = _OUTCOME.get(str(row.event.data.get("state")), "error")
        if problem := row.event.data.get("problem"):
            content["errors"] = str(problem)
    return content


def _job(row: Recorded, facts: Facts) -> tuple[str, dict[str, Any]]:
    job = str(row.event.data.get("job", UNKNOWN))
    content: dict[str, Any] = {
        "taskName": job, "uri": _uri(row.event.subject, facts), "pipelineRun": {"id": row.event.subject},
    }  # fmt: skip
    if row.event.type == types.JOB_FINISHED:
        content["outcome"] = _OUTCOME.get(str(row.event.data.get("state")), "error")
    return f"{row.event.subject}/{job}", content


def _artifact(row: Recorded, project: str) -> tuple[str, dict[str, Any]]:
    service = _part(row.event.subject, 1)
    commit = row.event.data.get("commit", UNKNOWN)
    content = {"change": {"id": f"{project}/{commit}"}}
    return artifact_id(service, str(row.event.data.get("digest", ""))), content


def _service(row: Recorded, facts: Facts) -> tuple[str, dict[str, Any]]:
    environment, service = _part(row.event.subject, 1), _part(row.event.subject, 2)
    content: dict[str, Any] = {"environment": {"id": environment}}
    if row.event.type != types.SERVICE_REMOVED:
        digest = facts.digest or str(row.event.data.get("digest", ""))
        content["artifactId"] = artifact_id(service, digest)
    return "/".join(row.event.subject.split("/")[:3]), content


def _incident(row: Recorded, facts: Facts) -> dict[str, Any]:
    content: dict[str, Any] = {
        "description": row.event.summary,
        "environment": {"id": facts.environment or UNKNOWN},
    }
    if facts.service:
        content["service"] = {"id": facts.service}
        if facts.digest:
            content["artifactId"] = artifact_id(_part(facts.service, 2), facts.digest)
    return content


def _uri(run: str, facts: Facts) -> str:
    project, _, n = run.partition("/")
    return f"{facts.base_url}/api/v1/projects/{project}/runs/{n.lstrip('0') or '0'}"


def _part(key: str, index: int) -> str:
    parts = key.split("/")
    return parts[index] if index < len(parts) and parts[index] else UNKNOWN


def _chain(of: str) -> str:
    """One id for all that comes of a commit, in the form of a UUID."""
    digits = sha256(of.encode()).hexdigest()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
