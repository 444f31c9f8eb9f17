"""Envoy's endpoint (EDS) files: fleet's template with the ports that serve; the keeper alone writes them."""

from __future__ import annotations

import json
import os

from .loop import say

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Template = dict[str, Any]

TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"


class Endpoints:
    """Writes one file per cluster when, and only when, its ports or its template changed."""

    def __init__(self) -> None:
        self._written: dict[str, tuple[str, list[int], int]] = {}
        """cluster -> (template as text, ports, version number in the file)"""

    def write(self, cluster: str, template: Template, ports: list[int]) -> None:
        """Make the cluster's file say `ports`, beside and then renamed, as Envoy reads on rename only."""
        text = json.dumps(template, sort_keys=True)
        before = self._written.get(cluster)
        if before and before[:2] == (text, ports):
            return
        path = str(template["path"])
        number = 1 + (before[2] if before else _number_in(path))
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path + ".new", "w") as file:
                json.dump(_assignment(cluster, template, ports, number), file)
            os.chmod(path + ".new", 0o644)
            os.rename(path + ".new", path)
        except OSError as error:
            say(f"endpoints: {cluster}: {error}")
            return  # not remembered as written: the next change or template tries again
        self._written[cluster] = (text, ports, number)

    def remove(self, cluster: str, template: Template) -> None:
        """Delete a cluster's file."""
        self._written.pop(cluster, None)
        try:
            os.unlink(str(template["path"]))
        except OSError:
            pass

    def shown(self, cluster: str) -> dict[str, object]:
        """Return the version and the ports last written for a cluster."""
        _, ports, number = self._written.get(cluster, ("", [], 0))
        return {"version_info": str(number), "ports": ports}


def _assignment(cluster: str, template: Template, ports: list[int], number: int) -> dict[str, object]:
    endpoints = []
    for port in ports:
        fields = json.loads(json.dumps(template.get("endpoint") or {}))
        address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        fields["endpoint"] = {**fields.get("endpoint", {}), "address": address}
        endpoints.append(fields)
    load: dict[str, object] = {"@type": TYPE, "cluster_name": cluster}
    load["endpoints"] = [{"lb_endpoints": endpoints}]
    return {"version_info": str(number), "resources": [load]}


def _number_in(path: str) -> int:
    try:
        with open(path) as file:
            return int(json.load(file)["version_info"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
