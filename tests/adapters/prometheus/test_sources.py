"""A project's data sources: made once, made anew when declared otherwise, with the newest secret."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import anyio
import pytest

from poise.adapters.memory import MemoryStore
from poise.adapters.prometheus.sources import DataSources
from poise.adapters.prometheus.store import PrometheusSignals
from poise.model.config import Secret
from poise.model.errors import NotFound
from poise.model.record import Ref, Write
from poise.model.service import DataSource, Project
from poise.ports.store import Transaction

T0 = datetime(2026, 11, 1, tzinfo=UTC)
TOKEN = "production/web/TOKEN"
OPENED: list[int] = []


def unseal(secret: Secret) -> Mapping[str, str]:
    OPENED.append(secret.n)
    return {"TOKEN": f"value-{secret.n}"} if secret.n < 9 else {}


async def declare(store: MemoryStore, **changes: object) -> None:
    source = DataSource(name="prom", url="http://prom:9090", **changes)  # type: ignore[arg-type]
    project = Project(name="acme", sources=(source,))
    _, read = await store.get(Project, "acme")
    reads = (read,) if isinstance(read, Ref) else ()
    await store.commit(
        Transaction(at=T0, reads=reads, writes=[Write(kind="Project", key="acme", body=project)])
    )


async def seal(store: MemoryStore, n: int) -> None:
    secret = Secret(service="acme/production/web", n=n, sealed={}, marks={}, by="ada", reason="r", at=T0)
    await store.commit(Transaction(at=T0, writes=[Write(kind="Secret", key=secret.key, body=secret)]))


def endpoint_of(signals: object) -> tuple[str, str, str]:
    assert isinstance(signals, PrometheusSignals)
    endpoint = signals._endpoint
    return endpoint.url, endpoint.bearer, endpoint.username


def test_a_source_is_made_once_and_anew_when_its_secret_or_its_url_changes() -> None:
    async def play() -> None:
        store = MemoryStore()
        sources = DataSources(store, unseal)
        await declare(store, bearer=TOKEN)
        await seal(store, 1)
        first = await sources.of("acme", "prom")
        assert endpoint_of(first) == ("http://prom:9090", "value-1", "")
        assert await sources.of("acme", "prom") is first
        await seal(store, 2)
        second = await sources.of("acme", "prom")
        assert second is not first and endpoint_of(second)[1] == "value-2"
        await sources.close()

    anyio.run(play)


def test_what_is_not_there_is_named_with_its_mend() -> None:
    async def play() -> None:
        store = MemoryStore()
        sources = DataSources(store, unseal)
        await declare(store, bearer=TOKEN)
        with pytest.raises(NotFound, match="no data source other") as told:
            await sources.of("acme", "other")
        assert "poise.yaml" in told.value.mend
        with pytest.raises(NotFound, match="no secret TOKEN of acme/production/web") as told:
            await sources.of("acme", "prom")
        assert told.value.mend == "Run: poise secret set web TOKEN"
        await seal(store, 9)  # a secret that has no such name
        with pytest.raises(NotFound, match="no secret TOKEN"):
            await sources.of("acme", "prom")
        with pytest.raises(NotFound, match="no embedded metrics store"):
            await sources.of("acme", "")

    anyio.run(play)


def test_the_empty_name_is_the_embedded_store_and_no_secret_is_opened() -> None:
    OPENED.clear()
    embedded = object()
    sources = DataSources(MemoryStore(), unseal, embedded)  # type: ignore[arg-type]
    assert anyio.run(sources.of, "acme", "") is embedded
    assert OPENED == []
