"""The rules of style that a machine can hold, so that reviewers need not."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "poise"
FUNCTION_LINES = 60
MODULE_LINES = 500
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
PURE_STANDARD = """
__future__ abc bisect collections copy dataclasses datetime decimal enum fractions functools hashlib heapq
itertools json math operator re statistics string types typing zlib
"""
PURE = {"numpy", "msgspec", *PURE_STANDARD.split()}
CLOCKS = {"now", "utcnow", "today"}
DOINGS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}
SHARED_FOLDERS = {"tmp", "usr", "var", "opt", "srv", "root", "builds"}
OWN_FOLDERS = ["home", "Users", *({ROOT.parts[1]} - SHARED_FOLDERS)]
MACHINE_PATHS = re.compile(rf"(?<![\w.~*-])/(?:{'|'.join(OWN_FOLDERS)})/\w+")
ADDRESS = re.compile(r"https?:|://|\bfile:|@ ")


def tracked(*patterns: str) -> list[Path]:
    """What git holds, and what is new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [path for path in (ROOT / line for line in sorted(set(listed))) if path.is_file()]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


PYTHON = tracked("*.py")
PRODUCT = [path for path in PYTHON if path.is_relative_to(SOURCE)]
DECIDERS = [path for path in PRODUCT if path.name == "decide.py"]
ROOMS = sorted({path.parent for path in DECIDERS})


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imports(path: Path) -> Iterator[str]:
    """The full name of every module that is imported, anywhere in the file."""
    package = path.relative_to(ROOT / "src").parent.parts
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            yield ".".join([*above, *([node.module] if node.module else [])])


@pytest.mark.parametrize("path", PYTHON, ids=named)
def test_a_module_is_read_in_one_sitting_and_a_function_fits_on_a_screen(path: Path) -> None:
    """What does not fit in the head is not reviewed."""
    assert len(path.read_text().splitlines()) <= MODULE_LINES
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in functions(path)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    }
    assert not long, f"more than {FUNCTION_LINES} lines"


def test_no_module_has_a_vague_name() -> None:
    """A drawer labelled 'common' collects everything."""
    vague = [path for path in PYTHON if VAGUE_NAMES & {path.stem, *path.relative_to(ROOT).parts}]
    assert not vague


@pytest.mark.parametrize("package", sorted({path.parent for path in PRODUCT}), ids=named)
def test_a_package_says_what_it_is_for(package: Path) -> None:
    """The docstring of `__init__.py` is the first thing a newcomer reads."""
    front = package / "__init__.py"
    assert front.exists(), "a package has an __init__.py"
    assert ast.get_docstring(parsed(front)), "its __init__.py has a docstring"


@pytest.mark.parametrize("room", ROOMS, ids=named)
def test_a_room_says_what_it_decides_reads_and_never_does(room: Path) -> None:
    """The three sentences that let one find the right room, and keep it from growing."""
    says = (ast.get_docstring(parsed(room / "__init__.py")) or "").lower()
    missing = [word for word in ("decide", "read", "never") if word not in says]
    assert not missing, f"the docstring of {named(room)} does not say what it: {missing}"


@pytest.mark.parametrize("path", DECIDERS, ids=named)
def test_what_decides_imports_nothing_that_does(path: Path) -> None:
    """Everything it needs is a value; then simulation, replay and goldens are possible at all."""
    own_room = ".".join(path.relative_to(ROOT / "src").parent.parts)
    strange = [
        name
        for name in imports(path)
        if name.split(".")[0] not in PURE
        and not (name in ("poise.model", own_room) or name.startswith(("poise.model.", own_room + ".")))
    ]
    assert not strange, f"{named(path)} may import poise.model, numpy and the pure standard library only"


@pytest.mark.parametrize("path", DECIDERS, ids=named)
def test_what_decides_asks_no_clock_and_does_nothing(path: Path) -> None:
    """`datetime.now()` would pass the import rules and break every replay."""
    for node in ast.walk(parsed(path)):
        assert not isinstance(node, ast.Await | ast.AsyncFunctionDef), "no await"
        if isinstance(node, ast.Call):
            called = node.func
            assert not (isinstance(called, ast.Attribute) and called.attr in CLOCKS), "`now` is handed in"
            assert not (isinstance(called, ast.Name) and called.id in DOINGS), f"line {node.lineno}"


def test_the_keeper_is_standard_library_only() -> None:
    """It must stay small, and alive when anything else of Poise is broken."""
    for path in (SOURCE / "keeper").glob("**/*.py"):
        strange = [
            name
            for name in imports(path)
            if name.split(".")[0] not in sys.stdlib_module_names
            and not (name == "poise.keeper" or name.startswith("poise.keeper."))
        ]
        assert not strange, named(path)


def test_only_the_command_line_prints_to_stdout() -> None:
    """Data on stdout is an interface; a stray print breaks `--json`. An entry point may talk on stderr."""
    prints = [
        f"{named(path)}:{node.lineno}"
        for path in PRODUCT
        if not path.is_relative_to(SOURCE / "cli")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
        if "file" not in {keyword.arg for keyword in node.keywords}
    ]
    assert not prints


def test_the_lock_names_versions_and_hashes_and_no_address() -> None:
    """An address would tie every team to one mirror, and could carry a password."""
    text = (ROOT / "requirements.lock").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert not ADDRESS.search("\n".join(lines))
    entry = re.compile(r"[a-z0-9-]+==[\w.]+ \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    assert [line for line in lines if not entry.fullmatch(line)] == []


def test_the_lock_holds_every_declared_dependency() -> None:
    """A dependency that is declared and not locked would fail only on a fresh machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    declared += [need for group in project["project"]["optional-dependencies"].values() for need in group]
    names = {
        re.split(r"[\[<>=!~; ]", need)[0].lower().replace("_", "-").replace(".", "-") for need in declared
    }
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert names <= locked, "to mend: make lock"


def test_no_committed_text_names_a_machines_own_folders() -> None:
    """It would work on one machine only, and says whose."""
    found = []
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        lines = enumerate(text.splitlines(), 1)
        found += [f"{named(path)}:{number}" for number, line in lines if MACHINE_PATHS.search(line)]
    assert not found


def test_every_test_file_mirrors_a_place_in_the_tree() -> None:
    """A test is found where its subject is."""
    places = {path.name for path in SOURCE.iterdir()} | {"examples", "tidy", "contract", "adoption", "e2e"}
    places |= {"browser", "simulation", "benchmarks", "tools"}
    strays = {
        path.relative_to(ROOT / "tests").parts[0].removesuffix(".py").removeprefix("test_")
        for path in tracked("tests/**/test_*.py", "tests/test_*.py")
    } - {place.removesuffix(".py") for place in places}
    assert not strays
