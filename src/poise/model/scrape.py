"""What is scraped: where targets come from, how their labels are made, how often they are asked.

Words and defaults are those of Prometheus' ``scrape_configs``.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class RelabelAction(StrEnum):
    """What a relabelling rule does (Prometheus' words)."""

    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    KEEP_EQUAL = "keepequal"
    DROP_EQUAL = "dropequal"
    HASH_MOD = "hashmod"
    LABEL_MAP = "labelmap"
    LABEL_DROP = "labeldrop"
    LABEL_KEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"


class Relabel(Struct, frozen=True, kw_only=True):
    """One rule: ``regex`` (RE2, of the whole) looks at the source labels' values, joined."""

    action: RelabelAction = RelabelAction.REPLACE
    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = "(.*)"
    target_label: str = ""
    replacement: str = "$1"
    modulus: int = 0


class TargetGroup(Struct, frozen=True, kw_only=True):
    """Targets (``host:port``) that share labels; the shape of a service discovery file."""

    targets: tuple[str, ...]
    labels: dict[str, str] = {}


class Access(Struct, frozen=True, kw_only=True):
    """Who asks, and how the other side proves itself.

    ``bearer`` and ``password`` name secrets as ``environment/service/NAME``; no secret stands here.
    """

    bearer: str = ""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    insecure_skip_verify: bool = False


class HttpDiscovery(Struct, frozen=True, kw_only=True):
    """A URL that answers with target groups as JSON. It is told nothing of the targets' secrets."""

    url: str
    refresh_s: float = 60.0
    access: Access = Access()


class FileDiscovery(Struct, frozen=True, kw_only=True):
    """Files with target groups, JSON or YAML; ``*`` in the last part of a path stands for any text."""

    files: tuple[str, ...]
    refresh_s: float = 300.0


class ScrapeConfig(Struct, frozen=True, kw_only=True):
    """A job: targets of one kind and how they are scraped.

    ``services`` are services of the project, each of whose replicas is a target. A ``sample_limit`` of 0 is
    none; ``body_bytes`` bounds a page with and without its gzip.
    """

    name: str
    job: str = ""
    static: tuple[TargetGroup, ...] = ()
    http: tuple[HttpDiscovery, ...] = ()
    files: tuple[FileDiscovery, ...] = ()
    services: tuple[str, ...] = ()
    scheme: str = "http"
    path: str = "/metrics"
    params: dict[str, tuple[str, ...]] = {}
    every_s: float = 15.0
    timeout_s: float = 10.0
    honor_labels: bool = False
    honor_timestamps: bool = True
    relabel: tuple[Relabel, ...] = ()
    metric_relabel: tuple[Relabel, ...] = ()
    sample_limit: int = 0
    body_bytes: int = 67_108_864
    access: Access = Access()
