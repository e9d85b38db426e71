"""``lora demo``: run the story command by command, and show each as a person would see it."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import print_json
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import StateError

if TYPE_CHECKING:
    from lora_pipeline.operations.workspace.demo import Chapter, Forgery, Step


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="lora-demo")
@click.option("--replace", is_flag=True, help="Remove an earlier demo in that folder first.")
@click.option("--steps", type=int, help="Train this many steps instead of the preset's.")
@shared_options
@click.pass_obj
def demo(session: Session, folder: Path, *, replace: bool, steps: int | None) -> None:
    """Run the whole pipeline on small art, for real.

    Makes a studio's repository in FOLDER/studio, imports and approves art, builds the
    manifest, trains a LoRA on this CPU, renders base against LoRA, is refused, gets a review,
    promotes, and catches a forged pointer. Takes a few minutes and needs the extra `train`.
    Nothing leaves this machine.

    Exits with 0, or with 3 when a step did not end as it must.

    \b
    lora demo demo-workspace
    """
    from lora_pipeline.foundation.extras import require_extra
    from lora_pipeline.operations.workspace.demo import prepare_folder, story

    require_extra("train", ("torch", "diffusers", "peft", "transformers"))
    root = prepare_folder(folder.absolute(), replace=replace)
    teller = Teller(root, quiet=session.quiet or session.json)
    started = time.monotonic()
    for number, chapter in enumerate(story(steps=steps), start=1):
        teller.tell(number, chapter)
    pictures = teller.pictures()
    if session.json:
        print_json(
            {
                "success": True,
                "data": {"folder": str(root), "steps": teller.done, "pictures": pictures},
                "error": None,
                "reasoning": "Ran the whole pipeline",
                "warnings": [],
                "suggestions": [f"lora --workspace {root} status"],
                "written": [],
                "dryRun": False,
            }
        )
        return
    if not session.quiet:
        _close(folder, pictures, time.monotonic() - started)


class Teller:
    """Runs the steps of the story in the demo's folder and keeps what came out.

    Args:
        root: The demo's workspace.
        quiet: Whether to run the commands without showing them.
    """

    def __init__(self, root: Path, *, quiet: bool) -> None:
        self.root = root
        self.quiet = quiet
        self.done: list[dict[str, Any]] = []

    def tell(self, number: int, chapter: Chapter) -> None:
        """Run one chapter.

        Raises:
            StateError: When a step ends otherwise than the story says.
        """
        from lora_pipeline.operations.workspace.demo import Forgery

        self._say("")
        self._say(click.style(f"{number}  {chapter.title}", bold=True))
        with contextlib.ExitStack() as undo:
            for step in chapter.steps:
                if step.say:
                    self._say(f"\n   {step.say}")
                if isinstance(step, Forgery):
                    undo.enter_context(self._forged(step))
                else:
                    self._run(step)

    def pictures(self) -> list[str]:
        """Return the pictures that the demo left to look at."""
        found = [
            self.root / "sheet.png",
            *sorted((self.root / "data").rglob("evals/*.webp")),
        ]
        return [str(path) for path in found if path.is_file()]

    def _run(self, step: Step) -> None:
        from lora_pipeline.cli.boundary import run_guarded
        from lora_pipeline.cli.main import root as command

        self._say(click.style(f"\n$ lora {_shown(step.argv)}", fg="cyan"))
        started = time.monotonic()
        with contextlib.chdir(self.root), self._captured() as output:
            code = run_guarded(command, Session(), step.argv)
        self._identify()
        self.done.append(
            {
                "argv": ["lora", *step.argv],
                "exitCode": code,
                "seconds": round(time.monotonic() - started, 2),
            }
        )
        if code != step.expects:
            raise StateError(
                f"lora {shlex.join(step.argv)} ended with {code}, the story says {step.expects}"
                + (f": {output.getvalue().strip()}" if output else ""),
                hint=f"look into {self.root}",
            )

    def _identify(self) -> None:
        # A machine that never used Git has no name to commit under; the demo brings one.
        from lora_pipeline.workspace.git import commit as git_commit
        from lora_pipeline.workspace.git import repository as git

        if (self.root / ".git").is_dir() and len(self.done) == 0:
            git.configure(self.root, "user.name", "Neon City")
            git.configure(self.root, "user.email", "studio@neon.example")
            git_commit.commit(self.root, [self.root], "A workspace for Neon City")

    @contextlib.contextmanager
    def _forged(self, forgery: Forgery) -> Iterator[None]:
        path = self.root / forgery.path
        before = path.read_text(encoding="utf-8")
        if before.count(forgery.old) != 1:
            raise StateError(f"{forgery.path} does not hold {forgery.old} once")
        self._say(
            click.style(f"\n$ sed -i 's/{forgery.old}/{forgery.new}/' {forgery.path}", fg="cyan")
        )
        path.write_text(before.replace(forgery.old, forgery.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(before, encoding="utf-8")

    @contextlib.contextmanager
    def _captured(self) -> Iterator[io.StringIO | None]:
        if not self.quiet:
            sys.stdout.flush()
            yield None
            return
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            yield output

    def _say(self, text: str) -> None:
        if not self.quiet:
            click.echo(text)


def _shown(argv: tuple[str, ...]) -> str:
    return shlex.join(argv)


def _close(folder: Path, pictures: list[str], seconds: float) -> None:
    minutes, rest = divmod(round(seconds), 60)
    click.echo(
        click.style(
            f"\nDone in {minutes} min {rest} s. The forged pointer was put back.", bold=True
        )
    )
    click.echo("\nLook at what came out: base on the left, the LoRA beside it.")
    for picture in pictures:
        click.echo(f"  {os.path.relpath(picture)}")
    click.echo(
        f"\nnext  cd {folder}/studio  ·  lora status  ·  lora show sticker_icons  ·  git log"
    )
