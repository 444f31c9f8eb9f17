"""The document against CycloneDX's own schema and against the package-url library, neither of them ours."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema_rs
import pytest
from cyclonedx.model.bom import Bom
from hypothesis import given
from hypothesis import strategies as st
from packageurl import PackageURL

from poise.adapters.bill.cyclonedx import document, purl
from poise.adapters.bill.readers import Component

BASE = "http://cyclonedx.org/schema"  # against which the schema's own references are meant
DIGEST = "sha256:" + "0" * 64
FOUND = {
    "requirements.txt": (Component("pypi", "flask", "3.1.0", (("SHA-256", "ab" * 32),)),),
    "web/package-lock.json": (
        Component("npm", "@babel/core", "7.26.0", (("SHA-512", "01" * 64),)),
        Component("npm", "left-pad", "1.3.0"),
    ),
    "go.sum": (Component("golang", "golang.org/x/net", "v0.30.0"),),
    "Cargo.lock": (Component("cargo", "serde", "1.0.217"),),
    "requirements-dev.txt": (
        Component("pypi", "flask", "3.1.0"),
        Component("pypi", "flask", "3.1.0+local.1"),
    ),
}


def schema() -> jsonschema_rs.Draft7Validator:
    """CycloneDX 1.6's own, with those that it refers to, as its library ships them."""
    folder = files("cyclonedx.schema") / "_res"
    named = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())
        for name in ("bom-1.6", "jsf-0.82", "spdx")
    }
    known = [(f"{BASE}/{name}.SNAPSHOT.schema.json", one) for name, one in named.items()]
    return jsonschema_rs.Draft7Validator(
        named["bom-1.6"], registry=jsonschema_rs.Registry(known), validate_formats=True
    )


@pytest.mark.parametrize("found", [FOUND, {}])
def test_the_document_is_valid_cyclonedx(found: dict[str, tuple[Component, ...]]) -> None:
    """By its schema, and as its library reads it."""
    made = json.loads(document(DIGEST, found, "0.1.0"))
    assert [error.message for error in schema().iter_errors(made)] == []
    assert {one.purl.to_string() for one in Bom.from_json(made).components} == {
        one["purl"] for one in made["components"]
    }


def test_the_schema_would_notice() -> None:
    made = json.loads(document(DIGEST, FOUND, "0.1.0"))
    made["components"][0]["type"] = "nothing"
    assert not schema().is_valid(made)


def test_the_same_components_give_the_same_bytes_in_any_order() -> None:
    """It is signed by its hash."""
    turned = {path: tuple(reversed(found)) for path, found in reversed(FOUND.items())}
    assert document(DIGEST, FOUND, "0.1.0") == document(DIGEST, turned, "0.1.0")
    assert document(DIGEST, FOUND, "0.1.0") != document(DIGEST, {}, "0.1.0")


def test_a_component_names_every_lockfile_that_pins_it() -> None:
    found = {"a.txt": (Component("pypi", "x", "1"),), "b.txt": (Component("pypi", "x", "1"),)}
    (one,) = json.loads(document(DIGEST, found, "0"))["components"]
    assert [where["location"] for where in one["evidence"]["occurrences"]] == ["a.txt", "b.txt"]


def test_nothing_known_is_not_nothing_there() -> None:
    made = json.loads(document(DIGEST, {}, "0"))
    assert made["components"] == [] and made["compositions"][0]["aggregate"] == "unknown"


NAMES = st.from_regex(r"[a-z][a-z0-9._-]{0,20}", fullmatch=True)
VERSIONS = st.from_regex(r"[0-9][0-9A-Za-z.+_-]{0,15}", fullmatch=True)


@given(name=NAMES, scope=st.none() | NAMES, version=VERSIONS)
def test_package_urls_are_read_by_others_as_what_they_name(
    name: str, scope: str | None, version: str
) -> None:
    full = f"@{scope}/{name}" if scope else name
    read = PackageURL.from_string(purl(Component("npm", full, version)))
    assert (read.type, read.namespace, read.name, read.version) == (
        "npm",
        scope and f"@{scope}",
        name,
        version,
    )
