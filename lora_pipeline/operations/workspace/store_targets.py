"""Which objects a person means: by digest, by record, by release, or all that are in use."""

from __future__ import annotations

import re

from lora_pipeline.catalog.records import Weights
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.releases.lookup import find_lora, require_release
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from lora_pipeline.workspace.store_references import expected_by, expected_here

_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{8,64})")


def named_objects(
    workspace: Workspace, words: tuple[str, ...], *, active: bool = False, project: str | None
) -> dict[str, str]:
    """Return the objects that words mean, each with what names it.

    Args:
        workspace: Where it is.
        words: Digests, or eight of their digits and more; ids of records; ``LORA/RELEASE``.
            None means all that records need.
        active: Also the weights of every active release.
        project: Its project, for releases; else the one in use.

    Raises:
        ArgumentInvalidError: When a word means nothing, or several objects.
        RecordNotFoundError: When a LoRA or release does not exist.
    """
    found = _active(workspace, project) if active else {}
    if not words and not active:
        return expected_here(workspace)
    for word in words:
        found |= _meant(workspace, word, project)
    return found


def steps_to_fetch(workspace: Workspace, lora: Lora, release_id: str) -> tuple[str, ...]:
    """Return the command that fetches the weights of a release, when they are not here."""
    release = lora.release(release_id)
    digest = _digest_of(release.weights) if release else ""
    if not digest or open_store(workspace).has(digest):
        return ()
    if not workspace.settings.text("store.remote"):
        return ()
    return (f"lora store pull {lora.id}/{release_id}",)


def _active(workspace: Workspace, project: str | None) -> dict[str, str]:
    places = [SHARED]
    if project or workspace.records.project_ids():
        places = workspace.visible(workspace.scope(project))
    found: dict[str, str] = {}
    for place in places:
        for loaded in workspace.records.all(Lora, place):
            lora = loaded.record
            release = lora.release(lora.active_release_id or "")
            digest = _digest_of(release.weights) if release else ""
            if release and digest:
                found[digest] = f"{lora.id}/{release.id}"
    return found


def _meant(workspace: Workspace, word: str, project: str | None) -> dict[str, str]:
    lora_id, stroke, release_id = word.partition("/")
    if stroke:
        release = require_release(find_lora(workspace, lora_id, project=project).record, release_id)
        digest = _digest_of(release.weights)
        if not digest:
            raise ArgumentInvalidError(
                f"the weights of {word} are not kept in the store",
                hint=f"lora release show {lora_id} {release_id}",
            )
        return {digest: word}
    of_record = expected_by(workspace, word)
    if of_record:
        return of_record
    digits = _DIGEST.fullmatch(word)
    if not digits:
        raise RecordNotFoundError(
            f"{word!r} is no record that names objects, and no digest",
            hint="name a LoRA, LORA/RELEASE, a checkpoint, an evaluation or a SHA-256",
        )
    return _of_digits(workspace, digits[1])


def _of_digits(workspace: Workspace, digits: str) -> dict[str, str]:
    expected = expected_here(workspace)
    if len(digits) == 64:
        return {digits: expected.get(digits, "")}
    known = {*expected, *open_store(workspace).all()}
    matching = sorted(sha256 for sha256 in known if sha256.startswith(digits))
    if len(matching) != 1:
        what = "several objects" if matching else "no object that is known here"
        raise ArgumentInvalidError(
            f"{digits!r} begins {what}", hint="give all 64 digits of its SHA-256"
        )
    return {matching[0]: expected.get(matching[0], "")}


def _digest_of(weights: Weights | None) -> str:
    return weights.sha256 if weights and weights.kind == "store" else ""
