"""Run the house: up, down, login, doctor, backup, restore; and the hidden serve and git-credential."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from poise.api.views import Address, Created, Page
from poise.cli import output
from poise.cli.client import Client, answers
from poise.cli.place import COMMON, Common, address_of, project_name, token_of
from poise.model.errors import Conflict, Invalid, NotFound, PoiseError, TimedOut, Unreachable
from poise.model.service import Project

READY_S = 20.0
POLL_S = 0.05


def up(
    *,
    port: Annotated[int, Parameter(help="API and pages, on 127.0.0.1.")] = 8700,
    ingress_port: Annotated[int, Parameter(help="Where users reach services, on 127.0.0.1.")] = 8080,
    common: Common = COMMON,
) -> None:
    """Start Poise here and make this folder's project known to it.

    Prints a one-time login link. In a git repository it adds the remote ``poise``.
    """
    data = common.folder
    started = _ensure_running(data, port, ingress_port)
    with Client(common) as client:
        name = _ensure_project(client, common)
        link = _login_link(client)
        address = client.address
    if name:
        _ensure_remote(address, name, data)
    if common.json:
        return output.data(
            {"url": address.url, "login": link, "project": name, "started": started, "data": str(data)}
        )
    output.say(f"Poise is {'up' if started else 'already up'} at {address.url}")
    output.say(f"  log in (once, within 15 minutes): {link}")
    if name:
        output.say(f"  ship {name}: git push poise main")
        output.say(f"  reach a service: http://NAME.localhost:{address.ingress_port}/")
    else:
        output.say("  next: write a poise.yaml in your repository and run poise up there")
    return None


def _ensure_running(data: Path, port: int, ingress_port: int) -> bool:
    """Whether it had to be started; returns once it is ready."""
    if _answers(data):
        return False
    _refuse_taken_ports(port, *(() if _serves_on(data) else (ingress_port,)))
    (data / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
    data.chmod(0o700)
    command = [sys.executable, "-m", "poise.cli", "serve", "--data", str(data)]
    command += ["--port", str(port), "--ingress-port", str(ingress_port)]
    with (data / "logs" / "poise.log").open("ab") as log:
        start = log.tell()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Unreachable(
                "POISE-E704",
                "Poise ended while starting",
                where=str(data / "logs" / "poise.log"),
                why=_tail(data / "logs" / "poise.log", start),
                mend="Run: poise doctor",
            )
        if _answers(data):
            return True
        time.sleep(POLL_S)
    raise TimedOut("POISE-E802", f"not ready in {READY_S:.0f} s", where=str(data), mend="Run: poise doctor")


def _tail(path: Path, start: int) -> str:
    with path.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _answers(data: Path) -> bool:
    try:
        return answers(address_of(data).url)
    except PoiseError:
        return False


def _serves_on(data: Path) -> bool:
    """Whether workloads went on meanwhile: then Envoy holds the ingress port, and rightly so.

    Envoy is asked too, since it goes on when the keeper is dead as well; the next keeper adopts it.
    """
    for path in (data / "run" / "keeper.sock", data / "envoy" / "admin.sock"):
        with socket.socket(socket.AF_UNIX) as asked:
            try:
                asked.connect(str(path))
            except OSError:
                continue
            return True
    return False


def _refuse_taken_ports(*ports: int) -> None:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise Conflict(
                    "POISE-E410",
                    f"port {port} is in use",
                    where=f"127.0.0.1:{port}",
                    why=error.strerror or str(error),
                    mend="Choose others: poise up --port 8701 --ingress-port 8081",
                ) from None


def _ensure_project(client: Client, common: Common) -> str | None:
    folder = Path.cwd()
    if not (folder / "poise.yaml").is_file() and not common.project:
        return None
    name = common.project or project_name(folder.resolve().name)
    known = {one.name for one in client.get("/api/v1/projects", Page[Project], limit=500).items}
    if name not in known:
        client.post("/api/v1/projects", {"name": name}, Created)
    return name


def _ensure_remote(address: Address, name: str, data: Path) -> None:
    """The git remote ``poise``; the token stays in its 0600 file, asked for by a credential helper."""
    if _git("rev-parse", "--git-dir").returncode != 0:
        return
    url = f"{address.url}/git/{name}.git"
    verb = "set-url" if _git("remote", "get-url", "poise").returncode == 0 else "add"
    _git("remote", verb, "poise", url)
    helper = f"!'{sys.executable}' -m poise.cli git-credential --data '{data}'"
    _git("config", f"credential.{address.url}.helper", helper)
    _git("config", f"credential.{address.url}.username", "poise")


def _git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False)


def git_credential(operation: str = "get", *, common: Common = COMMON) -> None:
    """Answer git's credential helper protocol with this machine's token."""
    if operation == "get":
        output.say(f"username=poise\npassword={token_of(common.folder)}")


def _login_link(client: Client) -> str:
    return client.post("/api/v1/logins", {}, Created).key


def login(*, common: Common = COMMON) -> None:
    """A fresh one-time login link for the pages."""
    with Client(common) as client:
        link = _login_link(client)
    output.data({"login": link}) if common.json else output.say(link)


def down(
    *,
    keep_workloads: Annotated[bool, Parameter(negative="", help="Only the control process ends.")] = False,
    common: Common = COMMON,
) -> None:
    """Stop Poise and, unless told to keep them, its workloads and Envoy."""
    data = common.folder
    try:
        with Client(common) as client:
            client.post("/api/v1/stop", {}, dict)
            pid = client.address.pid
    except Unreachable:
        pid = 0
    _await_end(pid)
    if keep_workloads:
        return output.talk(common, "Poise is down; workloads go on.")
    from poise.adapters.keeper.stop import stop_workloads

    if stop_workloads(data) or pid:
        return output.talk(common, "Poise is down.")
    return output.talk(common, f"Nothing runs from {data}. Another folder: --data, or POISE_DATA.")


def _await_end(pid: int) -> None:
    deadline = time.monotonic() + READY_S
    while pid and Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(POLL_S)


def serve(*, port: int = 8700, ingress_port: int = 8080, common: Common = COMMON) -> None:
    """The control process, in the foreground (what ``up`` and a service manager start)."""
    from poise.app import Config, serve_forever

    serve_forever(Config(data=common.folder, port=port, ingress_port=ingress_port))


def doctor(*, common: Common = COMMON) -> int:
    """Check this machine and this installation: pass, warn or fail, each with a mend."""
    from poise.cli.doctor import examine

    findings = examine(common.folder)
    failed = any(one.result == "fail" for one in findings)
    if common.json:
        output.data(findings)
    else:
        rows = [(one.result, one.check, one.finding, one.mend) for one in findings]
        output.table(("", "check", "finding", "mend"), rows)
    return 1 if failed else 0


def backup(target: Path, *, common: Common = COMMON) -> None:
    """A consistent copy of the record, repositories and releases as one file, while it runs.

    The key of the secrets (DATA/secret.key, or POISE_SECRET_KEY) is not in it: keep that apart.
    """
    from poise.adapters.backup import back_up

    if target.exists():
        raise Conflict("POISE-E411", f"{target} is already there", mend="Choose another name")
    made = back_up(common.folder, target)
    done = {"path": str(target), "events": made.events, "head": made.head_hash}
    said = f"{target}: {made.events} events, head {made.head_hash}. Keep the head: restore --head checks it."
    output.data(done) if common.json else output.say(said)
    output.talk(
        common,
        f"The key of the secrets is not in it. Keep {common.folder}/secret.key (or POISE_SECRET_KEY) apart: "
        "without it they cannot be opened.",
    )


def restore(
    source: Path,
    *,
    verify: Annotated[bool, Parameter(negative="", help="Only check the backup; restore nothing.")] = False,
    head: Annotated[str | None, Parameter(help="The head that backup printed.")] = None,
    common: Common = COMMON,
) -> None:
    """Put a backup in place of an empty data folder, after checking its chain."""
    from poise.adapters.backup import put_back

    if not source.is_file():
        raise NotFound("POISE-E304", f"no backup {source}")
    data = common.folder
    if not verify and (data / "poise.db").exists():
        raise Conflict(
            "POISE-E412", "there is a record already", where=str(data), mend="Restore elsewhere: --data OTHER"
        )
    report = put_back(source, None if verify else data, head)
    if not report.ok:
        raise Invalid("POISE-E602", f"the backup is not whole: {report.problem}", where=str(source))
    done = {"events": report.events, "head": report.head_hash, "restored": not verify}
    said = "is whole" if verify else f"is restored to {data}"
    output.data(done) if common.json else output.say(f"{source} {said}: {report.events} events.")
    if not verify:
        output.talk(
            common,
            f"Before poise up, put back the key of the secrets: {data}/secret.key (mode 0600), or "
            "POISE_SECRET_KEY. A backup never holds it.",
        )
