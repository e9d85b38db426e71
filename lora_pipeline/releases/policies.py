"""Which gate policy applies to a LoRA; it comes from files that Git keeps, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

from lora_pipeline.catalog.records import Project
from lora_pipeline.foundation.resources import resource
from lora_pipeline.releases.gate import strictest, weaker_in
from lora_pipeline.releases.records import GatePolicy, Lora
from lora_pipeline.workspace.definitions import (
    Definition,
    definition_ids,
    parse_definition,
    read_definition,
)
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import RecordStore
from lora_pipeline.workspace.root import Workspace

FAMILY = "gates"


@dataclass(frozen=True)
class PolicyInForce:
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
