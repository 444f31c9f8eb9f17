"""A target: whom to ask, and whose labels its series get. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

from msgspec import Struct

from poise.adapters.scrape.relabel import Pairs, Rule
from poise.model.samples import NAME, Labels
from poise.model.scrape import ScrapeConfig
from poise.spec.durations import format_duration, parse_span

ADDRESS, SCHEME, PATH = "__address__", "__scheme__", "__metrics_path__"
EVERY, PATIENCE, PARAM = "__scrape_interval__", "__scrape_timeout__", "__param_"
Transform = Callable[[Labels], Labels | None]


class Target(Struct, frozen=True, kw_only=True):
    """One endpoint. ``discovered`` are its labels before relabelling, ``labels`` those of its series."""

    project: str
    config: ScrapeConfig
    url: str
    labels: Labels
    discovered: Labels
    every_s: float
    timeout_s: float

    @property
    def job(self) -> tuple[str, str]:
        """Project and configuration."""
        return self.project, self.config.name

    @property
    def key(self) -> str:
        """Who it is: the same endpoint with the same labels is the same target."""
        return f"{self.project}/{self.config.name}/{self.url}/{self.labels}"

    @property
    def instance(self) -> str:
        """Its label ``instance``."""
        return dict(self.labels).get("instance", "")


class Dropped(Struct, frozen=True, kw_only=True):
    """A discovered endpoint that is not scraped, and why."""

    project: str
    config: ScrapeConfig
    discovered: Labels
    why: str


def target_of(
    project: str, config: ScrapeConfig, address: str, given: Mapping[str, str], relabel: Rule
) -> Target | Dropped:
    """A discovered address made a target.

    **Source:** Prometheus' ``PopulateLabels``: defaults, relabelling, then every ``__`` label goes and
    ``instance`` is the address unless set. ``project`` is ours, set before relabelling as ``job`` is.
    """
    params = {f"{PARAM}{name}": values[0] for name, values in config.params.items() if values}
    before = {
        "job": config.job or config.name, "project": project, SCHEME: config.scheme, PATH: config.path,
        EVERY: format_duration(config.every_s), PATIENCE: format_duration(config.timeout_s), **params,
        **given, ADDRESS: address,
    }  # fmt: skip
    discovered = as_labels(before)
    after = relabel(before)
    if after is None:
        return Dropped(project=project, config=config, discovered=discovered, why="relabelling drops it")
    if not after.get(ADDRESS):
        return Dropped(project=project, config=config, discovered=discovered, why="it has no address")
    every, timeout = (parse_span(after.get(name, "")) for name in (EVERY, PATIENCE))
    if every is None or timeout is None or every < 1 or not 0 < timeout <= every:
        why = f"relabelling makes {EVERY} and {PATIENCE} no interval of at least 1s with a time-out within it"
        return Dropped(project=project, config=config, discovered=discovered, why=why)
    kept = {name: value for name, value in after.items() if not name.startswith("__")}
    kept.setdefault("instance", after[ADDRESS])
    return Target(
        project=project, config=config, url=_url(config, after), labels=as_labels(kept),
        discovered=discovered, every_s=every, timeout_s=timeout,
    )  # fmt: skip


def _url(config: ScrapeConfig, labels: Pairs) -> str:
    params = {name: list(values) for name, values in config.params.items()}
    for name, value in labels.items():
        if name.startswith(PARAM):
            params[name.removeprefix(PARAM)] = [value, *params.get(name.removeprefix(PARAM), [])[1:]]
    path = "/" + quote(labels.get(PATH, "").lstrip("/"), safe="/%:@!$&'()*+,;=~?")
    query = urlencode(params, doseq=True)
    joint = "&" if "?" in path else "?"
    return f"{labels.get(SCHEME) or 'http'}://{labels[ADDRESS]}{path}{joint + query if query else ''}"


def transform_of(target: Target, metric_relabel: Rule) -> Transform:
    """What becomes of each scraped series: the target's labels join it, then metric relabelling.

    Where both have a label, the target's wins and the scraped one is ``exported_<name>``; with honoured
    labels the scraped one wins.
    """
    own, honor = dict(target.labels), target.config.honor_labels

    def transform(labels: Labels) -> Labels | None:
        scraped = dict(labels)
        if honor:
            merged = {**own, **scraped}
        else:
            merged = {**scraped, **own}
            for name in sorted(scraped.keys() & own.keys()):
                exported = f"exported_{name}"
                while exported in merged:
                    exported = f"exported_{exported}"
                merged[exported] = scraped[name]
        found = metric_relabel(merged)
        if found is None or not found.get(NAME):
            return None
        return as_labels(found)

    return transform


def as_labels(pairs: Mapping[str, str]) -> Labels:
    """Sorted, without empty values."""
    return tuple(sorted((name, value) for name, value in pairs.items() if value))
