"""Every page by name: each a pure function from its view to a whole HTML document."""

from __future__ import annotations

from poise.web.delivery import delivery
from poise.web.history import audit
from poise.web.incident import incident, incidents
from poise.web.objective import objective
from poise.web.oncall import oncall
from poise.web.output import output
from poise.web.overview import overview
from poise.web.plain import empty, error, login
from poise.web.review import event, no_review, review
from poise.web.rollout import rollout
from poise.web.run import run
from poise.web.scorecard import scorecard
from poise.web.service import service
from poise.web.traces import records, trace, traces

__all__ = [
    "audit",
    "delivery",
    "empty",
    "error",
    "event",
    "incident",
    "incidents",
    "login",
    "no_review",
    "objective",
    "oncall",
    "output",
    "overview",
    "records",
    "review",
    "rollout",
    "run",
    "scorecard",
    "service",
    "trace",
    "traces",
]
