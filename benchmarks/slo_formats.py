"""Files of other tools as their own projects publish them: read, written back, and Sloth's rules made equal.

Give checkouts (or parts of them): every YAML below is tried by its header. OpenSLO v1 must read and come
back the same; Sloth, Pyrra, slo-generator and OpenSLO v1alpha must be read; where Sloth's generated rules lie
beside (``in-X`` and ``out-X``, or ``X`` and ``_gen/X``), ours must be equal. What is refused is listed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from poise.adapters.promql.checking import expression_fault
from poise.spec.foreign.reading import FORMATS, read_slos
from poise.spec.foreign.slo import Slo
from poise.spec.foreign.sloth_rules import Wanted, rule_file
from poise.spec.openslo.documents import V1, read_openslo, write_openslo
from poise.spec.problems import Problems

UNEQUAL = ("sloth_version", "sloth_mode", "cmd")  # who made the rules, and how


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    refused: dict[str, str] = {}
    wrong: list[str] = []
    for folder in given.folders:
        for path in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
            _try(path, counts, refused, wrong)
    met = bool(counts) and not wrong
    report = {"read": dict(sorted(counts.items())), "refused": refused, "wrong": wrong, "met": met}
    print(json.dumps(report) if given.json else json.dumps(report, indent=2))
    return 0 if met else 1 if counts else 2


def _try(path: Path, counts: Counter[str], refused: dict[str, str], wrong: list[str]) -> None:
    text = path.read_text()
    headers = set(re.findall(r"^[- ]*(?:apiVersion|version): *[\"']?([\w./]+)", text, re.MULTILINE))
    try:
        if V1 in headers:
            found = read_openslo(text, path.name)
            same = [one.body for one in read_openslo(write_openslo(found), path.name)]
            counts["OpenSLO v1"] += 1
            if same != [one.body for one in found]:
                wrong.append(f"{path.name}: does not come back the same")
        elif tools := [one.tool for one in FORMATS if one.version in headers]:
            slos = read_slos(text, path.name, expression_fault)
            counts[tools[0]] += 1
            beside = _generated(path)
            if beside is not None:
                counts["Sloth's rules equal"] += 1
                _compare(path, slos, beside, wrong)
    except Problems as problem:
        refused[path.name] = f"{problem.problems[0].what} ({problem.problems[0].where})"


def _generated(path: Path) -> Path | None:
    for one in (path.parent / "_gen" / path.name, path.with_name(f"out-{path.name.removeprefix('in-')}.tpl")):
        if one.exists() and one != path and not path.name.startswith("out-"):
            return one
    return None


def _compare(path: Path, slos: tuple[Slo, ...], beside: Path, wrong: list[str]) -> None:
    text = beside.read_text().replace('{{"{{', "{{").replace('}}"}}', "}}").replace("{{ .version }}", '"v"')
    try:
        documents = [one for one in YAML(typ="safe").load_all(text) if one]
    except YAMLError:
        wrong.append(f"{beside.name}: is no YAML")
        return
    theirs = _rules(group for one in documents for group in (one.get("groups") or one["spec"]["groups"]))
    ours = _rules(rule_file(slos, Wanted(version="v"))["groups"])
    if ours != theirs:
        wrong.append(f"{path.name}: {len(ours)} rules, {len(theirs)} theirs, not equal")


def _rules(groups: Any) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for group in groups:
        for rule in group["rules"]:
            labels = {key: value for key, value in rule["labels"].items() if key not in UNEQUAL}
            found.append((group["name"], {**rule, "labels": labels}))
    return found


if __name__ == "__main__":
    sys.exit(main())
