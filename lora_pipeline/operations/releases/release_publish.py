"""Publish a release: weights with passport, card and pictures, into a repository of a hub.

Nothing leaves before the gate has passed, or the repository is private, and somebody said yes to
the list.
"""

from __future__ import annotations

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.evaluation.records import Cell
from lora_pipeline.foundation import files
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import ArgumentInvalidError, PipelineError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.promote import refused
from lora_pipeline.operations.releases.release_export import export_release
from lora_pipeline.releases.card import CardForm, card_text, example_cells
from lora_pipeline.releases.card_facts import CardFacts, card_facts
from lora_pipeline.releases.evidence.facts import Unproven
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.evidence.rights import rights_facts
from lora_pipeline.releases.history import evidence_of
from lora_pipeline.releases.hub import Sent, hub_address, publish_files, require_repository_name
from lora_pipeline.releases.judging import judge
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

_SHEET, _IMAGES = "contact-sheet.webp", "images"


class _Parcel(msgspec.Struct, frozen=True):
    """What would leave, before a byte of it is written.

    ``made`` are files of which the bytes are known, by name; weights and passport are exported.
    """

    weights: str
    weights_bytes: int
    made: dict[str, bytes]
    warnings: tuple[str, ...]

    @property
    def passport(self) -> str:
        return self.weights.removesuffix(".safetensors") + ".passport.json"

    def told(self) -> list[dict[str, Any]]:
        """Return every file with its length, as faces tell them."""
        listed: list[dict[str, Any]] = [{"name": self.weights, "bytes": self.weights_bytes}]
        listed.append({"name": self.passport, "bytes": None})
        return listed + [{"name": name, "bytes": len(data)} for name, data in self.made.items()]


def publish_release(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    repo: str,
    candidate: bool = False,
    public: bool = False,
    yes_upload: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Send a release to a repository of Hugging Face, in one commit, and compare what is there.

    Exported weights with their passport, the model card (without people, datasets and notes),
    the contact sheet and a few pictures leave the machine; the answer without ``yes_upload``
    lists them. Again it sends what is not there yet.

    Args:
        workspace: Where the release is.
        lora: Id of its LoRA.
        release: Its id; it was promoted, and the gate passes it today.
        repo: ``ORG/NAME``; made when it is not there.
        candidate: Whether to send a release that the gate has not passed; the repository must be
            private.
        public: Whether others may read it: without it nothing is sent to a repository that is
            not private.
        yes_upload: Whether somebody agreed to what leaves the machine.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
        ArgumentInvalidError: When the repository is none, or a candidate shall be public.
        ExtraMissingError, SettingsError: When the client or a token is missing.
        ServiceError: When the hub does not do it.
        StateError: When the repository is public, or was changed meanwhile.
        IntegrityError: When other bytes are there than were sent.
    """
    require_repository_name(repo)
    if candidate and public:
        raise ArgumentInvalidError(
            "a candidate is never made public", hint=f"lora promote {lora} {release}"
        )
    service = hub_address(workspace.settings)
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    no = _refusal(workspace, loaded, chosen, candidate=candidate)
    if no is not None:
        return no
    planned = _planned(workspace, loaded, chosen, repo)
    if isinstance(planned, Result):
        return planned
    facts = {
        "loraId": lora, "releaseId": release, "repo": repo, "service": service,
        "uploads": planned.told(),
    }  # fmt: skip
    if workspace.dry_run or not yes_upload:
        return _asked(workspace, facts, planned)
    folder = workspace.runtime / "publish" / f"{lora}-{release}"
    sent = _written(workspace, loaded, chosen, planned, folder)
    done = publish_files(
        workspace.settings,
        repo,
        sent,
        message=f"{loaded.record.name} {release}",
        folder=folder,
        public=public,
    )
    shutil.rmtree(folder, ignore_errors=True)
    return Result(
        data=facts | {
            "commit": done.commit, "private": done.private, "created": done.created,
            "unchanged": done.unchanged, "url": f"{service}/{repo}/commit/{done.commit}",
            "files": [{"name": one.name, "sha256": one.sha256} for one in sent],
        },
        reasoning=f"{repo} holds {release} of {lora} already"
        if done.unchanged
        else f"Published {release} of {lora} to {repo}",
        warnings=planned.warnings,
    )  # fmt: skip


def _refusal(
    workspace: Workspace, loaded: Loaded[Lora], release: Release, *, candidate: bool
) -> Result | None:
    lora, reader = loaded.record, EvidenceReader(workspace, workspace.records)
    if candidate:
        trained = reader.manifests.trained(loaded.scope, release)
        rights = rights_facts(workspace.records, trained, workspace.now())
        if isinstance(rights, Unproven) or not rights.barred:
            return None
        words = f"an image of {release.id} may not be used: {rights.barred[0]}"
        return _no(workspace, loaded, release, "rights_refused", words, "lora dataset impact")
    if release.status != "approved":
        words = f"{release.id} of {lora.id} is a {release.status}: nobody promoted it"
        step = f"lora promote {lora.id} {release.id}"
        return _no(workspace, loaded, release, "release_not_approved", words, step)
    judged = judge(reader, loaded, release, entry=evidence_of(lora.history, release.id))
    if judged.decision.passed:
        return None
    return refused(workspace, loaded, release, judged.evidence, judged.decision)


def _no(
    workspace: Workspace, loaded: Loaded[Lora], release: Release, code: str, words: str, step: str
) -> Result:
    return Result(
        data={"loraId": loaded.record_id, "releaseId": release.id},
        reasoning=words,
        suggestions=(step,),
        dry_run=workspace.dry_run,
        refusal=Refusal(code, words, step),
    )


def _asked(workspace: Workspace, facts: dict[str, Any], planned: _Parcel) -> Result:
    words = f"{len(facts['uploads'])} files would be sent to {facts['repo']} at {facts['service']}"
    return Result(
        data=facts,
        reasoning=words,
        warnings=planned.warnings,
        dry_run=workspace.dry_run,
        refusal=None
        if workspace.dry_run
        else Refusal("upload_not_agreed", words, "the same command with --yes-upload sends them"),
    )


def _planned(
    workspace: Workspace, loaded: Loaded[Lora], release: Release, repo: str
) -> _Parcel | Result:
    exported = _exported(msgspec.structs.replace(workspace, dry_run=True), loaded, release, Path())
    if exported.refusal is not None:
        return exported
    facts = card_facts(workspace, loaded, release)
    pictures, told = _pictures(workspace, facts)
    sheet = _sheet(workspace, loaded, facts)
    name = Path(exported.data["output"]).name
    form = CardForm(
        sheet=_SHEET if sheet else "",
        images=_IMAGES if pictures else "",
        weights=name,
        weights_sha256=exported.data["sha256"],
        repository=repo,
        people=False,
    )
    made = {"README.md": card_text(facts, form).encode()}
    made |= {_SHEET: sheet} if sheet else {}
    warnings = (*exported.warnings, *told)
    return _Parcel(name, exported.data["bytes"], made | pictures, warnings)


def _exported(workspace: Workspace, loaded: Loaded[Lora], release: Release, folder: Path) -> Result:
    lora = loaded.record
    return export_release(
        workspace,
        lora.id,
        release.id,
        output=str(folder / f"{lora.id}-{release.id}.safetensors"),
        project=loaded.scope.project_id,
        scope=loaded.scope.name,  # type: ignore[arg-type]
    )


def _pictures(workspace: Workspace, facts: CardFacts) -> tuple[dict[str, bytes], list[str]]:
    cells, store = example_cells(facts), open_store(workspace)
    found: dict[str, bytes] = {}
    for number, cell in enumerate(cells, start=1):
        picture = _stripped(store.path(cell.image_sha256), cell)
        if picture is None:  # some of them would be another gallery than the card names
            return {}, ["the pictures of the grid are not on this machine: lora store pull"]
        found[f"{_IMAGES}/example-{number}.png"] = picture
    return found, []


def _stripped(path: Path, cell: Cell) -> bytes | None:
    """Return a picture as its pixels alone: what a renderer writes beside them stays here."""
    from lora_pipeline.evaluation.pixels import read_pixels

    if not path.is_file():
        return None
    from PIL import Image

    target = io.BytesIO()
    pixels = read_pixels(path, width=cell.width, height=cell.height)
    Image.fromarray(pixels).save(target, format="PNG")
    return target.getvalue()


def _sheet(workspace: Workspace, loaded: Loaded[Lora], facts: CardFacts) -> bytes | None:
    grid = facts.evaluation
    if grid is None:
        return None
    path = workspace.records.path("evaluation", loaded.scope, grid.id).with_suffix(".webp")
    try:
        data = path.read_bytes()
    except OSError:
        return None
    # The sheet is derived; one that was swapped is nobody's evidence and does not leave.
    return data if hashlib.sha256(data).hexdigest() == grid.sheet_sha256 else None


def _written(
    workspace: Workspace, loaded: Loaded[Lora], release: Release, planned: _Parcel, folder: Path
) -> list[Sent]:
    # What an earlier try left may be of another day's records.
    shutil.rmtree(folder, ignore_errors=True)
    with files.disk_refusals():
        folder.mkdir(parents=True)
        exported = _exported(workspace, loaded, release, folder)
        if exported.refusal is not None:
            raise PipelineError(exported.refusal.message)
        for name, data in planned.made.items():
            files.write_atomic(files.safe_join(folder, name), data)
    names = [planned.weights, planned.passport, *planned.made]
    return [Sent(name, folder / name, sha256_of_file(folder / name)) for name in names]
