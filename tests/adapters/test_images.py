"""Images in the real engines: a tag becomes a digest once, and what is released stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.adapters.registry import Registry

from poise.adapters.images import EngineImages
from poise.model.errors import Invalid, NotFound
from poise.ports.artifacts import RELEASED


def test_a_tag_is_resolved_once_and_its_image_outlives_it(engine: Any) -> None:
    """The release is what it was, though the tag moves on and the first image loses every name."""
    engine.image("moves:1", "echo first")
    first = EngineImages().resolve("localhost/moves:1")
    engine.image("moves:1", "echo second")
    second = EngineImages().resolve("localhost/moves:1")
    assert first != second
    engine("rmi", "localhost/moves:1")
    assert engine(*engine.once(f"{RELEASED}@{first}")) == "first"
    assert engine(*engine.once(f"{RELEASED}@{second}")) == "second"


def test_a_registry_is_asked_for_a_tag_and_a_silent_one_leaves_what_is_here(
    engine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A tag moves there, not here; what is here already is released without anybody's answer."""
    registry, images = Registry(), EngineImages()
    (tmp_path / "plain").write_text(f'[[registry]]\nlocation = "{registry.host}"\ninsecure = true\n')
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(tmp_path / "plain"))  # docker takes plain HTTP here
    tag = f"{registry.host}/shop:1"

    def publish(script: str) -> str:
        engine.image("published:1", script)
        saved = tmp_path / f"{script}.tar"
        engine("save", "--output", str(saved), "localhost/published:1")
        engine("rmi", "localhost/published:1")
        return registry.put("1", saved.read_bytes())

    try:
        publish("echo first")
        first = images.resolve(tag)
        manifest = publish("echo second")
        second = images.resolve(tag)
        assert images.resolve(f"{registry.host}/shop@{manifest}") == second != first
    finally:
        registry.close()
    assert images.resolve(tag) == second
    ran = [engine(*engine.once(f"{RELEASED}@{digest}")) for digest in (first, second)]
    assert ran == ["first", "second"]


def test_a_digest_is_itself(engine: Any, httpd_image: str) -> None:
    """Told twice, it is the same release."""
    assert EngineImages().resolve(httpd_image) == EngineImages().resolve(httpd_image)
    assert EngineImages().resolve(httpd_image) == httpd_image.partition("@")[2]


def test_an_image_that_is_nowhere_is_told_with_a_mend(engine: Any) -> None:
    """The run ends with this sentence; nothing was released."""
    with pytest.raises(NotFound) as told:
        EngineImages().resolve("localhost/nowhere:1")
    assert "localhost/nowhere:1 is neither on this machine" in told.value.what
    assert f"{engine.name} build -t localhost/nowhere:1" in told.value.mend


def test_without_an_engine_the_mend_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a stack trace."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Invalid, match="neither podman nor docker is installed"):
        EngineImages().resolve("shop:1")
