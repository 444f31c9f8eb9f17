"""What goes beside the split of a service's users: copies of requests, and who asks for a new revision."""

from __future__ import annotations

import re

from poise.adapters.envoy.xds import Json
from poise.ports.traffic import Asked, Copies, VirtualHost


def beside(routes: list[Json], host: VirtualHost) -> list[Json]:
    """``routes`` with a copy of so many requests to the mirrored cluster, and before them the previews'."""
    asked = [] if host.preview is None else [_asked(route, host.preview) for route in routes]
    return [*asked, *(routes if host.mirror is None else copied(routes, host.mirror))]


def copied(routes: list[Json], copies: Copies) -> list[Json]:
    """Streams are never copied. Source: Envoy, RouteAction.RequestMirrorPolicy."""
    share = {"numerator": copies.percent, "denominator": "HUNDRED"}
    policy = {"cluster": copies.cluster, "runtime_fraction": {"default_value": share}}
    return [_with(route, policy) if _is_copied(route, copies) else route for route in routes]


def _is_copied(route: Json, copies: Copies) -> bool:
    headers = route["match"].get("headers", [])
    is_read = any(one["name"] == ":method" for one in headers)
    return route["route"]["timeout"] != "0s" and (copies.writes or is_read)


def _with(route: Json, policy: Json) -> Json:
    return route | {"route": route["route"] | {"request_mirror_policies": [policy]}}


def _asked(route: Json, asked: Asked) -> Json:
    """The same route for those who ask; without ``stat_prefix``, for they are no users to be counted."""
    match = route["match"] | {"headers": [_matcher(asked), *route["match"].get("headers", [])]}
    only = {"weighted_clusters": {"clusters": [{"name": asked.cluster, "weight": 100}]}}
    return {"match": match, "route": route["route"] | only}


def _matcher(asked: Asked) -> Json:
    if asked.header:
        return {"name": asked.header, "present_match": True}
    pattern = rf"(.*;\s*)?{re.escape(asked.cookie)}=.*"
    return {"name": "cookie", "string_match": {"safe_regex": {"regex": pattern}}}
