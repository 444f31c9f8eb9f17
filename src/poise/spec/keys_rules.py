"""The keys of Prometheus' rule files.

Source: prometheus.io/docs/prometheus/latest/configuration/{recording_rules,alerting_rules}; model/rulefmt.
"""

from __future__ import annotations

from typing import Final

from poise.spec import limits
from poise.spec.shape import Field, Integer, ListOf, MapOf, Record, Text

LABEL: Final = Text(pattern=r"[a-zA-Z_][a-zA-Z0-9_]*", hint="A label has letters, digits and '_'.")
METRIC: Final = Text(
    pattern=r"[a-zA-Z_:][a-zA-Z0-9_:]*", hint="A metric has letters, digits, '_' and ':'.", max_chars=256
)
SPAN: Final = Text(any_scalar=True, max_chars=40)  # a Prometheus duration, such as 1h30m; read apart
WORDS: Final = Text(any_scalar=True, max_chars=limits.SCRIPT_CHARS)
LABELS: Final = MapOf(name=LABEL, value=WORDS, high=limits.RULE_LABELS)
RULE: Final = Record(
    fields=(
        Field("record", METRIC, "record", "The series that this rule makes."),
        Field("alert", Text(any_scalar=True, max_chars=256), "alert", "The alert that this rule raises."),
        Field("expr", WORDS, "expr", "PromQL.", required=True),
        Field("for", SPAN, "for", "How long it must hold before the alert fires."),
        Field("keep_firing_for", SPAN, "keep_firing_for", "How long it fires on after it held last."),
        Field("labels", LABELS, "labels", "Labels to add; templates for an alert."),
        Field("annotations", LABELS, "annotations", "What to tell of the alert; templates."),
    )
)
GROUP: Final = Record(
    fields=(
        Field("name", Text(any_scalar=True, max_chars=256), "name", "Once per file.", required=True),
        Field("interval", SPAN, "interval", "How often; 1m unless told."),
        Field("query_offset", SPAN, "query_offset", "How far back its rules look."),
        Field("limit", Integer(low=0, high=10**9), "limit", "Series or alerts that one rule may make."),
        Field("labels", LABELS, "labels", "Labels of every rule."),
        Field("rules", ListOf(item=RULE, high=limits.RULES), "rules", "Evaluated in this order."),
    ),
    refused={
        "partial_response_strategy": "It is Thanos'. Remove it.",
        "source_tenants": "It is Mimir's. Remove it.",
    },
)
RULE_FILE: Final = Record(
    fields=(Field("groups", ListOf(item=GROUP, high=limits.RULE_GROUPS), "groups", "Groups of rules."),)
)
