"""Evidence as it is gathered from records, disk and Git."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.releases.evidence.facts import (
    ImageFacts,
    ManifestLost,
    ReleaseEvidence,
    RightsFacts,
    TrainedManifest,
    Unproven,
)
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.judge import decide
from lora_pipeline.releases.gate.policies import policy_for, weakened_policies
from tests.support import attacks
from tests.support.release_builders import (
    KIM,
    SCOPE,
    TRAINER,
    Studio,
    add_grid,
    add_review,
    copy_of,
    edit,
    make_studio,
)
from tests.support.workspace_builders import commit_all, git, reopen


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = make_studio(tmp_path_factory.mktemp("template") / "studio")
    add_review(studio, add_grid(studio))
    commit_all(studio.root, "Looked at")
    return studio


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def gather(studio: Studio, **options: str) -> ReleaseEvidence:
    workspace = reopen(studio.root)
    reader = EvidenceReader(workspace, workspace.records, measure_images=True)
    loaded = studio.lora()
    return reader.gather(loaded, loaded.record.releases[0], **options)


def test_everything_is_found_where_nothing_was_touched(studio: Studio) -> None:
    found = gather(studio)

    assert found.release.weights is not None
    assert found.weights_sha256 == found.release.weights.sha256
    assert isinstance(found.manifest, TrainedManifest)
    assert found.manifest.where == ""
    assert found.images == ImageFacts()
    assert found.rights == RightsFacts()
    assert found.trainers == {TRAINER: "trained"}
    assert [given.committed_by for given in found.reviews] == ["ana@studio.example"]


def test_gathering_writes_nothing(studio: Studio) -> None:
    from tests.support.workspace_builders import tree_digest

    before = tree_digest(studio.root)
    gather(studio)

    assert tree_digest(studio.root) == before


def test_the_mailmap_makes_two_addresses_one_person(studio: Studio) -> None:
    (studio.root / ".mailmap").write_text(f"Lee <{TRAINER}> <{KIM}>\n")
    found = gather(studio)

    assert found.person(KIM) == TRAINER
    assert "cannot approve it" in _approvals(studio, found)


def _approvals(studio: Studio, found: ReleaseEvidence) -> str:
    loaded = studio.lora()
    force = policy_for(studio.workspace, studio.workspace.records, SCOPE, loaded.record)
    return decide(found, force.policy).condition("approvals").reason


def test_an_earlier_manifest_is_found_in_the_history(studio: Studio) -> None:
    attacks.edited_caption(studio)
    found = gather(studio).manifest

    assert isinstance(found, TrainedManifest)
    assert found.where == "the Git history"
    assert found.manifest.items[0].caption == "stkr, flat style"


def test_a_manifest_that_nobody_remembers_is_lost(studio: Studio) -> None:
    attacks.edited_caption(studio)
    shutil.rmtree(studio.root / ".git")
    found = gather(studio).manifest

    assert isinstance(found, ManifestLost)
    assert "was edited" in found.reason


def test_a_clone_without_the_history_cannot_tell_about_an_earlier_manifest(
    studio: Studio, tmp_path: Path
) -> None:
    attacks.edited_caption(studio)
    commit_all(studio.root, "Another manifest")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", f"file://{studio.root}", str(clone))
    found = gather(Studio(clone, reopen(clone))).manifest

    assert isinstance(found, Unproven)
    assert "lacks the older history" in found.reason


def test_without_git_nobody_knows_who_brought_a_review(studio: Studio) -> None:
    shutil.rmtree(studio.root / ".git")
    [given] = gather(studio).reviews

    assert isinstance(given.committed_by, Unproven)
    assert not given.rewritten


def test_the_newest_complete_grid_is_judged_and_not_one_that_is_under_way(
    studio: Studio,
) -> None:
    later = add_grid(studio, created_at="2026-03-02T00:00:00Z", lift=61)
    path = studio.path("evaluation", later.id)
    running = replace(later, status="running", result_digest="", metrics=None)
    path.write_bytes(strict_json.dumps(running.to_dict(), one_line_each=("cells",)))
    found = gather(studio)

    assert found.evaluation is not None
    assert found.evaluation.id != later.id
    assert gather(studio, evaluation_id=later.id).evaluation == running


def test_an_invalid_review_is_no_missing_review(studio: Studio) -> None:
    edit(attacks.only(studio, "review"), '"cellsSeen": 12', '"cellsSeen": "all"')

    with pytest.raises(RecordInvalidError, match="cellsSeen"):
        gather(studio)


def test_assets_that_left_the_catalog_are_named(studio: Studio) -> None:
    gone = min(studio.path("asset", "x").parent.glob("*.json"))
    gone.unlink()
    rights = gather(studio).rights

    assert isinstance(rights, RightsFacts)
    assert rights.unknown == (gone.stem,)


def test_the_rules_of_the_project_are_those_of_today(studio: Studio) -> None:
    edit(
        studio.path("project", "project"),
        '"id": "neon_city"',
        '"rights": {"allowedLicenses": ["MIT"]}, "id": "neon_city"',
    )
    rights = gather(studio).rights

    assert isinstance(rights, RightsFacts)
    assert len(rights.refused) == 3
    assert "licence CC0-1.0 is not one that this project allows" in rights.refused[0]


def test_a_lora_for_several_asset_types_needs_the_strictest_policy(studio: Studio) -> None:
    edit(
        studio.path("project", "project"),
        '"id": "neon_city"',
        '"gate": {"logo": "brand"}, "id": "neon_city"',
    )
    lora = studio.lora().record
    workspace = reopen(studio.root)

    alone = policy_for(workspace, workspace.records, SCOPE, lora)
    both = policy_for(
        workspace, workspace.records, SCOPE, replace(lora, asset_types=("logo", "ui_icon"))
    )

    assert (alone.policy.id, alone.policy.approvals) == ("standard", 1)
    assert (both.policy.id, both.policy.approvals) == ("brand+standard", 2)


def test_the_policy_of_a_workspace_may_ask_for_more_without_a_word(studio: Studio) -> None:
    attacks.write_policy(studio, approvals=3)
    assert weakened_policies(studio.workspace) == {}

    attacks.write_policy(studio, reviewerIsNotTrainer=False)
    assert weakened_policies(studio.workspace) == {
        "config/gates/standard.yaml": ["reviewerIsNotTrainer off"]
    }
