"""Branch previews out of the document of kind Project."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import convert

from poise.model.service import Previews, Service
from poise.spec.problems import CONTRADICTION, UNKNOWN_NAME, Report, nearest, shown
from poise.spec.read import Document, ServiceDocument, plain
from poise.spec.workflow import branch_matches


def gets_preview(previews: Previews, branch: str) -> bool:
    """Whether a branch fits one of the patterns."""
    return any(branch_matches(pattern, branch) for pattern in previews.branches)


def shows(previews: Previews, service: Service) -> bool:
    """Whether such a branch shows this service: a worker would do the work of what is live."""
    is_meant = not previews.services or service.name in previews.services
    return bool(previews.branches) and is_meant and service.port is not None and not service.runs_elsewhere


def previews_of(
    documents: Sequence[Document], services: Sequence[ServiceDocument], branch: str, report: Report
) -> Previews:
    """Which branches get a preview; what is wrong with it is reported."""
    for document in documents:
        values: Any = plain(document.spec)
        if "previews" not in values or not document.clean:
            continue
        found = convert(values["previews"], Previews)
        if branch in found.branches:
            what = f"branch {shown(branch)} is the one that is released: it has no preview"
            mend = "Name other branches, e.g. 'feature/*'."
            report.add(CONTRADICTION, document.spec.at("previews.branches"), what, mend=mend)
        ports = {one.name: one.has_port for one in services}
        place = document.spec.at("previews.services")
        for name in found.services:
            if name not in ports:
                mend = nearest(name, ports)
                report.add(UNKNOWN_NAME, place, f"no service {shown(name)} in this project", mend=mend)
            elif not ports[name]:
                what = f"service {shown(name)} has no port: nobody could look at a preview of it"
                report.add(CONTRADICTION, place, what, mend="Remove it, or give it a 'port'.")
        return found
    return Previews()
