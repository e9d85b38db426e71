"""Workspaces in temporary folders, and the real command line on them.

``run_lora`` starts the program as a user does, in a process of its own; ``invoke`` runs the same
boundary inside the test, which is some hundred times faster. Both return an ``Answer``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lora_pipeline.catalog.records import Project, ProjectDefaults
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace, open_workspace

REPOSITORY = Path(__file__).resolve().parents[2]
ACTOR = "ana@studio.example"
NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_PASSED_ON = (
    "PATH",
    "SYSTEMROOT",
    "TEMP",
    "TMP",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "COVERAGE_PROCESS_START",
)


@dataclass(frozen=True)
class Answer:
    """What a call of the command line came to."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout; fails the test when there is not exactly one."""
        document: dict[str, Any] = json.loads(self.stdout)
        return document

    @property
    def error(self) -> dict[str, Any]:
        """The ``error`` member of the JSON document."""
        error: dict[str, Any] = self.document["error"]
        return error


def noon() -> datetime:
    """Return the time at which tests happen."""
    return NOON


def make_workspace(
    folder: Path,
    *,
    git: bool = True,
    project: str | None = None,
    actor: str | None = ACTOR,
) -> Workspace:
    """Return a new workspace at ``folder``, with one project when ``project`` is given.

    With ``git`` it is a repository with an identity, and its first commit holds everything.
    """
    (folder / "config").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "pipeline.yaml").write_text("{}\n", encoding="utf-8")
    (folder / "data" / "shared").mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text(".lora/\nconfig/local.json\n", encoding="utf-8")
    if git:
        make_repository(folder)
    workspace = reopen(folder, actor=actor)
    if project:
        add_project(workspace, project)
    if git:
        commit_all(folder, "Start")
    return workspace


def reopen(folder: Path, *, actor: str | None = ACTOR, **options: Any) -> Workspace:
    """Return the workspace at ``folder`` as a new process sees it, with the clock at noon."""
    opened = open_workspace(folder, actor=actor, **options)
    return Workspace(
        root=opened.root,
        settings=opened.settings,
        actor=opened.actor,
        project=opened.project,
        dry_run=opened.dry_run,
        events=opened.events,
        clock=noon,
    )


def add_project(workspace: Workspace, project_id: str) -> Project:
    """Write the record of a project and return it."""
    record = Project(
        id=project_id,
        name=project_id.replace("_", " ").title(),
        created_at=workspace.now(),
        updated_at=workspace.now(),
        defaults=ProjectDefaults(style="flat", scenario="plain"),
    )
    changes = Changes(workspace)
    changes.create(record, Scope(project_id), "project")
    changes.apply()
    return record


def make_repository(folder: Path, *, email: str = ACTOR) -> None:
    """Make ``folder`` a Git repository with an identity of its own."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", email.partition("@")[0])
    git(folder, "config", "user.email", email)
    git(folder, "config", "commit.gpgsign", "false")


def commit_all(folder: Path, message: str) -> None:
    """Commit everything that is there, when anything is."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


def git(folder: Path, *arguments: str) -> str:
    """Run Git in ``folder`` and return what it printed; fails the test when Git fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr}"
    return done.stdout


def run_lora(
    args: Sequence[str],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    *,
    stdin: bytes = b"",
    timeout_s: float = 120.0,
) -> Answer:
    """Run the real program in a process of its own.

    It sees a bare environment: ``env`` is added to the few variables that a program needs.
    """
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    environment |= {"HOME": os.environ.get("HOME", str(cwd)), "PYTHONUTF8": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "lora_pipeline", *args],
        cwd=cwd,
        env=environment | dict(env or {}),
        input=stdin,
        capture_output=True,
        check=False,
        timeout=timeout_s,
    )
    return Answer(done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8"))


def invoke(args: Sequence[str], cwd: Path, *, stdin: str = "") -> Answer:
    """Run the command line inside this process, through the boundary that the program has."""
    from lora_pipeline.cli.boundary import run_guarded
    from lora_pipeline.cli.main import root
    from lora_pipeline.cli.session import Session

    output, errors = _captured(), _captured()
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
        _standard_input(stdin),
    ):
        exit_code = run_guarded(root, Session(), list(args))
    return Answer(exit_code, _text(output), _text(errors))


def tree_digest(folder: Path) -> dict[str, bytes]:
    """Return every file below ``folder`` with its bytes.

    Git's own files are left out, and the parsed settings, which whoever reads them may keep.
    """
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and ".git" not in path.relative_to(folder).parts
        and path.parts[-2:] != ("cache", "settings.json")
    }


def _captured() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8")


@contextlib.contextmanager
def _standard_input(text: str) -> Iterator[None]:
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text.encode("utf-8")), encoding="utf-8")
    try:
        yield
    finally:
        sys.stdin = before
