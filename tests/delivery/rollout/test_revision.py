"""What makes a running revision another one, and what must not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from poise.delivery.rollout.revision import hashed, revision_of
from poise.model.service import Health, Replicas, Resources, Service

SPEC = Service(
    project="acme", environment="production", name="shop", command="run", port=8080, env={"A": "1"}
)


def test_a_process_keeps_its_revision_when_poise_learns_new_keys() -> None:
    """An upgrade of Poise must roll nothing out: this is what it was before images and limits were known."""
    assert revision_of("sha256:a", SPEC) == "sha256:a+0bf1bccc2079"


@pytest.mark.parametrize(
    ("change", "revision"),
    [
        ({"health": Health(path="/healthz", failures=5)}, "164ab8cf9ca3"),
        ({"image": "shop:1", "resources": Resources(memory_bytes=1 << 26)}, "e7727a50c798"),
        ({"depends_on": ("stock",), "hostname": "shop.test", "read_only": True}, "f096e7d21209"),
    ],
)
def test_the_revisions_that_houses_have_on_record_stay(change: dict[str, object], revision: str) -> None:
    """Hashes of earlier versions of Poise: another one would make a canary of the next push everywhere."""
    assert revision_of("sha256:a", replace(SPEC, **change)) == f"sha256:a+{revision}"


def test_a_key_that_poise_learns_counts_once_it_says_something() -> None:
    """At its default it changes nothing of what runs."""

    class LaterHealth(Health, frozen=True, kw_only=True):
        host: str = ""

    assert hashed(LaterHealth(path="/healthz")) == hashed(Health(path="/healthz"))
    assert hashed(LaterHealth(host="shop")) != hashed(Health())


@pytest.mark.parametrize(
    "change",
    [
        {"image": "shop:1"},
        {"resources": Resources(memory_bytes=1 << 26)},
        {"resources": Resources(cpu=0.5)},
        {"read_only": True},
    ],
)
def test_another_limit_is_another_revision(change: dict[str, object]) -> None:
    """It is as able to break the app as a new release, so it is a canary too."""
    assert revision_of("sha256:a", replace(SPEC, **change)) != revision_of("sha256:a", SPEC)


def test_another_tag_of_the_same_digest_is_the_same_revision() -> None:
    """What runs is the digest: nothing would change for anybody."""
    one, two = (replace(SPEC, image=f"shop:{tag}") for tag in "12")
    assert revision_of("sha256:a", one) == revision_of("sha256:a", two)
    assert revision_of("sha256:a", replace(one, replicas=Replicas(min=3))) == revision_of("sha256:a", one)
