"""The demo: a small studio's first LoRA, told as a list of real commands.

Nothing in it is canned: every step is the command that stands in it, run by the same program
that people use, and each says beforehand which exit code it is to end with.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError, FileMissingError
from lora_pipeline.foundation.files import write_atomic
from lora_pipeline.foundation.resources import resource
from lora_pipeline.foundation.strict_json import dumps
from lora_pipeline.workspace.settings import LOCAL_FILE

PROJECT = "neon_city"
ARTIST = "mira@neon.example"
LEAD = "kim@neon.example"
MARKER = ".lora-demo"


class Step(msgspec.Struct, frozen=True):
    """One command of the story.

    Attributes:
        argv: The command, without ``lora``.
        expects: Its exit code; 1 is the answer "no".
        say: What it does and why, told before it.
    """

    argv: tuple[str, ...]
    expects: int = 0
    say: str = ""


class Forgery(msgspec.Struct, frozen=True):
    """An edit by hand that the next command is to catch, and that is undone after it.

    Attributes:
        path: File below the workspace.
        old: Text that is replaced, once.
        new: Text that takes its place.
        say: What is done, told before it.
    """

    path: str
    old: str
    new: str
    say: str


class Chapter(msgspec.Struct, frozen=True):
    """Steps that belong together."""

    title: str
    steps: tuple[Step | Forgery, ...]


def prepare_folder(folder: Path, *, replace: bool) -> Path:
    """Lay out a machine as a studio has it, and return the folder of the workspace to be.

    ``art/`` is what the artists delivered, ``models/`` the machine's base models, ``studio/``
    the repository, with this machine's own settings and nothing else in it yet.

    Args:
        folder: Where all of it goes.
        replace: Whether an earlier demo there may be removed.

    Raises:
        ArgumentInvalidError: When something else is there.
        FileMissingError: When the package came without its demo files.
    """
    art, checkpoint = resource("data", "demo", "art"), resource("data", "demo", "checkpoint")
    if not art.is_dir() or not checkpoint.is_dir():
        raise FileMissingError("this installation came without the demo's files")
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).is_file():
            raise ArgumentInvalidError(
                f"{folder} is not empty and holds no earlier demo",
                hint="lora demo OTHER_FOLDER",
            )
        if not replace:
            raise ArgumentInvalidError(
                f"{folder} holds an earlier demo", hint=f"lora demo {folder} --replace"
            )
        shutil.rmtree(folder)
    studio = folder / "studio"
    (studio / "config").mkdir(parents=True)
    (folder / MARKER).write_text("made by lora demo; lora demo --replace removes it\n")
    shutil.copytree(art, folder / "art")
    shutil.copytree(checkpoint, folder / "models" / "icons64")
    write_atomic(studio / LOCAL_FILE, dumps({"paths": {"checkpointsRoot": "../models"}}))
    return studio


def story(*, steps: int | None = None) -> tuple[Chapter, ...]:
    """Return the whole story.

    Args:
        steps: Training steps instead of the preset's; fewer for a quick look.
    """
    return (
        _studio(),
        _art(),
        _manifest(),
        _training(steps),
        _evaluation(),
        _gate(),
        _walking_round(),
    )


def _by(actor: str, *argv: str) -> tuple[str, ...]:
    return (*argv, "--as", actor, "--commit")


def _studio() -> Chapter:
    return Chapter(
        "A studio's repository",
        (
            Step(("init",), say="Records are JSON in Git; this folder becomes a workspace."),
            Step(_by(LEAD, "project", "create", PROJECT, "--name", "Neon City")),
            Step(
                _by(
                    LEAD, "checkpoint", "add", "icons64", "--path", "../models/icons64",
                    "--name", "Demo base for 64 px icons", "--asset-type", "ui_icon",
                    "--license", "Apache-2.0", "--commercial-loras", "yes",
                ),
                say="The base model is a record too: its bytes are named by a digest.",
            ),
            Step(
                _by(
                    LEAD, "suite", "use", "demo_icon", "--asset-type", "ui_icon",
                ),
                say="The catalog says by which prompts icons are judged, whoever renders them.",
            ),
        ),
    )  # fmt: skip


def _art() -> Chapter:
    imported = ("asset", "import", "../art", "--asset-type", "ui_icon", "--add-tags")
    return Chapter(
        "Art comes in, and somebody looks at it",
        (
            Step(
                _by(ARTIST, *imported),
                say="Imported art waits for review. One file is there twice; it is left out.",
            ),
            Step(_by(ARTIST, *imported), say="The same folder again adds nothing."),
            Step(
                _by(LEAD, "asset", "reject", "--tag", "issue:artefact", "--note", "broken export"),
                say="One export is broken.",
            ),
            Step(
                _by(
                    LEAD, "asset", "approve", "--status", "review", "--tag", "style:sticker",
                    "--note", "matches the sticker sheet",
                ),
                say="The lead approves the stickers; the neon set stays in review for now.",
            ),
            Step(
                _by(
                    LEAD, "asset", "withdraw", "--title", "Large gray moon sticker guest",
                    "--reason", "the guest artist asked for it back",
                ),
                say="Rights follow the data: an artist withdraws one picture.",
            ),
        ),
    )  # fmt: skip


def _manifest() -> Chapter:
    build = (
        "dataset", "build", "stickers", "--asset-type", "ui_icon", "--tag", "style:sticker",
        "--trigger", "stkr", "--checkpoint", "icons64", "--held-out", "0.1",
    )  # fmt: skip
    return Chapter(
        "The manifest: every image, caption and digest",
        (
            Step(
                _by(ARTIST, *build, "--explain"), say="What was left out is said, with its reason."
            ),
            Step(
                _by(ARTIST, "dataset", "build", "stickers"),
                say="Built again: not one byte changes.",
            ),
            Step(("dataset", "verify", "stickers"), say="Every image is read and hashed anew."),
        ),
    )


def _training(steps: int | None) -> Chapter:
    train: tuple[str, ...] = (
        "train", "--lora", "sticker_icons", "--dataset", "stickers", "--trainer", "diffusers",
        "--preset", "demo-64",
    )  # fmt: skip
    if steps is not None:
        train = (*train, "--steps", str(steps))
    return Chapter(
        "Training, for real, on this CPU",
        (
            Step(
                _by(
                    ARTIST, "create", "sticker_icons", "--name", "Sticker icons", "--checkpoint",
                    "icons64", "--asset-type", "ui_icon", "--trigger", "stkr",
                )
            ),
            Step((*train, "--plan"), say="What the trainer will be given, before anything starts."),
            Step(_by(ARTIST, *train), say="About two minutes of computing."),
        ),
    )  # fmt: skip


def _evaluation() -> Chapter:
    return Chapter(
        "The grid: base against LoRA, at equal seeds",
        (
            Step(
                _by(
                    ARTIST, "eval", "grid", "sticker_icons", "r1", "--png", "sheet.png",
                )
            ),
        ),
    )  # fmt: skip


def _gate() -> Chapter:
    return Chapter(
        "The gate",
        (
            Step(
                _by(ARTIST, "promote", "sticker_icons", "r1"),
                expects=1,
                say="Nobody has looked at the grid yet, so the answer is no.",
            ),
            Step(
                _by(
                    ARTIST, "eval", "approve", "sticker_icons", "r1", "--comment",
                    "I made it, and I like it",
                ),
                say="The artist who trained it approves it …",
            ),
            Step(
                _by(ARTIST, "promote", "sticker_icons", "r1"),
                expects=1,
                say="… which does not count: one does not approve one's own work.",
            ),
            Step(
                _by(
                    LEAD, "eval", "approve", "sticker_icons", "r1", "--comment",
                    "hatching and outline right, also on the star it never saw",
                ),
                say="Somebody else looks at the sheet.",
            ),
            Step(_by(LEAD, "promote", "sticker_icons", "r1")),
            Step(("resolve", "sticker_icons"), say="This is what production uses, and why."),
            Step(("validate",), say="Everything is checked again, from the bytes up."),
        ),
    )  # fmt: skip


def _walking_round() -> Chapter:
    record = f"data/projects/{PROJECT}/loras/sticker_icons.json"
    train = (
        "train", "--lora", "sticker_icons", "--dataset", "stickers", "--trainer", "diffusers",
        "--preset", "demo-64", "--steps", "8",
    )  # fmt: skip
    return Chapter(
        "Walking round the gate",
        (
            Step(_by(ARTIST, *train), say="A second release, trained far too short."),
            Forgery(
                record,
                '"activeReleaseId": "r1"',
                '"activeReleaseId": "r2"',
                "Someone edits the pointer by hand, because the deadline is today.",
            ),
            Step(("validate",), expects=1, say="The gate is computed from evidence, not believed."),
        ),
    )
