"""Building manifests from real records and real files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

from lora_pipeline.catalog.records import (
    Asset,
    ImageIdentity,
    Project,
    ProjectRights,
    Tag,
    TagGroup,
    Tags,
)
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    CaptionInvalidError,
    RecordConflictError,
    RecordInvalidError,
    RecordNotFoundError,
    SelectionEmptyError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.record import Record
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.operations.datasets.dataset_diff import diff_datasets
from lora_pipeline.operations.datasets.dataset_stats import count_dataset
from lora_pipeline.operations.datasets.dataset_views import show_dataset
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import add_project, commit_all, make_workspace, reopen

ICONS: dict[str, Any] = {"asset_types": ("ui_icon",), "tags": ("style:flat",)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return studio(tmp_path / "studio")


def manifest(
    workspace: Workspace, dataset_id: str = "icons", scope: Scope | None = None
) -> Manifest:
    return workspace.records.read(Manifest, scope or Scope(PROJECT), dataset_id).record


def icon(workspace: Workspace, seed: int, **fields: Any) -> Asset:
    path = draw_icon(workspace.root.parent / "more" / f"{seed}.png", seed=seed)
    return add_asset(workspace, PROJECT, path, **fields)


def rewrite(workspace: Workspace, record: Record, record_id: str) -> None:
    """Put a changed record in the place of the one that is there."""
    loaded = workspace.records.read(type(record), Scope(PROJECT), record_id)
    changes = Changes(workspace)
    changes.update(loaded, record)
    changes.apply()


def why(result: Result) -> dict[str, str]:
    return {one["assetId"]: one["code"] for one in result.data["explained"]}


def test_a_manifest_holds_what_the_records_and_bytes_say(workspace: Workspace) -> None:
    result = build_dataset(workspace, "icons", **ICONS)
    record = manifest(workspace)
    assets = {one.record_id: one.record for one in workspace.records.all(Asset, Scope(PROJECT))}

    assert result.written == ("data/projects/neon_city/datasets/icons.json",)
    assert [one.asset_id for one in record.items] == sorted(assets)
    for one in record.items:
        identity = assets[one.asset_id].versions[0].variants[0].original
        assert identity is not None
        assert (one.sha256, one.xxh3, one.bytes) == (identity.sha256, identity.xxh3, identity.bytes)
        assert (one.license, one.width, one.split) == ("CC0-1.0", 64, "train")
        assert one.caption.startswith("flat, ")


def test_built_twice_not_a_byte_changes_and_nothing_is_written(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS, trigger_word="trgg", held_out=0.3)
    path = workspace.data_root / "projects/neon_city/datasets/icons.json"
    before, changed_at = path.read_bytes(), path.stat().st_mtime_ns
    later = Workspace(workspace.root, workspace.settings)  # another time of day

    for again in (
        build_dataset(later, "icons"),
        build_dataset(later, "icons", **ICONS, trigger_word="trgg", held_out=0.3),
    ):
        assert again.written == ()
        assert not again.data["changed"]
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns == changed_at


def test_a_change_moves_the_time_of_the_update_and_not_that_of_the_making(
    workspace: Workspace,
) -> None:
    build_dataset(workspace, "icons", **ICONS)
    later = Workspace(workspace.root, workspace.settings)

    build_dataset(later, "icons", trigger_word="trgg")

    assert manifest(workspace).created_at == "2026-03-01T12:00:00Z"
    assert manifest(workspace).updated_at != "2026-03-01T12:00:00Z"


def test_the_stored_rule_is_repeated_with_the_id_alone(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS, trigger_word="trgg", prefix="icon", held_out=0.2)
    fresh = icon(workspace, 40)

    result = build_dataset(workspace, "icons")

    assert fresh.id in {one.asset_id for one in manifest(workspace).items}
    assert result.data["ruleChanges"] == []
    assert manifest(workspace).caption_rule.trigger_word == "trgg"


def test_a_new_selection_replaces_the_stored_one_as_a_whole(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS, not_tags=("color:red",), trigger_word="trgg")

    result = build_dataset(workspace, "icons", asset_types=("ui_icon",))
    names = {one["name"] for one in result.data["ruleChanges"]}

    assert names == {"selection.tags", "selection.notTags"}
    assert manifest(workspace).caption_rule.trigger_word == "trgg"


def test_settings_that_choose_no_images_change_only_what_they_name(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS, trigger_word="trgg", background="#101010")

    build_dataset(workspace, "icons", suffix="white background")
    record = manifest(workspace)

    assert record.selection.tags == ("style:flat",)
    assert record.caption_rule.trigger_word == "trgg"
    assert record.caption_rule.suffix == "white background"
    assert record.normalization.background == "#101010"


def test_the_id_comes_from_asset_type_and_tags_when_none_is_given(workspace: Workspace) -> None:
    assert build_dataset(workspace, **ICONS).data["datasetId"] == "ui_icon_flat"
    assert build_dataset(workspace, status="approved").data["datasetId"] == "all"


def test_a_build_through_a_derived_id_keeps_the_captions_that_were_chosen_for_it(
    workspace: Workspace,
) -> None:
    build_dataset(workspace, **ICONS, trigger_word="trgg")

    build_dataset(workspace, **ICONS)

    assert manifest(workspace, "ui_icon_flat").caption_rule.trigger_word == "trgg"


def test_everything_that_is_left_out_is_explained(workspace: Workspace) -> None:
    denied = icon(workspace, 50, training="denied")
    withdrawn = icon(workspace, 51, withdrawn_at="2026-01-01T00:00:00Z")
    flawed = icon(workspace, 52, tags=("style:flat", "issue:watermark"))
    waiting = icon(workspace, 53, status="review")
    neon = icon(workspace, 54, tags=("style:neon",))
    copy = icon(workspace, 0, tags=("style:flat",))

    result = build_dataset(workspace, "icons", **ICONS, explain=True)

    assert why(result) == {
        denied.id: "rights_denied",
        withdrawn.id: "withdrawn",
        flawed.id: "issue_tag",
        waiting.id: "other_status",
        neon.id: "tag_missing",
        copy.id: "duplicate",
    }
    assert result.data["images"] == 6
    assert result.data["matching"] == 10
    assert result.data["considered"] == 12


def test_unknown_rights_and_licences_follow_the_projects_policy(workspace: Workspace) -> None:
    unknown = icon(workspace, 50, training="unknown")
    foreign = icon(workspace, 51, license="proprietary")
    project = workspace.records.read(Project, Scope(PROJECT), "project").record
    assert {unknown.id, foreign.id}.isdisjoint(
        why(build_dataset(workspace, "icons", **ICONS, explain=True))
    )

    policy = ProjectRights(allowed_licenses=("CC0-1.0",), unknown_training="exclude")
    rewrite(workspace, replace(project, rights=policy), "project")
    result = build_dataset(workspace, "icons", explain=True)

    assert why(result) == {unknown.id: "rights_unknown", foreign.id: "license_not_allowed"}


def test_of_exact_duplicates_the_better_described_is_kept(workspace: Workspace) -> None:
    poor = icon(workspace, 60, tags=("style:flat",))
    rich = icon(workspace, 60, tags=("style:flat", "color:red"))

    result = build_dataset(workspace, "icons", **ICONS, explain=True)
    told = next(one for one in result.data["explained"] if one["assetId"] == poor.id)

    assert told["reason"].startswith("duplicate of ")
    assert rich.id in told["reason"]


def test_a_file_that_changed_since_import_is_left_out_as_an_error(workspace: Workspace) -> None:
    asset = icon(workspace, 50)
    path = workspace.data_root / asset.versions[0].variants[0].original_path
    path.write_bytes(path.read_bytes() + b"x")

    result = build_dataset(workspace, "icons", **ICONS, explain=True)

    assert why(result) == {asset.id: "file_changed"}
    assert result.data["findings"][0]["severity"] == "error"
    assert any("changed since import" in warning for warning in result.warnings)


def test_a_missing_file_is_left_out_with_its_path(workspace: Workspace) -> None:
    asset = icon(workspace, 50)
    (workspace.data_root / asset.versions[0].variants[0].original_path).unlink()

    result = build_dataset(workspace, "icons", **ICONS, explain=True)

    assert why(result) == {asset.id: "file_missing"}
    assert asset.versions[0].variants[0].original_path in result.data["explained"][0]["reason"]


def test_when_no_file_is_left_the_build_fails_and_names_that(workspace: Workspace) -> None:
    shutil.rmtree(workspace.data_root / "projects" / PROJECT / "files")

    with pytest.raises(SelectionEmptyError) as caught:
        build_dataset(workspace, "icons", **ICONS)

    assert "files as imported kept 0 of 6" in caught.value.message
    assert not workspace.records.exists(Manifest, Scope(PROJECT), "icons")


def test_a_pointer_that_agrees_with_the_record_gives_the_same_manifest(
    workspace: Workspace,
) -> None:
    build_dataset(workspace, "icons", **ICONS)
    asset = next(workspace.records.all(Asset, Scope(PROJECT))).record
    variant = asset.versions[0].variants[0]
    assert variant.original is not None
    (workspace.data_root / variant.original_path).write_text(
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{variant.original.sha256}\nsize {variant.original.bytes}\n"
    )

    assert build_dataset(workspace, "icons").written == ()


def strip_identity(asset: Asset) -> Asset:
    version = asset.versions[0]
    variants = tuple(replace(one, original=None, alpha=None) for one in version.variants)
    return replace(asset, versions=(replace(version, variants=variants),))


def test_art_of_another_tool_without_identity_is_measured(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)
    before = manifest(workspace)
    for loaded in list(workspace.records.all(Asset, Scope(PROJECT))):
        rewrite(workspace, strip_identity(loaded.record), loaded.record_id)

    result = build_dataset(workspace, "icons")

    assert result.written == ()
    assert manifest(workspace) == before


def test_art_without_identity_that_is_no_image_is_left_out(workspace: Workspace) -> None:
    asset = icon(workspace, 50)
    path = workspace.data_root / asset.versions[0].variants[0].original_path
    path.write_text("no image")
    rewrite(workspace, strip_identity(asset), asset.id)

    result = build_dataset(workspace, "icons", **ICONS, explain=True)

    assert why(result) == {asset.id: "image_refused"}


def test_an_image_path_that_leaves_the_workspace_is_left_out_as_an_error(
    workspace: Workspace,
) -> None:
    (workspace.root / "secret.png").write_bytes(b"secret")
    asset = icon(workspace, 50)
    path = workspace.data_root / asset.versions[0].variants[0].original_path
    path.unlink()
    path.symlink_to(workspace.root / "secret.png")

    result = build_dataset(workspace, "icons", **ICONS, explain=True)

    assert why(result) == {asset.id: "path_unsafe"}


def test_tokens_of_the_checkpoint_stand_in_for_those_of_the_project(workspace: Workspace) -> None:
    record = Tags(
        id="tags",
        created_at=workspace.now(),
        updated_at=workspace.now(),
        groups=(
            TagGroup(
                id="style",
                label="Style",
                exclusive=True,
                tags=(Tag(id="style:flat", label="Flat", prompt_token="flat vector"),),
            ),
        ),
    )
    changes = Changes(workspace)
    changes.create(record, Scope(PROJECT), "sdxl/tags")
    changes.apply()
    asset = icon(workspace, 50, checkpoint_id="sdxl", tags=("style:flat", "color:red"))

    build_dataset(workspace, "icons", **ICONS, with_tokens=True)
    captions = {one.asset_id: one.caption for one in manifest(workspace).items}

    assert captions.pop(asset.id) == "flat style, flat vector, red"
    assert all(caption.startswith("flat style, flat, ") for caption in captions.values())


def test_every_caption_that_is_not_fit_is_named(workspace: Workspace) -> None:
    first, second = icon(workspace, 50, tags=()), icon(workspace, 51, tags=())

    with pytest.raises(CaptionInvalidError) as caught:
        build_dataset(workspace, "icons", asset_types=("ui_icon",))

    assert "(and 1 more)" in caught.value.message
    assert [first.id in one.where or second.id in one.where for one in caught.value.violations] == [
        True,
        True,
    ]
    assert not workspace.records.exists(Manifest, Scope(PROJECT), "icons")


def test_a_dry_run_computes_everything_and_writes_nothing(workspace: Workspace) -> None:
    dry = reopen(workspace.root, dry_run=True)

    result = build_dataset(dry, "icons", **ICONS)

    assert result.dry_run
    assert result.written == ("data/projects/neon_city/datasets/icons.json",)
    assert result.data["images"] == 6
    assert not workspace.records.exists(Manifest, Scope(PROJECT), "icons")


def test_a_dry_run_gives_the_hash_that_the_build_gives(workspace: Workspace) -> None:
    dry = build_dataset(reopen(workspace.root, dry_run=True), "icons", **ICONS)

    assert dry.data["contentHash"] == build_dataset(workspace, "icons", **ICONS).data["contentHash"]


def test_what_changed_since_the_last_commit_is_told(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)
    assert build_dataset(workspace, "icons").data["sinceHead"] is None
    commit_all(workspace.root, "Manifest")
    icon(workspace, 50)

    result = build_dataset(workspace, "icons")

    assert result.data["sinceHead"]["summary"] == "+1  −0"  # noqa: RUF001 - a minus sign


def test_a_workspace_without_git_builds_too(tmp_path: Path) -> None:
    workspace = studio(tmp_path / "plain", git=False)

    assert build_dataset(workspace, "icons", **ICONS).data["sinceHead"] is None


def test_few_images_and_an_empty_held_out_share_are_warned_about(workspace: Workspace) -> None:
    result = build_dataset(workspace, "icons", **ICONS, held_out=0.0001)

    assert "6 images are few: ui_icon asks for 10, 20 to 80 are recommended" in result.warnings
    assert "the held-out share of 0% chose none of these images" in result.warnings


def test_a_shared_manifest_takes_the_images_of_every_project(workspace: Workspace) -> None:
    add_project(workspace, "other")
    add_catalogs(workspace, "other")
    path = draw_icon(workspace.root.parent / "x.png", seed=90)
    foreign = add_asset(workspace, "other", path)

    result = build_dataset(workspace, "icons", scope="baseline", **ICONS)
    record = manifest(workspace, scope=SHARED)

    assert result.written == ("data/shared/datasets/icons.json",)
    assert len(record.items) == 7
    assert foreign.id in {one.asset_id for one in record.items}
    assert record.project_id == ""
    assert build_dataset(workspace, "icons", scope="baseline").written == ()


def test_a_shared_manifest_of_one_project_stays_with_it(workspace: Workspace) -> None:
    add_project(workspace, "other")
    build_dataset(workspace, "icons", scope="baseline", project=PROJECT, **ICONS)
    path = draw_icon(workspace.root.parent / "x.png", seed=90)
    add_asset(workspace, "other", path)

    assert manifest(workspace, scope=SHARED).selection.projects == (PROJECT,)
    assert build_dataset(workspace, "icons", scope="baseline").written == ()


def test_a_manifest_of_the_base_format_is_read_and_built_by_its_own_rule(
    workspace: Workspace,
) -> None:
    asset = next(workspace.records.all(Asset, Scope(PROJECT))).record
    version, variant = asset.versions[0], asset.versions[0].variants[0]
    old = {
        "id": "old",
        "scope": "project",
        "projectId": PROJECT,
        "createdAt": "2026-02-06T10:00:00.000Z",
        "updatedAt": "2026-02-06T10:00:00.000Z",
        "provenance": {"author": "ana"},
        "selection": {
            "source": "assets",
            "status": "approved",
            "variantPolicy": "primary|selected|first",
            "assetTypes": ["ui_icon"],
            "checkpoints": [],
            "tags": ["style:flat"],
            "tagMode": "all",
            "captionStrategy": "tags+spec+title",
            "includeSpecTags": True,
            "includePromptTokens": True,
            "note": "Dataset builder with filters.",
        },
        "items": [
            {
                "assetId": asset.id,
                "assetVersionId": version.id,
                "variantId": variant.id,
                "path": variant.original_path,
                "tags": list(variant.tags),
            }
        ],
    }
    path = workspace.data_root / "projects/neon_city/datasets/old.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(old))

    result = build_dataset(workspace, "old")
    record = manifest(workspace, "old")

    assert result.data["ruleChanges"] == []
    assert record.created_at == "2026-02-06T10:00:00.000Z"
    assert record.provenance.author == "ana"
    assert record.caption_rule.strategy == "tags+spec+title"
    assert record.caption_rule.include_prompt_tokens
    assert "Icon 0" in record.items[0].caption
    assert "captionStrategy" not in record.to_dict()["selection"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"status": "aproved"}, "status must be one of"),
        ({"tags": ("flat",)}, "group:value"),
        ({"tags": ("issue:watermark",)}, "never trained on"),
        ({"asset_types": ("UI Icon",)}, "slug"),
        ({"min_rating": 6}, "0 to 5"),
        ({"held_out": 1.0}, "less than 1"),
        ({"held_out": float("nan")}, "less than 1"),
        ({"background": "white"}, "#RRGGBB"),
        ({"background": "#FFFFFF80"}, "#RRGGBB"),
        ({"trigger_word": "two words"}, "without spaces"),
        ({"trigger_word": "a\x00b"}, "without spaces"),
        ({"prefix": "a\nb"}, "U+000A"),
        ({"suffix": "a\u202eb"}, "U+202E"),
        ({"caption": "title"}, "caption must be one of"),
    ],
)
def test_an_option_that_breaks_its_rule_is_refused(
    workspace: Workspace, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentInvalidError) as caught:
        build_dataset(workspace, "icons", **{**ICONS, **options})

    assert words in caught.value.message
    assert not workspace.records.exists(Manifest, Scope(PROJECT), "icons")


def test_a_dataset_that_does_not_exist_cannot_be_built_again(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)

    with pytest.raises(RecordNotFoundError) as caught:
        build_dataset(workspace, "icns", trigger_word="trgg")

    assert caught.value.hint == "did you mean icons?"


def test_neither_id_nor_selection_is_no_dataset(workspace: Workspace) -> None:
    with pytest.raises(ArgumentInvalidError) as caught:
        build_dataset(workspace)

    assert caught.value.message == "which images?"


def test_a_shared_manifest_is_not_built_as_the_projects_own(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", scope="baseline", **ICONS)

    with pytest.raises(RecordNotFoundError) as caught:
        build_dataset(workspace, "icons")

    assert "--scope baseline" in str(caught.value.hint)


def test_an_unknown_checkpoint_or_project_is_named(workspace: Workspace) -> None:
    for options in ({"checkpoints": ("sdxl",)}, {"project": "neon_cty"}):
        with pytest.raises(RecordNotFoundError):
            build_dataset(workspace, "icons", **{**ICONS, **options})


def test_a_project_without_assets_says_how_to_import(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "empty", project=PROJECT)

    with pytest.raises(SelectionEmptyError) as caught:
        build_dataset(workspace, "icons", **ICONS)

    assert caught.value.message == "neon_city has no assets"
    assert "lora asset import" in str(caught.value.hint)


def test_a_record_that_is_not_valid_stops_the_build(workspace: Workspace) -> None:
    path = next((workspace.data_root / "projects" / PROJECT / "assets").glob("*.json"))
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "colour": "red"}))

    with pytest.raises(RecordInvalidError) as caught:
        build_dataset(workspace, "icons", **ICONS)

    assert "colour" in caught.value.message


def test_a_manifest_changed_during_the_build_is_not_overwritten(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)
    path = workspace.data_root / "projects/neon_city/datasets/icons.json"

    edited = path.read_text().replace("flat, red", "flat, crimson", 1)

    def edit(_: Event) -> None:
        # Somebody else edits the manifest while images are read.
        path.write_text(edited)

    slow = Workspace(workspace.root, workspace.settings, clock=workspace.clock, events=edit)

    with pytest.raises(RecordConflictError):
        build_dataset(slow, "icons", trigger_word="trgg")

    assert path.read_text() == edited


def test_a_caption_is_explained_word_by_word(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS, trigger_word="trgg", with_tokens=True)
    asset_id = manifest(workspace).items[0].asset_id

    explained = show_dataset(workspace, "icons", explain=asset_id).data["explained"]

    assert explained["captionNow"] == explained["caption"]
    assert explained["words"][0] == {"text": "trgg", "source": "trigger word", "used": True}


def test_an_asset_that_is_not_in_is_explained_by_its_reason(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)
    denied, fresh = icon(workspace, 50, training="denied"), icon(workspace, 51)

    told = show_dataset(workspace, "icons", explain=denied.id).data["explained"]
    new = show_dataset(workspace, "icons", explain=fresh.id).data["explained"]

    assert told["code"] == "rights_denied"
    assert new["code"] == "not_built"
    with pytest.raises(RecordNotFoundError):
        show_dataset(workspace, "icons", explain="01HNOTHING")


def test_images_are_counted_by_tag_size_and_licence(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)

    data = count_dataset(workspace, "icons").data

    assert data["tags"][0] == {"value": "style:flat", "images": 6}
    assert data["sizes"] == [{"value": "64 × 64", "images": 6}]  # noqa: RUF001
    assert data["licenses"] == [{"value": "CC0-1.0", "images": 6}]


def test_two_manifests_are_compared_and_one_with_its_past(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)
    commit_all(workspace.root, "Manifest")
    build_dataset(workspace, "reds", tags=("color:red",))
    build_dataset(workspace, "icons", trigger_word="trgg")

    between = diff_datasets(workspace, "icons", "reds").data
    since = diff_datasets(workspace, "icons").data

    assert (between["went"], between["came"]) == (4, 0)
    assert since["aspects"]["caption"] == 6
    assert since["rules"] == ["captionRule.triggerWord"]
    assert diff_datasets(workspace, "reds").data["headline"] == "new since HEAD: 2 images"
    with pytest.raises(RecordNotFoundError):
        diff_datasets(workspace, "rods")
    with pytest.raises(ArgumentInvalidError):
        diff_datasets(workspace, "icons", "reds", git_revision="HEAD")


def test_an_image_replaced_by_a_new_version_shows_as_a_changed_image(workspace: Workspace) -> None:
    build_dataset(workspace, "icons", **ICONS)
    commit_all(workspace.root, "Manifest")
    asset = next(workspace.records.all(Asset, Scope(PROJECT))).record
    old = asset.versions[0]
    variant = old.variants[0]
    new_path = workspace.data_root / variant.original_path.replace(".png", "-v2.png")
    Image.new("RGB", (32, 32), (1, 2, 3)).save(new_path)
    relative = new_path.relative_to(workspace.data_root).as_posix()
    newer = replace(
        old,
        id="01HV2",
        variants=(
            replace(variant, original_path=relative, alpha_path="", original=None, alpha=None),
        ),
    )
    rewrite(workspace, replace(asset, versions=(old, newer)), asset.id)

    build_dataset(workspace, "icons")
    change = diff_datasets(workspace, "icons").data["changes"][0]

    assert change["aspects"] == ["image"]
    assert manifest(workspace).items[0].width == 32


def test_identity_of_the_builder_is_that_of_the_file(workspace: Workspace) -> None:
    # Guards the builder that the other tests stand on.
    asset = icon(workspace, 50)
    identity = asset.versions[0].variants[0].original

    assert isinstance(identity, ImageIdentity)
    path = workspace.data_root / asset.versions[0].variants[0].original_path
    assert identity.bytes == path.stat().st_size
