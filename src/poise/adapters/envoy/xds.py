"""What Envoy's discovery files have in common: names, versions, bytes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

Json = dict[str, Any]

CDS, LDS, RDS, BOOTSTRAP = "cds.json", "lds.json", "rds.json", "bootstrap.json"
ROUTES: Final = "poise"
STAT_PREFIX: Final = "ingress"
T: Final = "type.googleapis.com/envoy."
HTTP2: Final = "http2_protocol_options"


def response(version: int, resources: list[Json]) -> bytes:
    """A discovery response whose version says its content too: acknowledged is then never something older."""
    mark = sha256(to_bytes({"resources": resources})).hexdigest()[:12]
    return to_bytes({"version_info": f"{version}-{mark}", "resources": resources})


def plan_version(text: str) -> int:
    """The plan's version in a ``version_info``; 0 when it is not one of ours."""
    number = text.partition("-")[0]
    return int(number) if number.isdigit() else 0


def to_bytes(value: Json) -> bytes:
    """The same value gives the same bytes."""
    return json.dumps(value, indent=1, sort_keys=True).encode()


def source(folder: Path, name: str) -> Json:
    """Where Envoy reads one kind of resource from: a file, anew whenever another is renamed upon it."""
    return {
        "resource_api_version": "V3",
        "path_config_source": {"path": str(folder / name)},
        "initial_fetch_timeout": "1s",
    }
