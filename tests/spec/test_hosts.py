"""One host name, one service of the installation."""

from __future__ import annotations

from msgspec.structs import replace

from poise.model.service import Service
from poise.spec.hosts import taken

HELLO = Service(
    project="one", environment="production", name="hello", command="run", port=8080,
    hostname="hello.localhost",
)  # fmt: skip


def test_a_name_of_another_project_is_refused_with_a_name_that_is_free() -> None:
    """Envoy would refuse every service's change for it."""
    (problem,) = taken([replace(HELLO, project="two")], [HELLO])
    assert problem.what == "the host name 'hello.localhost' is already that of one/production/hello"
    assert "hello.two.localhost" in problem.mend


def test_own_names_other_names_and_workers_are_no_matter() -> None:
    worker = replace(HELLO, port=None, hostname=None)
    other = replace(HELLO, project="two", hostname="hello.two.localhost")
    assert not list(taken([HELLO, other, replace(worker, project="two")], [HELLO, worker]))
