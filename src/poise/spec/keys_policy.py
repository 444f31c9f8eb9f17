"""The keys of ``kind: BudgetPolicy`` and ``kind: Project``; defaults are the models' own."""

from __future__ import annotations

from typing import Final

from poise.model.policy import OnUnknown
from poise.spec import limits
from poise.spec.keys_datasource import CONNECTION
from poise.spec.keys_text import BRANCH, FOLDER, NAME, STEPS, URL
from poise.spec.shape import (
    Choice,
    Duration,
    Field,
    Integer,
    ListOf,
    Number,
    Ratio,
    Record,
    Text,
)

BURN_TIER: Final = Record(
    fields=(
        Field("long", Duration(low_s=1), "long_s", "The long window.", required=True),
        Field("short", Duration(low_s=1), "short_s", "The short window.", required=True),
        Field(
            "factor",
            Number(low=0, high=100_000, open_ends=True),
            "factor",
            "The burn rate above which both windows must be.",
            required=True,
        ),
    )
)
POLICY: Final = Record(
    fields=(
        Field("slowBelow", Ratio(), "slow_below_ratio", "With less budget left, rollouts go slowly."),
        Field("holdBelow", Ratio(low=-100), "hold_below_ratio", "With less budget left, only fixes go."),
        Field(
            "coverageMin", Ratio(), "coverage_min_ratio", "The share of time that must have been measured."
        ),
        Field("staleAfter", Duration(low_s=1), "stale_after_s", "Older measurements count as unknown."),
        Field("onUnknown", Choice(words=tuple(OnUnknown)), "on_unknown", "What unknown time means."),
        Field("bootstrap", Duration(), "bootstrap_s", "The age until which an objective is new."),
        Field(
            "bootstrapEvents",
            Integer(low=0, high=10**12),
            "bootstrap_events",
            "The events until which an objective is new.",
        ),
        Field("slowSteps", STEPS, "slow_steps_percent", "The canary's weights when the verdict is slow."),
        Field(
            "slowBakeFactor",
            Number(low=1, high=100),
            "slow_bake_factor",
            "How many times longer a slow step is held.",
        ),
        Field(
            "fastBurn", ListOf(item=BURN_TIER, high=10), "fast_burn", "Burn rates at which the gate holds."
        ),
        Field("overrideMax", Duration(low_s=60), "override_max_s", "The longest life of an override."),
    )
)

HEAL: Final = Record(
    fields=(
        Field("share", Ratio(), "share_ratio", "The share of replicas healed at once."),
        Field(
            "massFailure",
            Ratio(),
            "mass_failure_ratio",
            "With this share failing together, nothing is killed.",
        ),
        Field("cooldown", Duration(), "cooldown_s", "The time between two heals."),
    )
)
ALERTS: Final = Record(
    fields=(
        Field("resolveAfter", Duration(), "resolve_after_s", "How long a condition must be gone."),
        Field("downAfter", Duration(), "down_after_s", "How long no replica may be ready."),
        Field("unreadyAfter", Duration(), "unready_after_s", "How long too few replicas may be ready."),
        Field("missingAfter", Duration(low_s=1), "missing_after_s", "How long a signal may be missing."),
        Field("groupWait", Duration(), "group_wait_s", "The wait for alerts of the same cause."),
        Field(
            "groupWindow",
            Duration(),
            "group_window_s",
            "The largest gap between alerts of services that are one incident.",
        ),
        Field("closeAfter", Duration(), "close_after_s", "A clear incident resolves itself after this."),
        Field(
            "reopenWithin", Duration(), "reopen_within_s", "What fires again so soon reopens its incident."
        ),
    )
)
PROJECT: Final = Record(
    fields=(
        Field("branch", BRANCH, "branch", "The branch that services release."),
        Field("heal", HEAL, "heal", "The heal budget of every service."),
        Field("alerts", ALERTS, "alerts", "When alerts fire and end, and which are one incident."),
        Field(
            "environments",
            ListOf(item=NAME, low=1, high=limits.ENVIRONMENTS, unique=True),
            "environments",
            "The order in which a release passes through them; default: as the services say.",
        ),
        Field(
            "events",
            ListOf(item=URL, high=limits.SINKS, unique=True),
            "sinks",
            "URLs to which changes, runs, releases, rollouts and incidents are told as CDEvents.",
        ),
        Field(
            "ruleFiles",
            ListOf(item=Text(max_chars=300), high=limits.RULE_GLOBS, unique=True, alone=True),
            "",
            "Files of recording and alerting rules in Prometheus' format, e.g. rules/*.yml.",
        ),
        Field(
            "scrapeConfigs",
            ListOf(item=FOLDER, high=limits.SCRAPE_FILES, unique=True),
            "scrape_files",
            "Prometheus configurations (paths in the repository) whose scrape_configs are scraped.",
        ),
        Field("prometheus", CONNECTION, "prometheus", "A metrics server; the data source 'prometheus'."),
    ),
    refused={"policy": "Write a document of kind BudgetPolicy."},
)
