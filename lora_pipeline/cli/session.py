"""One run of the command line: its global options, and how it calls an operation."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import click

from lora_pipeline.cli.keeping import keeping
from lora_pipeline.cli.output import Report, plain, print_json, print_report, say

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result
    from lora_pipeline.workspace.root import Workspace

P = ParamSpec("P")


@dataclass
class Session:
    """The options that hold for the whole call."""

    workspace_path: str | None = None
    project: str | None = None
    actor: str | None = None
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    dry_run: bool = False
    commit: bool = False
    exit_code: int = 0
    started_ns: int = field(default_factory=time.time_ns)

    def open_workspace(self) -> Workspace:
        """Return the workspace of this call, with progress shown in the terminal.

        Raises:
            WorkspaceNotFoundError, SettingsError: When there is none, or its settings are bad.
        """
        from lora_pipeline.cli.progress import terminal_sink
        from lora_pipeline.workspace.root import find_root, is_root, open_workspace

        start = Path(self.workspace_path).resolve() if self.workspace_path else Path.cwd()
        root = start if self.workspace_path and is_root(start) else find_root(start)
        return open_workspace(
            root,
            actor=self.actor,
            project=self.project,
            dry_run=self.dry_run,
            sink=terminal_sink(show=not (self.quiet or self.json), verbose=self.verbose),
        )

    def run(
        self,
        operation: Callable[Concatenate[Workspace, P], Result],
        text: Callable[[Result], Report],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> Result:
        """Call an operation, commit when asked to, and print its result.

        Args:
            operation: The verb; called with the workspace first.
            text: Turns the result into what people read.
            *args: Passed to the operation.
            **kwargs: Passed to the operation.

        Raises:
            RepositoryError: When there is nowhere to commit to.
            PipelineError: As the operation does.
        """
        workspace = self.open_workspace()
        if self.commit and not self.dry_run:
            from lora_pipeline.operations.workspace.commit import require_repository

            require_repository(workspace)  # before anything is written
        try:
            result = operation(workspace, *args, **kwargs)
        finally:
            close = getattr(workspace.events, "close", None)
            if close:
                close()
        return self.finish(workspace, result, text)

    def finish(
        self, workspace: Workspace, result: Result, text: Callable[[Result], Report]
    ) -> Result:
        """Commit what was written when that was asked for, settle and print the result.

        Raises:
            RepositoryError: When Git does not commit; what was written stays.
        """
        if self.commit and not self.dry_run and result.written:
            from lora_pipeline.operations.workspace.commit import commit_written

            result = commit_written(workspace, result)
        result = result.settled()
        with keeping(workspace.root, result, started_ns=self.started_ns):
            self.show(result, text)
        return result

    def show(self, result: Result, text: Callable[[Result], Report]) -> None:
        """Print a result in the mode that was asked for and note the exit code."""
        if not result.success:
            self.exit_code = 1  # also when nobody reads what is printed now
        if self.json:
            print_json(result.to_dict())
        elif not self.quiet:
            print_report(text(result), result)
        elif result.refusal:
            say(plain(result.refusal.message), err=True)

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be taken back.

        Raises:
            click.UsageError: When nobody is there to answer.
        """
        if yes or self.dry_run:
            return
        if not sys.stdin.isatty():
            raise click.UsageError(f"{question} Add --yes to answer without a terminal.")
        click.confirm(question, abort=True)
