"""Images in the real engines: a tag becomes a digest once, and what is released stays."""

from __future__ import annotations

from typing import Any

import pytest

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
