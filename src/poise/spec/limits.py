"""Every limit on what people write, by name; over one of them the text is refused, never cut."""

from __future__ import annotations

from typing import Final

TEXT_BYTES: Final = 256 * 1024
DOCUMENTS: Final = 200
DEPTH: Final = 32
NODES: Final = 20_000  # counted after aliases are followed, so an alias bomb is counted as what it means
PROBLEMS: Final = 100  # the first ones of a file; more would not be read
VALUE_CHARS: Final = 4096
SCRIPT_CHARS: Final = 64 * 1024
NAME_CHARS: Final = 40
ENV_ENTRIES: Final = 200
SERVICES: Final = 50
ENVIRONMENTS: Final = 10
SINKS: Final = 10
OBJECTIVES: Final = 200
EXCLUSIONS: Final = 100
FREEZES: Final = 50
PROBES: Final = 200
SCRAPES: Final = 100
SCRAPE_FILES: Final = 20
RELABELS: Final = 100
TARGETS: Final = 1000  # of one list
LABELS: Final = 50
SOURCES: Final = 20
HEADERS: Final = 20
RULE_GLOBS: Final = 20
RULE_FILES: Final = 100
RULE_GROUPS: Final = 200
RULES: Final = 1000  # of one group
RULE_LABELS: Final = 100
REPLICAS: Final = 64
STEPS_PERCENT: Final = 20
JOBS: Final = 50
STEPS: Final = 200
TIMEOUT_MINUTES: Final = 1440
DURATION_S: Final = 366 * 86_400.0
CONDITIONS: Final = 20
CONDITION_CHARS: Final = 500
CLASS_RULES: Final = 20
PATTERNS: Final = 50  # paths or labels of one rule
PLAN_ITEMS: Final = 50
DECIDERS: Final = 20
ALERT_TIERS: Final = 10
