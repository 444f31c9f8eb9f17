"""Where every page and act lives, so that no address is written twice."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from poise.model.delivery import Verb

OVERVIEW = "/"
AUDIT = "/audit"
LOGIN = "/login"
LOGOUT = "/logout"
EVENTS = "/api/v1/stream"


def service(key: str) -> str:
    """The page of a service; ``key`` is project/environment/service."""
    return f"/services/{quote(key)}"


def rollout(key: str, n: int) -> str:
    """The page of rollout ``n`` of a service."""
    return f"/rollouts/{quote(key)}/{n}"


def run(project: str, n: int) -> str:
    """The page of a run."""
    return f"/runs/{quote(project, safe='')}/{n}"


def run_log(project: str, n: int) -> str:
    """The live log of a run (Server-Sent Events)."""
    return f"/api/v1/projects/{quote(project, safe='')}/runs/{n}/stream"


def audit_of(subject: str) -> str:
    """The journal of one subject."""
    return f"{AUDIT}?{urlencode({'subject': subject})}"


def act(verb: Verb | str, key: str) -> str:
    """Where a form asks for an act on a service: a Verb, or "override"."""
    return f"/act/{verb}/{quote(key)}"


def own(href: str) -> str | None:
    """``href`` if it is a path or fragment on this server, else None.

    >>> own("/audit"), own("//evil.example"), own("javascript:alert(1)")
    ('/audit', None, None)
    """
    if href.startswith("#"):
        return href
    is_path = href.startswith("/") and not href.startswith(("//", "/\\"))
    return href if is_path and href.isprintable() else None
