"""What assets are part of, through the present, the Git history and what is gone."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset
from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.datasets.staging.folder import staging_folder
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset_impact import show_impact
from lora_pipeline.operations.releases.release_answer import answer_withdrawal
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.changes import Changes
from tests.support.release_builders import (
    DATASET,
    LORA,
    PROJECT,
    SCOPE,
    Studio,
    active_studio,
    copy_of,
)
from tests.support.rights_builders import allow, asset_ids, state, withdraw
from tests.support.workspace_builders import commit_all, git


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def rebuild_without(studio: Studio, asset_id: str) -> None:
    """Write the manifest as a build writes it that leaves an asset out, and commit it."""
    loaded = studio.workspace.records.read(Manifest, SCOPE, DATASET)
    items = tuple(item for item in loaded.record.items if item.asset_id != asset_id)
    manifest = replace(loaded.record, items=items)
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(manifest, content_hash=hash_of_manifest(manifest)))
    changes.apply()
    commit_all(studio.root, "Built again")


def released(result: Result) -> list[tuple[str, bool, str]]:
    return [(one["releaseId"], one["active"], one["foundIn"]) for one in result.data["releases"]]


def impact(studio: Studio, *assets: str, **options: Any) -> Result:
    return show_impact(studio.workspace, assets, **options)


def test_manifest_releases_and_the_active_one_are_named(studio: Studio) -> None:
    first = asset_ids(studio)[0]

    result = impact(studio, first)

    [manifest] = result.data["manifests"]
    assert (manifest["datasetId"], manifest["projectId"]) == (DATASET, PROJECT)
    assert (manifest["images"], manifest["of"]) == (1, 3)
    assert released(result) == [("r1", True, ""), ("r2", False, "")]
    assert result.data["releases"][0]["answered"] is False
    assert result.suggestions == [f"lora asset withdraw {first} --reason …"]
    assert result.reasoning == "1 asset in 1 manifest and 2 releases, 1 of them active"


def test_the_end_of_an_id_is_enough(studio: Studio) -> None:
    first = asset_ids(studio)[0]

    assert impact(studio, first[-8:].lower()).data["assets"] == [first]


def test_a_release_is_judged_by_the_manifest_it_was_trained_on(studio: Studio) -> None:
    gone = withdraw(studio)
    rebuild_without(studio, gone)

    result = impact(studio, gone)

    assert result.data["manifests"] == []
    assert released(result) == [("r1", True, "the Git history"), ("r2", False, "the Git history")]


def test_a_manifest_that_was_removed_or_renamed_is_found_in_the_history(studio: Studio) -> None:
    first = asset_ids(studio)[0]
    path = studio.path("dataset", DATASET)
    text = path.read_text().replace(f'"id": "{DATASET}"', '"id": "icons_flat"')
    path.unlink()
    studio.path("dataset", "icons_flat").write_text(text)

    result = impact(studio, first)

    assert [one["datasetId"] for one in result.data["manifests"]] == ["icons_flat"]
    assert released(result)[0] == ("r1", True, "the Git history")

    shutil.rmtree(studio.root / ".git")  # nothing remembers, but the content is there
    assert released(impact(studio, first))[0] == (
        "r1", True, "icons_flat, which has the same content",
    )  # fmt: skip


def test_what_cannot_be_found_is_said(studio: Studio) -> None:
    first = asset_ids(studio)[0]
    rebuild_without(studio, asset_ids(studio)[1])
    shutil.rmtree(studio.root / ".git")

    result = impact(studio, first)

    assert result.data["releases"] == []
    assert [(one["releaseId"], one["active"]) for one in result.data["notFound"]] == [
        ("r1", True), ("r2", False),
    ]  # fmt: skip
    assert "r1 was trained on sha256:" in result.data["notFound"][0]["reason"]
    assert "may be touched as well" in result.warnings[0]


def test_a_shallow_clone_says_that_it_lacks_the_history(studio: Studio, tmp_path: Path) -> None:
    first = asset_ids(studio)[0]
    rebuild_without(studio, asset_ids(studio)[1])
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{studio.root}", str(clone))

    result = impact(replace_root(studio, clone), first)

    assert "this clone lacks the older history" in result.data["notFound"][0]["reason"]


def replace_root(studio: Studio, root: Path) -> Studio:
    from tests.support.workspace_builders import reopen

    return Studio(root, reopen(root))


def test_all_that_were_withdrawn_or_ended_are_asked_for_at_once(studio: Studio) -> None:
    assert impact(studio, withdrawn=True).data["assets"] == []
    first = withdraw(studio)
    second = asset_ids(studio)[1]
    state(studio, second, expires_on="2026-02-01")
    state(studio, asset_ids(studio)[2], expires_on="2027-02-01")

    result = impact(studio, withdrawn=True)

    assert result.data["assets"] == [first, second]
    assert result.data["notWithdrawn"] == []
    assert result.suggestions == [
        f"lora release answer {LORA} r1 stop --reason …",
        f"lora dataset build {DATASET}",
        "lora validate",
    ]


def test_an_answered_release_is_told_as_such(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)
    answer_withdrawal(studio.workspace, LORA, "r1", "keep", reason="contract 17")

    result = impact(studio, withdrawn=True)

    assert result.data["releases"][0]["answered"] is True
    assert not any("release answer" in step for step in result.suggestions)


def test_the_same_image_under_another_id_is_found(studio: Studio) -> None:
    first = withdraw(studio)
    loaded = studio.workspace.records.read(Asset, SCOPE, first)
    twin = replace(
        loaded.record,
        id="01ARZ3NDEKTSV4RRFFQ69G5FAV",
        rights=replace(loaded.record.rights, withdrawn_at="", reason=""),
    )
    changes = Changes(studio.workspace)
    changes.create(twin, SCOPE, twin.id)
    changes.apply()

    result = impact(studio, first)

    assert result.data["sameImage"] == [
        {"assetId": twin.id, "projectId": PROJECT, "sameAs": first, "withdrawn": False}
    ]
    assert "the next build would take it" in result.warnings[0]
    # Asked for the other way round, its manifests are found through the bytes.
    assert released(impact(studio, twin.id))[0] == ("r1", True, "")


def test_runs_under_way_and_copies_on_disk_are_named(studio: Studio) -> None:
    first = withdraw(studio)
    [loaded, *_] = studio.workspace.records.all(Run, SCOPE)
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, state="training"))
    changes.apply()
    manifest = studio.workspace.records.read(Manifest, SCOPE, DATASET).record
    folder = staging_folder(studio.workspace, manifest)
    folder.mkdir(parents=True)

    result = impact(studio, first)

    assert [one["runId"] for one in result.data["runs"]] == [loaded.record_id]
    assert result.data["copies"] == [studio.workspace.relative(folder)]
    assert result.suggestions[0] == f"lora run cancel {loaded.record_id}"


def test_an_asset_whose_record_is_gone_is_still_found_in_what_was_trained(studio: Studio) -> None:
    first = asset_ids(studio)[0]
    studio.path("asset", first).unlink()

    assert released(impact(studio, first))[0] == ("r1", True, "")


def test_an_asset_that_is_nowhere_is_told_with_a_near_one(studio: Studio) -> None:
    first = asset_ids(studio)[0]

    with pytest.raises(RecordNotFoundError, match="neither in a catalog nor") as raised:
        impact(studio, first[:-1] + ("0" if first[-1] != "0" else "1"))
    assert str(raised.value.hint).startswith("did you mean")


@pytest.mark.parametrize(("assets", "withdrawn"), [((), False), (("01X",), True)])
def test_it_must_be_said_what_is_asked_about(
    studio: Studio, assets: tuple[str, ...], withdrawn: bool
) -> None:
    with pytest.raises(ArgumentInvalidError, match="name assets, or ask for all"):
        impact(studio, *assets, withdrawn=withdrawn)
