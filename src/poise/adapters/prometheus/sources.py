"""A project's data sources as stores: made when first asked for, made anew when declared otherwise."""

from __future__ import annotations

from msgspec import Struct

from poise.adapters.prometheus.endpoint import Endpoint
from poise.adapters.prometheus.store import PrometheusSignals
from poise.adapters.secrets import NamedSecrets, Unseal
from poise.model.errors import NotFound
from poise.model.service import DataSource, Project
from poise.ports.signals import SignalStore
from poise.ports.store import Store


class _Kept(Struct, frozen=True):
    endpoint: Endpoint
    signals: PrometheusSignals


class DataSources:
    """Stores by project and name; the empty name is the embedded store. Secrets are opened at each look."""

    def __init__(self, store: Store, unseal: Unseal, embedded: SignalStore | None = None) -> None:
        self._store = store
        self._secrets = NamedSecrets(store, unseal)
        self.embedded = embedded
        self._kept: dict[tuple[str, str], _Kept] = {}

    async def of(self, project: str, name: str) -> SignalStore:
        """The store behind a data source; ``NotFound`` when it, or a secret it names, is not there."""
        if not name:
            if self.embedded is None:
                raise NotFound("POISE-H160", "no embedded metrics store runs here", where=project,
                               mend="Name a data source in the indicator.")  # fmt: skip
            return self.embedded
        known, _ = await self._store.get(Project, project)
        declared = next((one for one in known.sources if one.name == name), None) if known else None
        if declared is None:
            raise NotFound("POISE-H161", f"no data source {name}", where=project,
                           mend="Declare it in poise.yaml (kind: DataSource).")  # fmt: skip
        endpoint = await self._endpoint(project, declared)
        kept = self._kept.get((project, name))
        if kept is None or kept.endpoint != endpoint:
            made = _Kept(endpoint, PrometheusSignals(endpoint))
            self._kept[project, name] = made
            if kept is not None:
                await kept.signals.close()
            return made.signals
        return kept.signals

    async def close(self) -> None:
        """Let all connections go."""
        for kept in self._kept.values():
            await kept.signals.close()
        self._kept.clear()

    async def _endpoint(self, project: str, source: DataSource) -> Endpoint:
        return Endpoint(
            url=source.url,
            name=source.name,
            bearer=await self._secrets.value(project, source.bearer),
            username=source.username,
            password=await self._secrets.value(project, source.password),
            tenant=source.tenant,
            headers=source.headers,
            ca_file=source.ca_file,
            certificate_file=source.certificate_file,
            key_file=source.key_file,
            insecure_skip_verify=source.insecure_skip_verify,
            timeout_s=source.timeout_s,
        )
