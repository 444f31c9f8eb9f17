"""Where things are on this machine: the data folder, the server's address, the token, the project."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import quote, urlsplit

import msgspec
from cyclopts import Parameter

from poise.api.views import Address
from poise.model.errors import Invalid, NotFound, Unreachable
from poise.model.service import Project

if TYPE_CHECKING:
    from poise.spec.service import Declared

ASK_S: Final = 5.0


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """What every command takes."""

    json: Annotated[bool, Parameter(negative="", help="Print data as JSON on stdout.")] = False
    quiet: Annotated[bool, Parameter(negative="", help="No talk on stderr.")] = False
    data: Annotated[Path | None, Parameter(help="Data folder (also POISE_DATA).")] = None
    project: Annotated[str | None, Parameter(help="Project (also POISE_PROJECT).")] = None
    named_environment: Annotated[
        str, Parameter(name="--environment", help="Environment; the project's last by default.")
    ] = ""

    @property
    def folder(self) -> Path:
        """The data folder in force."""
        return data_folder(self.data)

    @property
    def environment(self) -> str:
        """The environment meant: as named, else the last of this folder's project; asks the server."""
        return self.named_environment or last_environment(self, project_of(self))


COMMON = Common()


def data_folder(given: Path | None = None) -> Path:
    """The data folder: as given, else POISE_DATA, else below XDG_DATA_HOME."""
    if given is not None:
        return given.absolute()
    if named := os.environ.get("POISE_DATA"):
        return Path(named).absolute()
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "poise"


def address_of(data: Path) -> Address:
    """The running server's address; ``Unreachable`` when none was started here."""
    try:
        return msgspec.json.decode((data / "run" / "api.json").read_bytes(), type=Address)
    except (OSError, msgspec.DecodeError):
        raise Unreachable(
            "POISE-E701", "Poise is not running", where=str(data), mend="Run: poise up"
        ) from None


def token_of(data: Path) -> str:
    """This machine's token (POISE_TOKEN, else the 0600 file)."""
    if named := os.environ.get("POISE_TOKEN"):
        return named
    try:
        return (data / "token").read_text().strip()
    except OSError:
        raise Unreachable(
            "POISE-E702", "there is no token", where=str(data / "token"), mend="Run: poise up"
        ) from None


def project_of(common: Common, folder: Path | None = None) -> str:
    """The project meant: as given, else of the git remote ``poise``, else the folder's name."""
    named = common.project or os.environ.get("POISE_PROJECT") or _project_of_remote()
    return named or project_name((folder or Path.cwd()).resolve().name)


def _project_of_remote() -> str | None:
    done = subprocess.run(["git", "remote", "get-url", "poise"], capture_output=True, text=True, check=False)
    match = re.search(r"/git/([^/]+?)(\.git)?$", done.stdout.strip())
    return match.group(1) if match else None


def project_name(text: str) -> str:
    """A folder's name as a project's: lower case, digits and dashes."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
    if not name:
        raise Invalid("POISE-E202", "no project name", where=text, mend="Give one: --project NAME")
    return name


def service_key(common: Common, service: str) -> str:
    """``project/environment/service`` of what a person typed: any part before the service may be left out."""
    parts = service.split("/")
    if len(parts) == 3:
        return service
    if len(parts) == 2 and parts[0] == "service":  # as in `poise explain service/shop`
        parts = parts[1:]
    if len(parts) != 1:
        raise Invalid(
            "POISE-E201", f"'{service}' names no service", mend="Use NAME or PROJECT/ENVIRONMENT/NAME"
        )
    project = project_of(common)
    environment = common.named_environment or last_environment(common, project)
    return f"{project}/{environment}/{parts[0]}"


def last_environment(common: Common, project: str) -> str:
    """The project's last environment, as the server knows it; ``production`` where it knows none.

    Asked for by hand: the client of the API stands on this module. What else is wrong, its next call tells.
    """
    url = urlsplit(address_of(common.folder).url)
    with closing(HTTPConnection(url.hostname or "", url.port, timeout=ASK_S)) as connection:
        try:
            headers = {"Authorization": f"Bearer {token_of(common.folder)}"}
            connection.request("GET", f"/api/v1/projects/{quote(project, safe='')}", headers=headers)
            return msgspec.json.decode(connection.getresponse().read(), type=Project).environments[-1]
        except (OSError, HTTPException, msgspec.DecodeError, IndexError):
            return Project(name=project).environments[-1]


def text_of(file: Path) -> str:
    """A spec's text; ``NotFound`` or ``Invalid`` with a mend when there is none."""
    try:
        return file.read_text()
    except (FileNotFoundError, IsADirectoryError):
        raise NotFound(
            "POISE-E301", f"no {file}", mend="Run it where poise.yaml is, or name the file"
        ) from None
    except UnicodeDecodeError as error:
        raise Invalid(
            "POISE-E303", f"{file} is not UTF-8 text", why=str(error), mend=f"file {file}"
        ) from None


def declared_in(file: Path, common: Common, opened: dict[str, str] | None = None) -> Declared:
    """What a spec declares with the files it names, which are noted in ``opened``. Raises ``Invalid``."""
    from poise.spec.service import parse_project

    files = {} if opened is None else opened

    def named(path: str) -> str | None:
        there = file.parent / path
        if not there.is_file():
            return None
        files[path] = text_of(there)
        return files[path]

    text, project = text_of(file), project_of(common, file.parent)
    declared = parse_project(text, project=project, filename=str(file), file=named)
    for glob in declared.rule_globs:
        for path in sorted(one for one in file.parent.glob(glob.pattern) if one.is_file()):
            named(path.relative_to(file.parent).as_posix())
    return declared
