"""Images in the real engine: a tag becomes a digest once, and what is released stays."""

from __future__ import annotations

from typing import Any

import pytest

from poise.adapters.images import PodmanImages
from poise.model.errors import Invalid, NotFound
from poise.ports.artifacts import RELEASED


def test_a_tag_is_resolved_once_and_its_image_outlives_it(podman: Any) -> None:
    """The release is what it was, though the tag moves on and the first image loses every name."""
    podman.image("moves:1", "echo first")
    first = PodmanImages().resolve("localhost/moves:1")
    podman.image("moves:1", "echo second")
    second = PodmanImages().resolve("localhost/moves:1")
    assert first != second
    podman("rmi", "localhost/moves:1")
    run = ("run", "--rm", "--network", "host", "--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:8192")
    assert podman(*run, f"{RELEASED}@{first}") == "first"
    assert podman(*run, f"{RELEASED}@{second}") == "second"


def test_a_digest_is_itself(podman: Any, httpd_image: str) -> None:
    """Told twice, it is the same release."""
    assert PodmanImages().resolve(httpd_image) == PodmanImages().resolve(httpd_image)
    assert PodmanImages().resolve(httpd_image) == httpd_image.partition("@")[2]


def test_an_image_that_is_nowhere_is_told_with_a_mend(podman: Any) -> None:
    """The run ends with this sentence; nothing was released."""
    with pytest.raises(NotFound) as told:
        PodmanImages().resolve("localhost/nowhere:1")
    assert "localhost/nowhere:1 is neither on this machine" in told.value.what
    assert "podman build -t localhost/nowhere:1" in told.value.mend


def test_without_an_engine_the_mend_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a stack trace."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Invalid, match="podman is not installed"):
        PodmanImages().resolve("shop:1")
