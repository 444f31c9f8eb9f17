"""What goes beside the split of a service's users: copies of requests to a revision that is looked at."""

from __future__ import annotations

from typing import Any

from poise.ports.traffic import Copies

Json = dict[str, Any]


def copied(routes: list[Json], copies: Copies | None) -> list[Json]:
    """``routes`` with a copy of so many requests to the mirrored cluster; streams are never copied.

    Source: Envoy, RouteAction.RequestMirrorPolicy.
    """
    if copies is None:
        return routes
    share = {"numerator": copies.percent, "denominator": "HUNDRED"}
    policy = {"cluster": copies.cluster, "runtime_fraction": {"default_value": share}}
    return [_with(route, policy) if _is_copied(route, copies) else route for route in routes]


def _is_copied(route: Json, copies: Copies) -> bool:
    headers = route["match"].get("headers", [])
    is_read = any(one["name"] == ":method" for one in headers)
    return route["route"]["timeout"] != "0s" and (copies.writes or is_read)


def _with(route: Json, policy: Json) -> Json:
    return route | {"route": route["route"] | {"request_mirror_policies": [policy]}}
