"""Lockfiles as their tools write them: every pin is read, and nothing else is taken for one."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poise.adapters.bill.readers import READERS, Component, Unreadable, reader_of, requirements

SHA = "ab" * 32
REQUIREMENTS = f"""\
# compiled by pip-compile
--index-url https://pypi.org/simple
Flask==3.1.0 \\
    --hash=sha256:{SHA}
zope.interface[test] == 7.2 ; python_version >= "3.11"  # why
click>=8
wild==1.*
-e .
git+https://example.org/x.git@main
-r other.txt
"""
POETRY = f"""
[[package]]
name = "Jinja2"
version = "3.1.5"
files = [{{file = "jinja2.whl", hash = "sha256:{SHA}"}}]

[[package]]
name = "own-part"
version = "0.1.0"
source = {{type = "directory", url = "part"}}

[metadata]
lock-version = "2.1"
"""
UV = """
version = 1

[[package]]
name = "shop"
version = "0.1.0"
source = { editable = "." }

[[package]]
name = "idna"
version = "3.10"
source = { registry = "https://pypi.org/simple" }
"""
PDM = """
[[package]]
name = "certifi"
version = "2025.1.31"
"""
CARGO = f"""
version = 4

[[package]]
name = "shop"
version = "0.1.0"

[[package]]
name = "serde"
version = "1.0.217"
source = "registry+https://github.com/rust-lang/crates.io-index"
checksum = "{SHA}"
"""
GO = """\
golang.org/x/net v0.30.0 h1:AcW1SDZMkb8IpzCdQUaIq2sP4sZ4zw+55h6ynffypl4=
golang.org/x/net v0.30.0/go.mod h1:2wGyMJ5iFasEhkwi13ChkO/t1ECNC4X4eBKkVFyYFlU=
golang.org/x/sys v0.26.0/go.mod h1:/VUhepiaJMQUp4+oa/7Zr1D23ma6VTLIYjOOTFZPUcA=
"""
SRI = "sha512-" + b64encode(b"\x01" * 64).decode()
NPM = f"""{{"name": "shop", "lockfileVersion": 3, "packages": {{
  "": {{"name": "shop", "version": "1.0.0"}},
  "packages/part": {{"version": "1.0.0"}},
  "node_modules/part": {{"resolved": "packages/part", "link": true}},
  "node_modules/@babel/core": {{"version": "7.26.0", "integrity": "{SRI}"}},
  "node_modules/a/node_modules/b": {{"version": "2.0.0"}},
  "node_modules/alias": {{"name": "real", "version": "1.2.3"}},
  "node_modules/git": {{"resolved": "git+ssh://example.org/x.git"}}}}}}"""
NPM_1 = """{"lockfileVersion": 1, "dependencies": {"a": {"version": "1.0.0", "dependencies": {
  "b": {"version": "2.0.0"}}}, "c": {"version": "github:x/y#abc"}}}"""


def py(name: str, version: str, *hashes: tuple[str, str]) -> Component:
    return Component("pypi", name, version, hashes)


@pytest.mark.parametrize(
    ("name", "text", "components", "unpinned"),
    [
        (
            "requirements-dev.txt", REQUIREMENTS,
            [py("flask", "3.1.0", ("SHA-256", SHA)), py("zope-interface", "7.2")], 4,
        ),
        ("poetry.lock", POETRY, [py("jinja2", "3.1.5")], 0),
        ("uv.lock", UV, [py("idna", "3.10")], 0),
        ("pdm.lock", PDM, [py("certifi", "2025.1.31")], 0),
        ("Cargo.lock", CARGO, [Component("cargo", "serde", "1.0.217", (("SHA-256", SHA),))], 0),
        ("go.sum", GO, [Component("golang", "golang.org/x/net", "v0.30.0")], 0),
        (
            "package-lock.json", NPM,
            [
                Component("npm", "@babel/core", "7.26.0", (("SHA-512", "01" * 64),)),
                Component("npm", "b", "2.0.0"),
                Component("npm", "real", "1.2.3"),
            ],
            1,
        ),
        ("package-lock.json", NPM_1, [Component("npm", "a", "1.0.0"), Component("npm", "b", "2.0.0")], 1),
    ],
)  # fmt: skip
def test_what_is_pinned_is_read_and_what_is_not_is_counted(
    name: str, text: str, components: list[Component], unpinned: int
) -> None:
    known = reader_of(name)
    assert known is not None
    found = known[1](text)
    assert sorted(found.components) == sorted(components)
    assert found.unpinned == unpinned


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("package-lock.json", "{", "not JSON"),
        ("package-lock.json", "[]", "not an object"),
        ("package-lock.json", '{"packages": {"node_modules/a": 1}}', "no object"),
        ("poetry.lock", "= 1", "not TOML"),
        ("uv.lock", "package = 1", "no list of tables"),
        ("go.sum", "hello", "line 1"),
    ],
)
def test_a_broken_lockfile_says_what_is_wrong_with_it(name: str, text: str, why: str) -> None:
    with pytest.raises(Unreadable, match=why):
        READERS[name][1](text)


@given(name=st.sampled_from([*READERS, "requirements.txt"]), text=st.text(max_size=200))
def test_no_text_breaks_a_reader(name: str, text: str) -> None:
    """What stands in a repository is anybody's."""
    known = reader_of(name)
    assert known is not None
    try:
        known[1](text)
    except Unreadable:
        return


def test_a_hash_of_one_of_several_files_is_no_components_hash() -> None:
    """A wheel and an sdist: which one was installed, the file does not say."""
    text = f"a==1 --hash=sha256:{SHA} --hash=sha256:{'cd' * 32}"
    assert requirements(text).components == (py("a", "1"),)


def test_other_files_are_no_lockfiles() -> None:
    assert [reader_of(name) for name in ("yarn.lock", "notes.txt", "requirements.in", "go.mod")] == [None] * 4
