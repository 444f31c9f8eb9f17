"""What a commit declares, its rule files included."""

from __future__ import annotations

from pathlib import Path

import pytest

from poise.delivery.infrastructure.controller import declarations, declared_at
from poise.model.rules import RuleFile
from poise.spec.problems import Problems
from poise.spec.rules import ExpressionFault

YAML = """
apiVersion: poise.dev/v1
kind: Service
metadata: {name: web}
spec: {command: run, port: 8000}
---
apiVersion: poise.dev/v1
kind: Project
metadata: {name: shop}
spec: {ruleFiles: rules/*.yml}
"""
RULES = b"groups: [{name: a, rules: [{record: x, expr: up}]}]"


class Commit:
    """A repository with one commit."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def read(self, project: str, sha: str, path: str) -> bytes | None:
        return self.files.get(path)

    def list(self, project: str, sha: str, folder: str) -> list[str]:
        return [path for path in self.files if str(Path(path).parent) == folder]


def test_rule_files_are_declarations() -> None:
    """So that they are planned, applied, told in the journal and looked at for drift as everything else."""
    commit = Commit({"poise.yaml": YAML.encode(), "rules/a.yml": RULES})
    declared = declared_at(commit, "shop", "0" * 40)  # type: ignore[arg-type]
    assert declared is not None
    (one,) = [body for body in declarations(declared) if isinstance(body, RuleFile)]
    assert one.key == "shop/rules/a.yml"


def test_nothing_declared_is_nothing() -> None:
    assert declared_at(Commit({}), "shop", "0" * 40) is None  # type: ignore[arg-type]


def test_a_mirror_that_brings_a_bad_rule_is_refused_too() -> None:
    """What is fetched from a forge passes no hook."""
    commit = Commit({"poise.yaml": YAML.encode(), "rules/a.yml": RULES})
    with pytest.raises(Problems, match="no"):
        declared_at(commit, "shop", "0" * 40, lambda text: ExpressionFault(what="no"))  # type: ignore[arg-type]
