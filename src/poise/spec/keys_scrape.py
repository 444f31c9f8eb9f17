"""The keys of ``kind: ScrapeConfig`` and of a ``prometheus.yml``: Prometheus' own words.

**Source:** prometheus.io/docs/prometheus/latest/configuration/configuration.
"""

from __future__ import annotations

from typing import Final

from poise.model.scrape import RelabelAction
from poise.spec import limits
from poise.spec.keys_datasource import SECRET
from poise.spec.keys_text import NAME, URL
from poise.spec.shape import Anything, Choice, Field, Flag, Integer, ListOf, MapOf, Record, Text

DURATION: Final = Text(
    pattern=r"([0-9]{1,9}(ms|s|m|h|d|w|y))+", hint="A duration is written 15s, 1m or 1m30s.", max_chars=40
)
SIZE: Final = Text(
    pattern=r"0|[0-9]{1,12}([KMGT]i?)?B",
    hint="A size is written 10MB (2^20 bytes each), or 0 for the default.",
    any_scalar=True,
    max_chars=20,
)
_FILE: Final = Text(
    pattern=r"/[^\x00-\x1f]+", hint="A file of the server's disk is named from '/'.", max_chars=1000
)
_SD_FILE: Final = Text(
    pattern=r"/?(?!(?:.*/)?\.\.(?:/|$))[^\x00-\x1f/][^\x00-\x1f]*\.(json|yml|yaml)",
    hint="It ends in .json, .yml or .yaml; below '/' it is a file of the server, else of the repository.",
    max_chars=1000,
)
_LABEL: Final = Text(
    pattern=r"[A-Za-z_][A-Za-z0-9_]*", hint="A label has letters, digits and underscores.", max_chars=200
)
_LABELS: Final = MapOf(name=_LABEL, value=Text(any_scalar=True, max_chars=1000), high=limits.LABELS)
_ADDRESS: Final = Text(
    pattern=r"[^\s/@]+", hint="A target is host:port, without a scheme and a path.", max_chars=300
)
_IN_A_FILE: Final = "Name a secret instead: poise secret set SERVICE NAME, then 'environment/service/NAME'."

BASIC_AUTH: Final = Record(
    fields=(
        Field(
            "username", Text(pattern=r"[^:\x00-\x1f]+", max_chars=200), "username", "The user.", required=True
        ),
        Field("password", SECRET, "password", "The secret with the password.", required=True),
    ),
    refused={"password_file": _IN_A_FILE, "username_file": "Write 'username'."},
)
AUTHORIZATION: Final = Record(
    fields=(
        Field("type", Choice(words=("Bearer", "bearer")), "_type", "How the token is sent."),
        Field("credentials", SECRET, "bearer", "The secret with the token.", required=True),
    ),
    refused={"credentials_file": _IN_A_FILE},
)
TLS_CONFIG: Final = Record(
    fields=(
        Field("ca_file", _FILE, "ca_file", "The authority that signed the target's certificate (PEM)."),
        Field("cert_file", _FILE, "certificate_file", "Our certificate (PEM)."),
        Field("key_file", _FILE, "key_file", "Its key (PEM)."),
        Field("insecure_skip_verify", Flag(), "insecure_skip_verify", "Whether to believe any certificate."),
    ),
    refused={
        "server_name": "The certificate must name the address that is asked.",
        "ca": "Name a file: ca_file.",
        "cert": "Name a file: cert_file.",
        "key": "Name a file: key_file.",
        "min_version": "Remove it; TLS 1.2 is the least.",
        "max_version": "Remove it.",
    },
)
_ACCESS: Final = (
    Field("basic_auth", BASIC_AUTH, "", "A user and the secret with the password."),
    Field("authorization", AUTHORIZATION, "", "The secret with a bearer token."),
    Field("bearer_token", SECRET, "bearer", "The secret with a bearer token (Prometheus' older word)."),
    Field("tls_config", TLS_CONFIG, "", "How the other side proves itself, and we to it."),
    Field("follow_redirects", Flag(only=True), "_follow", "Redirects are followed."),
    Field("enable_http2", Anything(), "", "HTTP/1.1 is spoken."),
)
_ACCESS_REFUSED: Final = {
    "bearer_token_file": _IN_A_FILE,
    "oauth2": "Use 'authorization' with a named secret.",
    "sigv4": "Use 'authorization' with a named secret.",
    "azuread": "Use 'authorization' with a named secret.",
    "http_headers": "Remove it.",
    "proxy_url": "Remove it; targets are asked directly.",
    "proxy_from_environment": "Remove it; targets are asked directly.",
    "proxy_connect_header": "Remove it; targets are asked directly.",
    "no_proxy": "Remove it; targets are asked directly.",
}

TARGET_GROUP: Final = Record(
    fields=(
        Field(
            "targets", ListOf(item=_ADDRESS, high=limits.TARGETS), "targets", "host:port each.", required=True
        ),
        Field("labels", _LABELS, "labels", "Labels of all of them."),
    )
)
TARGET_GROUPS: Final = ListOf(item=TARGET_GROUP, high=limits.TARGETS)
RELABEL: Final = Record(
    fields=(
        Field("action", Choice(words=tuple(RelabelAction)), "action", "What it does; replace unless told."),
        Field("source_labels", ListOf(item=_LABEL, high=50), "source_labels", "Whose values are joined."),
        Field("separator", Text(any_scalar=True, max_chars=100), "separator", "Between them; ';'."),
        Field("regex", Text(any_scalar=True, max_chars=2000), "regex", "RE2, of the whole; (.*)."),
        Field("target_label", Text(max_chars=200), "target_label", "The label that is written."),
        Field("replacement", Text(any_scalar=True, max_chars=1000), "replacement", "What is written; $1."),
        Field("modulus", Integer(low=1, high=2**53), "modulus", "Of action hashmod."),
    )
)
RELABELS: Final = ListOf(item=RELABEL, high=limits.RELABELS)
HTTP_SD: Final = Record(
    fields=(
        Field("url", URL, "url", "Answers with target groups as JSON.", required=True),
        Field("refresh_interval", DURATION, "refresh_s", "How often it is asked; 60s."),
        *_ACCESS,
    ),
    refused=_ACCESS_REFUSED,
)
FILE_SD: Final = Record(
    fields=(
        Field(
            "files",
            ListOf(item=_SD_FILE, low=1, high=50),
            "files",
            "Target groups, JSON or YAML; '*' may stand in the last part.",
            required=True,
        ),
        Field("refresh_interval", DURATION, "refresh_s", "How often they are read; 5m."),
    )
)
_SD: Final = (
    "azure", "consul", "digitalocean", "docker", "dockerswarm", "dns", "ec2", "eureka", "gce", "hetzner",
    "ionos", "kubernetes", "kuma", "lightsail", "linode", "marathon", "nerve", "nomad", "openstack",
    "ovhcloud", "puppetdb", "scaleway", "serverset", "stackit", "triton", "uyuni", "vultr",
)  # fmt: skip
_MEND_SD: Final = (
    "Use 'static_configs', 'file_sd_configs' or 'http_sd_configs'; for services of this project write "
    "'services: [shop]' in kind ScrapeConfig."
)
_OWN_LIMIT: Final = "Remove it: every target is bounded in series and labels already (see poise targets)."
_NO_NATIVE: Final = "Remove it: native histograms are not read."
_SCRAPE: Final = (
    Field("static_configs", TARGET_GROUPS, "static", "Targets by name."),
    Field("http_sd_configs", ListOf(item=HTTP_SD, high=20), "http", "URLs that name targets."),
    Field("file_sd_configs", ListOf(item=FILE_SD, high=20), "files", "Files that name targets."),
    Field("relabel_configs", RELABELS, "relabel", "What becomes of a target's labels; may drop it."),
    Field("metric_relabel_configs", RELABELS, "metric_relabel", "What becomes of a series' labels."),
    Field("scrape_interval", DURATION, "every_s", "How often; 15s, or as 'global' says."),
    Field("scrape_timeout", DURATION, "timeout_s", "The time for one scrape; 10s, at most the interval."),
    Field("scheme", Choice(words=("http", "https")), "scheme", "http unless told."),
    Field("metrics_path", Text(pattern=r"/?[!-~]*", max_chars=1000), "path", "/metrics unless told."),
    Field(
        "params",
        MapOf(name=Text(max_chars=200), value=ListOf(item=Text(any_scalar=True), high=50), high=50),
        "params",
        "Parameters of the URL.",
    ),
    Field("honor_labels", Flag(), "honor_labels", "Whether scraped labels win over the target's."),
    Field("honor_timestamps", Flag(), "honor_timestamps", "Whether scraped timestamps hold; true."),
    Field(
        "sample_limit", Integer(low=0, high=10**7), "sample_limit", "More samples fail the scrape; 0: any."
    ),
    Field("body_size_limit", SIZE, "body_bytes", "A longer page fails the scrape; 64MB."),
    Field("track_timestamps_staleness", Flag(only=False), "_stale", "Series with timestamps get no marker."),
    Field("enable_compression", Flag(only=True), "_gzip", "gzip is asked for."),
    Field("scrape_protocols", Anything(), "", "OpenMetrics and text are asked for."),
    Field("fallback_scrape_protocol", Anything(), "", "What does not say what it is is read as text."),
    *_ACCESS,
)
_SCRAPE_REFUSED: Final = {
    **{f"{name}_sd_configs": _MEND_SD for name in _SD},
    **_ACCESS_REFUSED,
    "label_limit": _OWN_LIMIT,
    "label_name_length_limit": _OWN_LIMIT,
    "label_value_length_limit": _OWN_LIMIT,
    "target_limit": _OWN_LIMIT,
    "keep_dropped_targets": "Remove it: dropped targets are shown, up to a limit.",
    "scrape_classic_histograms": _NO_NATIVE,
    "always_scrape_classic_histograms": _NO_NATIVE,
    "scrape_native_histograms": _NO_NATIVE,
    "convert_classic_histograms_to_nhcb": _NO_NATIVE,
    "native_histogram_bucket_limit": _NO_NATIVE,
    "native_histogram_min_bucket_factor": _NO_NATIVE,
    "scrape_failure_log_file": "Remove it: poise targets shows why a scrape failed.",
    "metric_name_validation_scheme": "Remove it: any UTF-8 name is taken.",
    "metric_name_escaping_scheme": "Remove it: any UTF-8 name is taken.",
}
_JOB: Final = Text(pattern=r"[^\x00-\x1f]+", hint="A job needs a name.", max_chars=200)

SCRAPE_CONFIG: Final = Record(
    fields=(
        Field("job_name", _JOB, "job", "The label 'job'; the document's name unless told."),
        Field(
            "services",
            ListOf(item=NAME, high=limits.SERVICES, unique=True),
            "services",
            "Services of this project: each replica is a target.",
        ),
        *_SCRAPE,
    ),
    refused=_SCRAPE_REFUSED,
)
PROMETHEUS_JOB: Final = Record(
    fields=(Field("job_name", _JOB, "name", "The label 'job'.", required=True), *_SCRAPE),
    refused=_SCRAPE_REFUSED,
)
PROMETHEUS_GLOBAL: Final = Record(
    fields=(
        Field("scrape_interval", DURATION, "every_s", "The interval of every job that has none."),
        Field("scrape_timeout", DURATION, "timeout_s", "The time-out of every job that has none."),
        Field("sample_limit", Integer(low=0, high=10**7), "sample_limit", "Of every job that has none."),
        Field("body_size_limit", SIZE, "body_bytes", "Of every job that has none."),
        Field("evaluation_interval", DURATION, "_evaluation", "Of rules; no scrape is touched by it."),
        Field("rule_query_offset", Anything(), "", "Of rules; no scrape is touched by it."),
        Field("external_labels", Anything(), "", "Labels of what a Prometheus sends elsewhere."),
        Field("query_log_file", Anything(), "", "A log of a Prometheus."),
        Field("scrape_protocols", Anything(), "", "OpenMetrics and text are asked for."),
    ),
    refused={name: mend for name, mend in _SCRAPE_REFUSED.items() if not name.endswith("_sd_configs")},
)
# sections of a Prometheus server that have nothing to do with what is scraped: allowed, without effect here
ELSEWHERE: Final = {
    "alerting": "Poise pages by itself: kind EscalationPolicy.",
    "rule_files": "Name those files under 'ruleFiles' of kind Project.",
    "remote_write": "Nothing is sent on.",
    "remote_read": "Name the other server as a data source: kind DataSource.",
    "storage": "Poise keeps metrics by rules of its own.",
    "tracing": "Nothing is traced.",
    "otlp": "OTLP is taken at /v1/metrics.",
    "runtime": "It is about Prometheus' own process.",
}
PROMETHEUS: Final = Record(
    fields=(
        Field("global", PROMETHEUS_GLOBAL, "global", "What holds for every job."),
        Field("scrape_configs", ListOf(item=PROMETHEUS_JOB, high=limits.SCRAPES), "jobs", "The jobs."),
        *(Field(name, Anything(), "", about) for name, about in ELSEWHERE.items()),
    ),
    refused={"scrape_config_files": "Name those files in 'scrapeConfigs' too."},
)
