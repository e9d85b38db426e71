"""Which gate policy applies to a LoRA; it comes from files that Git keeps, and nowhere else.

``policy_for`` reads the files as they stand, ``policy_before`` as they stood before a promotion
came to the main line, and the suites beside them: what relaxes either does not bring what needs
it in the same change.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import AssetTypes, Project
from lora_pipeline.evaluation.records import Suite
from lora_pipeline.evaluation.suites import FAMILY as SUITES
from lora_pipeline.foundation import strict_yaml
from lora_pipeline.foundation.errors import RecordNotFoundError, RepositoryError
from lora_pipeline.foundation.resources import resource
from lora_pipeline.releases.evidence.facts import PolicyBefore
from lora_pipeline.releases.gate.policy_strength import strictest, weaker_in
from lora_pipeline.releases.records import GatePolicy, HistoryEntry, Lora
from lora_pipeline.workspace.definitions import (
    Definition,
    definition_ids,
    parse_definition,
    read_definition,
)
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git import witness as git_witness
from lora_pipeline.workspace.git.history import file_in, merge_base, name_in, require_commit
from lora_pipeline.workspace.layout import Scope, relative_path
from lora_pipeline.workspace.record_bytes import parse_record
from lora_pipeline.workspace.records import Loaded, RecordStore
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.setting_table import SETTINGS

FAMILY = "gates"
_BUILT_IN = next(str(one.default) for one in SETTINGS if one.key == "gate.policy")


class PolicyInForce(msgspec.Struct, frozen=True):
    """A policy with the way that led to it.

    Attributes:
        policy: What is asked for.
        source: Where that is written, as people read it.
    """

    policy: GatePolicy
    source: str


def policy_for(
    workspace: Workspace, records: RecordStore, scope: Scope, lora: Lora
) -> PolicyInForce:
    """Return the policy for a LoRA: the strictest of those of its asset types.

    The project names one for each asset type (``gate`` in ``project.json``); for what it does
    not name, the setting ``gate.policy`` holds.

    Raises:
        RecordNotFoundError: When a policy does not exist.
        RecordInvalidError: When a policy or the project's record is not valid.
    """
    named: dict[str, str] = {}
    if scope.project_id and records.exists(Project, scope, "project"):
        named = records.read(Project, scope, "project").record.gate
    default = workspace.settings.require_text("gate.policy")
    ids = sorted({named.get(asset_type, default) for asset_type in lora.asset_types})
    definitions = [read_definition(workspace, FAMILY, policy_id) for policy_id in ids]
    return PolicyInForce(
        strictest([GatePolicy.from_dict(one.document) for one in definitions]),
        " and ".join(one.source for one in definitions),
    )


def policy_before(
    workspace: Workspace, loaded: Loaded[Lora], entry: HistoryEntry | None, *, base: str = ""
) -> PolicyBefore | None:
    """Return what was asked for before the change that a promotion came with.

    For a promotion on the main line that is the commit before the one that brought it there (a
    merge brings a whole branch at once); for one that is not committed yet it is HEAD.

    Args:
        workspace: The workspace.
        loaded: The LoRA.
        entry: The promotion; None for one that is about to be written.
        base: The commit that a branch is to be merged into, when somebody names it: what the
            branch promotes is judged by the policy of that commit.

    Returns:
        None where Git cannot say: no repository, or the first commit brought all of it.

    Raises:
        RecordInvalidError: When a policy of that commit cannot be read.
    """
    root = git.repository_root(workspace.root)
    head = git.head(root) if root else None
    if root is None or head is None:
        return None
    commit, words = head, "HEAD"
    if entry is not None:
        found = _brought_by(loaded, entry)
        if found is not None:
            commit, words = found.before, f"{found.before[:10]}"
        if base and not _holds(root, base, loaded, entry):
            commit, words = base, f"{base[:10]}"
    if not commit:
        return None
    return _asked_at(workspace, root, commit, words, loaded)


def _brought_by(loaded: Loaded[Lora], entry: HistoryEntry) -> git_witness.Version | None:
    """Return the oldest version on the main line that holds an entry, or None."""
    found: git_witness.Version | None = None
    for version in git_witness.versions_on_mainline(loaded.path):
        if set(version.blob) == {"0"}:
            continue
        if entry.digest.encode() not in git.blob_bytes(loaded.path.parent, version.blob):
            break
        found = version
    return found


def _holds(root: Path, commit: str, loaded: Loaded[Lora], entry: HistoryEntry) -> bool:
    data = file_in(root, commit, name_in(root, loaded.path))
    return data is not None and entry.digest.encode() in data


def _asked_at(
    workspace: Workspace, root: Path, commit: str, words: str, loaded: Loaded[Lora]
) -> PolicyBefore | None:
    """Return what was asked for at a commit, for the asset types that the LoRA had there."""

    def read(relative: str) -> bytes | None:
        return file_in(root, commit, name_in(root, workspace.root / relative))

    lora, scope = loaded.record, loaded.scope
    there = file_in(root, commit, name_in(root, loaded.path))
    if there is not None:
        lora = Lora.from_dict(parse_record(Lora, there, loaded.path.name))
    elif read("config/pipeline.yaml") is None:
        return None  # the workspace began later: nothing was asked for yet
    folder = workspace.relative(workspace.data_root)
    named: dict[str, str] = {}
    if scope.project_id:
        project = f"{folder}/{relative_path('project', scope, 'project')}"
        data = read(project)
        if data is not None:
            named = Project.from_dict(parse_record(Project, data, project)).gate
    default = _default_at(read)
    ids = sorted({named.get(asset_type, default) for asset_type in lora.asset_types})
    policy = strictest([_definition_at(policy_id, read) for policy_id in ids])
    by_catalog: dict[str, str] = {}
    for place in reversed(workspace.visible(scope)):
        name = f"{folder}/{relative_path(AssetTypes.KIND, place, AssetTypes.KIND)}"
        data = read(name)
        if data is not None:
            types = AssetTypes.from_dict(parse_record(AssetTypes, data, name)).asset_types
            by_catalog |= {one.id: one.suite_id for one in types if one.suite_id}
    suites = (_suite_at(by_catalog.get(one, one), read) for one in lora.asset_types)
    judged_by = next((one for one in suites if one is not None), None)
    return PolicyBefore(policy, words, judged_by)


def _suite_at(suite_id: str, read: Callable[[str], bytes | None]) -> Suite | None:
    """Return a suite as it stood, or as it ships; None where there was none of that id."""
    name = f"config/{SUITES}/{suite_id}.yaml"
    data, shipped = read(name), resource("config", SUITES, f"{suite_id}.yaml")
    if data is None and shipped.is_file():
        data = shipped.read_bytes()
    if data is None:
        return None
    return Suite.from_dict(parse_definition(SUITES, suite_id, data, name).document)


def _default_at(read: Callable[[str], bytes | None]) -> str:
    data = read("config/pipeline.yaml")
    document = strict_yaml.loads(data, "config/pipeline.yaml") if data else None
    gate = document.get("gate") if isinstance(document, dict) else None
    named = gate.get("policy") if isinstance(gate, dict) else None
    return str(named or _BUILT_IN)


def _definition_at(policy_id: str, read: Callable[[str], bytes | None]) -> GatePolicy:
    name = f"config/{FAMILY}/{policy_id}.yaml"
    data = read(name)
    if data is None:
        path = resource("config", FAMILY, f"{policy_id}.yaml")
        if not path.is_file():
            raise RecordNotFoundError(f"no gate policy {policy_id!r} before this change")
        data = path.read_bytes()
    return _policy(parse_definition(FAMILY, policy_id, data, name))


def require_base(workspace: Workspace, base: str) -> str:
    """Return the commit that a branch is to be merged into, when the branch holds all of it.

    Raises:
        RepositoryError: When there is no such commit, or HEAD lacks a part of its history: then
            something was rewritten, or the branch is behind.
    """
    root = git.repository_root(workspace.root)
    if root is None:
        raise RepositoryError(f"{workspace.root} is not in a Git repository", hint="git init")
    commit = require_commit(root, base)
    if not git_witness.contains(root, commit):
        parted = merge_base(root, commit, "HEAD")
        raise RepositoryError(
            f"HEAD does not hold the history of {base}: they parted at {parted[:10]}",
            hint=f"git merge {base}; what {base} holds is never rewritten",
        )
    return commit


def weakened_policies(workspace: Workspace) -> dict[str, list[str]]:
    """Return what the workspace's own policies ask less for than those of the same name that ship.

    Raises:
        RecordInvalidError: When a policy is not valid.
    """
    found: dict[str, list[str]] = {}
    for policy_id in definition_ids(workspace, FAMILY):
        path = resource("config", FAMILY, f"{policy_id}.yaml")
        if not path.is_file():
            continue
        shipped = parse_definition(FAMILY, policy_id, path.read_bytes(), str(path))
        mine = read_definition(workspace, FAMILY, policy_id)
        weaker = weaker_in(_policy(mine), _policy(shipped))
        if weaker:
            found[mine.source] = weaker
    return found


def _policy(definition: Definition) -> GatePolicy:
    return GatePolicy.from_dict(definition.document)
