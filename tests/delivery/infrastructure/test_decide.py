"""The difference between what is declared and what is on record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from poise.delivery.infrastructure.decide import Act, Declaration, Seen, change, decide, plan
from poise.model.event_types import SPEC_APPLIED, SPEC_REFUSED
from poise.model.objective import IndicatorKind, Objective
from poise.model.record import Write
from poise.model.service import Project, Replicas, Service

PROJECT = Project(name="shop")


def service(name: str, port: int = 8080, most: int = 4) -> Service:
    replicas = Replicas(max=most)
    return Service(
        project="shop", environment="production", name=name, command="run", port=port, replicas=replicas
    )


def objective(name: str, target: float = 0.99) -> Objective:
    key = f"shop/production/{name}"
    return Objective(
        service=key, name="availability", indicator=IndicatorKind.AVAILABILITY, target_ratio=target
    )


declared = st.tuples(
    st.dictionaries(st.sampled_from("abc"), st.integers(1, 3)),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from([0.9, 0.99])),
).map(
    lambda pair: (
        PROJECT,
        *(service(name, port) for name, port in pair[0].items()),
        *(objective(name, target) for name, target in pair[1].items()),
    )
)


def test_a_changed_field_is_told_by_its_path() -> None:
    """A person approves a plan from this line."""
    (difference,) = plan([PROJECT, service("web")], [PROJECT, service("web", most=9)])
    assert (difference.kind, difference.key, difference.act) == ("Service", "shop/production/web", Act.UPDATE)
    (field,) = difference.fields
    assert (field.field, field.before, field.after) == ("replicas.max", 4, 9)


def test_a_project_is_never_deleted_by_leaving_it_out() -> None:
    """Its runs and budgets hang on it."""
    assert change([PROJECT, service("web")], [], "ada", ()).writes == (
        Write(kind="Service", key="shop/production/web", body=None),
    )


def test_a_refused_file_is_one_event_and_no_write() -> None:
    """What was declared before still holds."""
    decision = decide(Seen(project="shop", commit="aa", settled="", by="ada", refused="POISE-S110 ..."))
    assert [event.type for event in decision.events] == [SPEC_REFUSED]
    assert decision.writes == ()


def test_a_settled_commit_is_not_applied_again() -> None:
    """What a person applied by hand since then is not undone by a restart."""
    seen = Seen(project="shop", commit="aa", settled="aa", by="ada", declared=(PROJECT, service("web")))
    assert decide(seen).is_empty


def test_no_environment_value_reaches_the_journal() -> None:
    """A value may be private; its name is not."""
    secret = Service(
        project="shop", environment="production", name="web", command="run", env={"KEY": "hunter2"}
    )
    decision = decide(Seen(project="shop", commit="aa", settled="", by="ada", declared=(PROJECT, secret)))
    assert "hunter2" not in repr(decision.events)
    assert decision.events[-1].type == SPEC_APPLIED


@given(declared, declared)
def test_closing_the_differences_leaves_none(
    before: tuple[Declaration, ...], after: tuple[Declaration, ...]
) -> None:
    """Plan and apply agree: what is written is exactly what was missing."""
    held = {
        (type(body).__name__, body.name if isinstance(body, Project) else body.key): body for body in before
    }
    for write in change(before, after, "ada", ()).writes:
        if write.body is None:
            del held[write.kind, write.key]
        else:
            assert isinstance(write.body, Declaration)
            held[write.kind, write.key] = write.body
    assert plan(held.values(), after) == ()


@given(declared)
def test_nothing_differs_from_itself(bodies: tuple[Declaration, ...]) -> None:
    """Drift is reported only where there is some."""
    assert plan(bodies, tuple(reversed(bodies))) == ()
