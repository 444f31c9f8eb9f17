"""One host name reaches one service, whichever project declares it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from poise.model.errors import Invalid
from poise.model.service import Service
from poise.spec.problems import HOST_TAKEN


def taken(
    declared: Iterable[Service], others: Iterable[Service], filename: str = "poise.yaml"
) -> Iterator[Invalid]:
    """What of ``declared`` asks for a host name under which a service of another project is reached.

    Envoy refuses a whole configuration in which a name stands twice, so nobody's traffic could change.
    """
    owners = {one.hostname: one for one in others if one.port and one.hostname is not None}
    for one in declared:
        owner = owners.get(one.hostname or "") if one.port else None
        if owner is not None and owner.project != one.project:
            yield Invalid(
                HOST_TAKEN,
                f"the host name '{one.hostname}' is already that of {owner.key}",
                where=filename,
                why="One host name reaches one service of an installation.",
                mend=f"Give {one.name} another: spec: {{hostname: {one.name}.{one.project}.localhost}}.",
            )
