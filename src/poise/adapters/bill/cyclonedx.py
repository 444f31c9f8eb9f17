"""Components as a CycloneDX 1.6 document. The same components give the same bytes.

Source: CycloneDX 1.6 JSON reference (cyclonedx.org); ECMA-427 and the package-url types (purl-spec).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

import msgspec

from poise.adapters.bill.readers import Component

SPEC_VERSION: Final = "1.6"
MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"


def document(digest: str, found: Mapping[str, Iterable[Component]], version: str) -> bytes:
    """The bill of the release ``digest``: ``found`` are components by the path of their lockfile.

    There is no timestamp in it, and its serial number is made from the digest and the components: read again,
    it is the same document. ``version`` is Poise's.
    """
    where: dict[Component, list[str]] = {}
    for path, components in sorted(found.items()):
        for one in components:
            paths = where.setdefault(one, [])
            if path not in paths:
                paths.append(path)
    listed = sorted(where)
    refs: dict[str, int] = {}
    made = [_component(one, where[one], refs) for one in listed]
    name = uuid5(NAMESPACE_URL, digest + "".join(one["bom-ref"] for one in made))
    return msgspec.json.encode(
        {
            "bomFormat": "CycloneDX",
            "specVersion": SPEC_VERSION,
            "serialNumber": f"urn:uuid:{name}",
            "version": 1,
            "metadata": {
                "tools": {"components": [{"type": "application", "name": "poise", "version": version}]},
                "component": {"type": "application", "bom-ref": digest, "name": digest},
            },
            "components": made,
            # lockfiles tell what they pin, which is seldom all that a release holds
            "compositions": [{"aggregate": "incomplete" if made else "unknown", "assemblies": [digest]}],
        },
        order="sorted",
    )


def purl(one: Component) -> str:
    """The package URL of a component.

    >>> purl(Component("npm", "@babel/core", "7.26.0")), purl(Component("golang", "go.org/X", "v0.30.0"))
    ('pkg:npm/%40babel/core@7.26.0', 'pkg:golang/go.org/x@v0.30.0')
    """
    name = one.name.lower() if one.ecosystem == "golang" else one.name
    parts = [quote(part, safe="-._~") for part in name.split("/")]
    return f"pkg:{one.ecosystem}/{'/'.join(parts)}@{quote(one.version, safe='-._~:')}"


def _component(one: Component, paths: list[str], refs: dict[str, int]) -> dict[str, Any]:
    address = purl(one)
    count = refs[address] = refs.get(address, 0) + 1
    group, _, name = one.name.rpartition("/") if one.ecosystem == "npm" else ("", "", one.name)
    made: dict[str, Any] = {
        "type": "library",
        "bom-ref": address if count == 1 else f"{address}#{count}",
        "name": name,
        "version": one.version,
        "purl": address,
        "evidence": {"occurrences": [{"location": path} for path in paths]},
    }
    if group:
        made["group"] = group
    if one.hashes:
        made["hashes"] = [{"alg": algorithm, "content": content} for algorithm, content in one.hashes]
    return made
