"""The keys of ``kind: BudgetPolicy`` and ``kind: Project``; defaults are the models' own."""

from __future__ import annotations

from typing import Final

from poise.model.policy import Level, OnUnknown
from poise.model.service import BurnAlerts
from poise.spec import limits
from poise.spec.keys_datasource import CONNECTION
from poise.spec.keys_previews import PREVIEWS
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
_CLASSES: Final = Choice(words=("feature", "fix", "security"))
_AT_ONCE: Final = Integer(low=1, high=100)
PARALLEL: Final = Record(
    fields=(
        Field("fast", _AT_ONCE, "fast", "At level fast."),
        Field("normal", _AT_ONCE, "normal", "At level normal."),
        Field("slow", _AT_ONCE, "slow", "At level slow; below it, one."),
    )
)
CONDITION: Final = Record(
    fields=(
        Field("name", NAME, "name", "The condition's name.", required=True),
        Field("when", Text(), "when", "A CEL expression that is true or false.", required=True),
        Field(
            "level",
            Choice(words=tuple(level for level in Level if level not in (Level.FAST, Level.NORMAL))),
            "level",
            "The fastest level while it is true.",
            required=True,
        ),
        Field("why", Text(max_chars=300), "why", "A sentence for those who are held."),
        Field(
            "classes",
            ListOf(item=_CLASSES, low=1, high=3, unique=True),
            "classes",
            "Which changes it concerns; default: features.",
        ),
    )
)
_PATTERNS: Final = ListOf(item=Text(max_chars=200), low=1, high=limits.PATTERNS, unique=True)
CLASS_RULE: Final = Record(
    fields=(
        Field("class", _CLASSES, "change_class", "What the change then is.", required=True),
        Field("paths", _PATTERNS, "paths", "Globs; all paths that changed must match one of them."),
        Field("labels", _PATTERNS, "labels", "Labels, of which the change has one."),
    )
)
PLAN_ITEM: Final = Record(
    fields=(
        Field("outageClass", NAME, "outage_class", "The class of outage.", required=True),
        Field(
            "quarter",
            Text(pattern=r"20[0-9]{2}Q[1-4]", hint="A quarter reads like 2026Q4.", max_chars=6),
            "quarter",
            "The quarter in which it is worked on.",
            required=True,
        ),
        Field("item", Text(max_chars=500), "item", "What is planned, or its URL.", required=True),
    )
)
POLICY: Final = Record(
    fields=(
        Field("fastAbove", Ratio(), "fast_above_ratio", "With more budget left, rollouts go fast."),
        Field("slowBelow", Ratio(), "slow_below_ratio", "With less budget left, rollouts go slowly."),
        Field(
            "approvalBelow",
            Ratio(low=-100),
            "approval_below_ratio",
            "With less budget left, a feature needs an approval.",
        ),
        Field("holdBelow", Ratio(low=-100), "hold_below_ratio", "With less budget left, only fixes go."),
        Field(
            "leaveMargin",
            Ratio(),
            "leave_margin_ratio",
            "The budget above its bound that a faster level needs.",
        ),
        Field("dwell", Duration(), "dwell_s", "The shortest time at a level before a faster one."),
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
        Field(
            "fastSteps",
            STEPS,
            "fast_steps_percent",
            "The canary's weights at level fast; default: every second one of the service's own.",
        ),
        Field(
            "fastBakeFactor",
            Number(low=0.1, high=1),
            "fast_bake_factor",
            "By how much a fast step is held shorter.",
        ),
        Field("slowSteps", STEPS, "slow_steps_percent", "The canary's weights when the verdict is slow."),
        Field(
            "slowBakeFactor",
            Number(low=1, high=100),
            "slow_bake_factor",
            "How many times longer a slow step is held.",
        ),
        Field(
            "slowAlphaFactor",
            Number(low=1, high=4),
            "slow_alpha_factor",
            "By how much a slow canary's alpha is larger for harm, and smaller for proof that it is safe.",
        ),
        Field(
            "parallel",
            PARALLEL,
            "parallel",
            "How many of an environment's rollouts go at once; a fix waits for none.",
        ),
        Field(
            "fastBurn", ListOf(item=BURN_TIER, high=10), "fast_burn", "Burn rates at which the gate holds."
        ),
        Field(
            "exhaustionSlow",
            Ratio(),
            "exhaustion_slow_ratio",
            "The chance of exhaustion from which rollouts go slowly.",
        ),
        Field(
            "overspendWindow",
            Duration(low_s=60),
            "overspend_window_s",
            "Overspent over this window, only fixes go; default: four weeks.",
        ),
        Field(
            "incidentShare",
            Ratio(),
            "incident_share_ratio",
            "An incident that costs more owes a post-mortem with a P0 action.",
        ),
        Field("postmortemDue", Duration(), "postmortem_due_s", "How soon that post-mortem is due."),
        Field(
            "outageClassShare",
            Ratio(),
            "outage_class_share_ratio",
            "A class of outage that costs more of a quarter owes an item in the plan.",
        ),
        Field(
            "plan",
            ListOf(item=PLAN_ITEM, high=limits.PLAN_ITEMS),
            "plan",
            "What is planned against classes of outage.",
        ),
        Field(
            "escalateTo",
            ListOf(item=NAME, high=limits.DECIDERS, unique=True),
            "escalate_to",
            "Who decides where people disagree with the policy; default: admins.",
        ),
        Field(
            "escalateAfter",
            Duration(),
            "escalate_after_s",
            "How long a disagreement may stay open before they are paged.",
        ),
        Field(
            "overrideMax",
            Duration(low_s=60, high_s=86_400),
            "override_max_s",
            "The longest life of an override.",
        ),
        Field("approvalMax", Duration(low_s=60), "approval_max_s", "The longest life of an approval."),
        Field("exemptionMax", Duration(low_s=60), "exemption_max_s", "The longest life of an exemption."),
        Field(
            "conditions",
            ListOf(item=CONDITION, high=limits.CONDITIONS),
            "conditions",
            "Rules of your own, in CEL.",
        ),
        Field(
            "classes",
            ListOf(item=CLASS_RULE, high=limits.CLASS_RULES),
            "classes",
            "What makes a change a fix, by paths and labels; the first that fits counts.",
        ),
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
        Field(
            "burns",
            Choice(words=tuple(BurnAlerts)),
            "burns",
            "What tells of a burn: the policy's tiers, the sequential tests, or either.",
        ),
        Field(
            "tickets", ListOf(item=BURN_TIER, high=10), "tickets", "Burn rates that wait for working hours."
        ),
        Field("minFailures", Integer(low=1, high=1_000_000), "failures_min", "Fewer bad events are no burn."),
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
        Field("previews", PREVIEWS, "previews", "Branches that can be looked at under a host of their own."),
    ),
    refused={"policy": "Write a document of kind BudgetPolicy."},
)
