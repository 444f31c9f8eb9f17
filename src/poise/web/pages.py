"""Every page by name: each a pure function from its view to a whole HTML document."""

from __future__ import annotations

from poise.web.history import audit
from poise.web.incident import incident, incidents
from poise.web.overview import overview
from poise.web.plain import empty, error, login
from poise.web.rollout import rollout
from poise.web.run import run
from poise.web.service import service

__all__ = [
    "audit",
    "empty",
    "error",
    "incident",
    "incidents",
    "login",
    "overview",
    "rollout",
    "run",
    "service",
]
