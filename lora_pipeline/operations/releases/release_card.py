"""Model cards: made from records, written where people read them, and checked in CI."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.output_file import OutputKind, require_output
from lora_pipeline.releases.card import MARK, CardForm, card_text
from lora_pipeline.releases.card_facts import CardFacts, card_facts
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git.history import require_repository
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

CARD = OutputKind("a model card", ".md", b"---\n" + MARK.encode())
_MOST_DIFFERENCES = 12
_NAMED = re.compile(rb"---\r?\n" + MARK.encode() + rb" (\S+) (\S+);")


def write_card(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    output: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Make the model card of a release from its records, in the form of Hugging Face.

    The same records give the same bytes; the day does not matter. Nothing of it is written by
    hand: ``check_cards`` finds what is.

    Args:
        workspace: Where the release is.
        lora: Id of its LoRA.
        release: Its id.
        output: The file, in the workspace; only an earlier card is replaced. Without it the card
            is only returned.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA, release or base model do not exist.
        RecordInvalidError: When this clone lacks the history that names the manifest.
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    facts = card_facts(workspace, loaded, require_release(loaded.record, release))
    if not output:
        text = card_text(facts, CardForm(sheet=_sheet(workspace, loaded, facts, workspace.root)))
        return Result(
            data={"loraId": lora, "releaseId": release, "card": text},
            reasoning=f"The card of {release} of {lora}",
            dry_run=workspace.dry_run,
        )
    path, _ = require_output(workspace, output, (CARD,))
    text = card_text(facts, CardForm(sheet=_sheet(workspace, loaded, facts, path.parent)))
    same = path.is_file() and path.read_bytes() == text.encode()
    if not workspace.dry_run and not same:
        with disk_refusals():
            write_atomic(path, text.encode())
    shown = workspace.relative(path)
    return Result(
        data={"loraId": lora, "releaseId": release, "card": text, "output": shown},
        reasoning=f"{shown} is the card of {release} of {lora} already"
        if same
        else f"Wrote the card of {release} of {lora}",
        suggestions=("lora release card --check",),
        written=() if same else (shown,),
        dry_run=workspace.dry_run,
    )


def check_cards(
    workspace: Workspace,
    lora: str = "",
    release: str = "",
    *,
    output: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Check that cards say what the records say; one that does not is a refusal.

    Without a file every card is checked that Git keeps or would keep; a card names its release.

    Args:
        workspace: Where the cards are.
        lora: Id of the LoRA that ``output`` must be a card of.
        release: Id of the release.
        output: The card; else all of them.
        project: Project of the LoRAs; else the one in use, or whichever has the release.
        scope: ``baseline`` to take shared LoRAs.

    Raises:
        RecordNotFoundError: When the release of a named card does not exist.
        RecordInvalidError: When this clone lacks the history that names a manifest.
        RepositoryError: When all are asked for, outside of a repository.
    """
    if bool(lora) != bool(output):
        raise ArgumentInvalidError(
            "a card is checked as LORA RELEASE --output FILE, and all of them without any",
            hint="lora release card --check",
        )
    if output:
        path, _ = require_output(workspace, output, (CARD,))
        loaded = find_lora(workspace, lora, project=project, scope=scope)
        require_release(loaded.record, release)
        wrong = _difference(workspace, loaded, release, path)
        checked = [path]
    else:
        checked = _all_cards(workspace)
        wrong = [line for path in checked for line in _judged(workspace, path, project)]
    return _answer(workspace, checked, wrong)


def _answer(workspace: Workspace, checked: list[Path], wrong: list[str]) -> Result:
    names = [workspace.relative(path) for path in checked]
    data = {"cards": names, "differences": wrong}
    if not wrong:
        words = (
            f"{len(names)} {'card says' if len(names) == 1 else 'cards say'} what the records say"
        )
        return Result(data=data, reasoning=words if names else "There is no card")
    return Result(
        data=data,
        reasoning="A card does not say what the records say",
        refusal=Refusal(
            "card_differs", wrong[0], "lora release card LORA RELEASE --output FILE writes it anew"
        ),
    )


def _all_cards(workspace: Workspace) -> list[Path]:
    root = require_repository(workspace.root)
    listed = [
        name
        for tracked in (True, False)
        for name in git.listed(workspace.root, ["*.md"], tracked=tracked)
    ]
    paths = [root / name for name in sorted(listed)]
    return [path for path in paths if path.is_file() and _NAMED.match(_head(path))]


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(1024)


def _judged(workspace: Workspace, path: Path, project: str | None) -> list[str]:
    named = _NAMED.match(_head(path))
    assert named is not None  # noqa: S101 - only such are listed
    lora_id, release_id = (word.decode("utf-8", "replace") for word in named.groups())
    owners = [
        loaded
        for place in workspace.records.scopes()
        if project is None or place.project_id in (project, None)
        if workspace.records.exists(Lora, place, lora_id)
        for loaded in [workspace.records.read(Lora, place, lora_id)]
        if loaded.record.release(release_id)
    ]
    shown = workspace.relative(path)
    if not owners:
        return [f"{shown} is the card of {lora_id} {release_id}, which is not there"]
    found = [_difference(workspace, owner, release_id, path) for owner in owners]
    return [] if [] in found else found[0]


def _difference(workspace: Workspace, loaded: Loaded[Lora], release: str, path: Path) -> list[str]:
    """Return what is not as the records say: the file first, then lines of both."""
    shown = workspace.relative(path)
    if not path.is_file():
        return [f"{shown} is not there"]
    facts = card_facts(workspace, loaded, require_release(loaded.record, release))
    wanted = card_text(facts, CardForm(sheet=_sheet(workspace, loaded, facts, path.parent)))
    # A checkout may have turned its line ends; nobody wrote anything else for that.
    present = path.read_bytes().replace(b"\r\n", b"\n").decode("utf-8", "backslashreplace")
    if present == wanted:
        return []
    lines = difflib.unified_diff(present.splitlines(), wanted.splitlines(), n=0, lineterm="")
    changed = [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    head = f"{shown} is not what the records of {loaded.record_id} {release} say"
    return [head, *changed[:_MOST_DIFFERENCES]]


def _sheet(workspace: Workspace, loaded: Loaded[Lora], facts: CardFacts, folder: Path) -> str:
    """Return the way from a folder to the contact sheet in Git, or empty without one."""
    if facts.evaluation is None or not facts.evaluation.sheet_sha256:
        return ""
    record = workspace.records.path("evaluation", loaded.scope, facts.evaluation.id)
    return Path(os.path.relpath(record.with_suffix(".webp"), folder)).as_posix()
