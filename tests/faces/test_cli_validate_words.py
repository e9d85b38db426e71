"""``lora validate`` on words: stable codes, and what was meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.ids import new_ulid
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.release_builders import add_checkpoint
from tests.support.workspace_builders import invoke, make_workspace, reopen

PROJECT = "neon_city"
TIME = "2026-03-01T12:00:00Z"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    workspace = make_workspace(folder / "studio", git=False, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    add_checkpoint(workspace)
    add_asset(workspace, PROJECT, draw_icon(folder / "a.png"), spec_tags=("color:red",))
    return folder / "studio"


@pytest.fixture
def studio(template: Path, tmp_path: Path) -> Path:
    import shutil

    shutil.copytree(template, tmp_path / "studio")
    return tmp_path / "studio"


def change(studio: Path, relative: str, edit: Callable[[Any], Any]) -> None:
    """Change a document of the project; of a folder the first."""
    place = studio / "data/projects" / PROJECT / relative
    path = min(place.glob("*.json")) if place.is_dir() else place
    document = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(edit(document) or document), encoding="utf-8")


def found(studio: Path) -> list[dict[str, Any]]:
    answer = invoke(["validate", "--json"], studio)
    every: list[dict[str, Any]] = answer.document["data"]["findings"]
    return [one for one in every if one["severity"] != "info"]


def profile(**values: Any) -> dict[str, Any]:
    return {
        "profileId": "tiny_v1", "version": 1, "checkpointId": "tiny", "createdAt": TIME,
        "updatedAt": TIME, **values,
    }  # fmt: skip


def tag(word: str, *aliases: str) -> dict[str, Any]:
    return {"id": word, "label": word, "aliases": list(aliases)}


CASES: dict[str, tuple[str, Callable[[Any], Any], str, str, str]] = {
    "tag of an image": (
        "assets", lambda d: d["versions"][0]["variants"][0].update(tags=["style:flta"]),
        "tag_unknown", "tag style:flta is in no catalog", "lora rename tag style:flta style:flat"),
    "tag of a spec": (
        "specs", lambda d: d.update(tags=["colour:red"]),
        "tag_unknown", "tag colour:red is in no catalog", "did you mean color:red?"),
    "tag that is like none": (
        "specs", lambda d: d.update(tags=["zzz:qqq"]),
        "tag_unknown", "tag zzz:qqq is in no catalog", "lora catalog add tag zzz:qqq"),
    "exclusive tags": (
        "specs", lambda d: d.update(tags=["shape:star", "shape:circle"]),
        "tags_exclusive", "shape:star and shape:circle exclude each other", "lora asset tag"),
    "image against spec": (
        "specs", lambda d: d.update(tags=["style:neon"]),
        "tags_exclusive", "style:flat and style:neon exclude each other, the last", "--remove"),
    "asset type": (
        "specs", lambda d: d.update(assetType="ui_icn"),
        "asset_type_unknown", "asset type ui_icn", "did you mean ui_icon?"),
    "style": (
        "specs", lambda d: d.update(style="flatt"), "style_unknown", "style flatt", "flat?"),
    "scenario": (
        "specs", lambda d: d.update(scenario="hude"), "scenario_unknown", "scenario hude", "hud?"),
    "palette": (
        "project.json", lambda d: d["defaults"].update(paletteIds=["neutrl"]),
        "palette_unknown", "palette neutrl", "lora catalog add palette neutrl"),
    "default tag of the project": (
        "project.json", lambda d: d["defaults"].update(tagIds=["color:rde"]),
        "tag_unknown", "defaults: tag color:rde", "did you mean color:red?"),
    "checkpoint of a spec": (
        "specs", lambda d: d.update(checkpointId="tinny"),
        "reference_lost", "names checkpoint tinny", "did you mean tiny?"),
    "checkpoint of a LoRA's gate": (
        "project.json", lambda d: d.update(gate={"ui_icn": "solo"}),
        "asset_type_unknown", "asset type ui_icn", "did you mean ui_icon?"),
    "default tag of an asset type": (
        "catalogs/asset-types.json", lambda d: d["assetTypes"][0].update(defaultTags=["style:nen"]),
        "tag_unknown", "default tags of ui_icon: tag style:nen", "did you mean style:neon?"),
    "exclusive default tags": (
        "catalogs/asset-types.json",
        lambda d: d["assetTypes"][0].update(defaultTags=["style:neon", "style:flat"]),
        "tags_exclusive", "default tags of ui_icon: style:neon and style:flat", "keep one"),
    "suite": (
        "catalogs/asset-types.json", lambda d: d["assetTypes"][0].update(suiteId="ui_icn"),
        "suite_unknown", "ui_icon names the suite ui_icn", "did you mean ui_icon?"),
    "counts": (
        "catalogs/asset-types.json",
        lambda d: d["assetTypes"][0].update(
            imageCounts={"minimum": 9, "recommendedFrom": 8, "recommendedTo": 7}),
        "counts_disordered", "recommends 8 to 7", "must rise"),
    "word twice": (
        "catalogs/styles.json", lambda d: d["styles"].append({"id": "flat", "label": "Again"}),
        "word_twice", "style flat stands twice", "take one"),
    "tag in another group": (
        "catalogs/tags.json", lambda d: d["groups"][0]["tags"].append(tag("look:odd")),
        "tag_group_differs", "tag look:odd stands in group style", "lora rename tag look:odd"),
    "spelling of two tags": (
        "catalogs/tags.json",
        lambda d: d["groups"][0].update(tags=[tag("style:flat", "x"), tag("style:neon", "X")]),
        "alias_ambiguous", "'style:x' means style:flat and style:neon", "aliases"),
    "spelling that is another tag": (
        "catalogs/tags.json",
        lambda d: d["groups"][0].update(tags=[tag("style:flat", "neon"), tag("style:neon")]),
        "alias_ambiguous", "'style:neon' means", "aliases"),
    "catalog of no checkpoint": (
        "catalogs/checkpoints/tinny/styles.json",
        lambda _: {"id": "styles", "createdAt": TIME, "updatedAt": TIME, "styles": []},
        "reference_lost", "it is for checkpoint tinny", "did you mean tiny?"),
    "profile of no checkpoint": (
        "checkpoint-profiles/tiny_v1.json", lambda _: profile(checkpointId="tinny"),
        "reference_lost", "it is for checkpoint tinny", "did you mean tiny?"),
    "profile under another name": (
        "checkpoint-profiles/other.json", lambda _: profile(),
        "id_differs", "it holds the id 'tiny_v1'", "rename the file"),
    "asset type of a profile": (
        "checkpoint-profiles/tiny_v1.json", lambda _: profile(perAssetType={"ui_icn": {}}),
        "asset_type_unknown", "perAssetType: asset type ui_icn", "did you mean ui_icon?"),
    "tag of a profile": (
        "checkpoint-profiles/tiny_v1.json", lambda _: profile(tagOrder=["style", "color:rde"]),
        "tag_unknown", "tagOrder: tag color:rde", "did you mean color:red?"),
    "profile of a spec": (
        "specs", lambda d: d.update(checkpointProfileId="tiny_v9"),
        "reference_lost", "names profile tiny_v9", "lora checkpoint profile list"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_word_that_is_wrong_is_told_by_its_code_with_what_was_meant(
    case: str, studio: Path
) -> None:
    place, edit, code, message, fix = CASES[case]

    change(studio, place, edit)

    matching = [one for one in found(studio) if one["code"] == code]
    assert any(message in one["message"] and fix in one["fix"] for one in matching), found(studio)


def test_a_studio_whose_words_are_right_is_told_nothing(template: Path) -> None:
    assert found(template) == []


def test_a_word_that_a_checkpoint_alone_has_is_no_fault_where_that_is_named(studio: Path) -> None:
    catalog = {"id": "tags", "createdAt": TIME, "updatedAt": TIME, "groups": [
        {"id": "color", "label": "Colour", "exclusive": False, "tags": [tag("color:teal")]}
    ]}  # fmt: skip
    change(studio, "catalogs/checkpoints/tiny/tags.json", lambda _: catalog)
    change(studio, "specs", lambda d: d.update(tags=["color:teal"]))
    assert [one["code"] for one in found(studio)] == ["tag_unknown"]

    change(studio, "specs", lambda d: d.update(checkpointId="tiny"))
    change(studio, "assets", lambda d: d["versions"][0]["variants"][0].update(tags=["color:teal"]))

    assert found(studio) == []


def test_two_profiles_of_one_version_and_a_spec_of_another_are_told(studio: Path) -> None:
    change(studio, "checkpoint-profiles/tiny_v1.json", lambda _: profile())
    change(studio, "checkpoint-profiles/twin.json", lambda _: profile(profileId="twin"))
    change(
        studio,
        "specs",
        lambda d: d.update(checkpointProfileId="tiny_v1", checkpointProfileVersion=2),
    )

    assert sorted(one["code"] for one in found(studio)) == [
        "profile_differs",
        "profile_version_twice",
    ]


def test_the_rule_of_a_manifest_that_names_lost_words_is_told(studio: Path) -> None:
    invoke(["dataset", "build", "flat", "--tag", "style:flat"], studio)
    change(studio, "datasets/flat.json", lambda d: d["selection"].update(styles=["flta"]))

    [one] = [one for one in found(studio) if one["code"] == "style_unknown"]

    assert one["severity"] == "warning"
    assert "did you mean flat?" in one["fix"]


def test_a_build_tells_words_by_the_same_codes(studio: Path) -> None:
    change(
        studio,
        "assets",
        lambda d: d["versions"][0]["variants"][0].update(tags=["style:flat", "style:neon", "a:b"]),
    )

    answer = invoke(["dataset", "build", "x", "--asset-type", "ui_icon", "--json"], studio)

    assert answer.exit_code == 0, answer.stdout
    codes = {one["code"] for one in answer.document["data"]["findings"]}
    assert codes == {"tag_unknown", "tags_exclusive"}
    assert any("1 image: tag a:b is in no catalog" in one for one in answer.document["warnings"])


def test_specs_that_wait_are_a_note_and_those_of_an_interrupted_import_a_warning(
    studio: Path,
) -> None:
    spec_id = new_ulid()
    asset = next((studio / "data/projects" / PROJECT / "specs").glob("*.json"))
    document = json.loads(asset.read_text()) | {"id": spec_id, "title": "A wish"}
    change(studio, f"specs/{spec_id}.json", lambda _: document)

    every = invoke(["validate", "--json"], studio).document["data"]["findings"]
    [note] = [one for one in every if one["code"] == "spec_without_asset"]
    assert (note["severity"], note["message"]) == ("info", "1 spec has no asset yet: A wish")

    left = studio / "data/projects" / PROJECT / "files/images" / new_ulid() / "original"
    left.mkdir(parents=True)
    (left / "x.png").write_bytes(b"x")
    [warning] = [one for one in found(studio) if one["code"] == "spec_without_asset"]
    assert warning["severity"] == "warning"
    assert f"lora spec remove {spec_id}" in warning["fix"]
    assert "import the same art again" in warning["fix"]

    assert invoke(["spec", "remove", spec_id], studio).exit_code == 0
    assert not [one for one in found(studio) if one["code"] == "spec_without_asset"]


def test_a_spec_with_assets_is_not_removed(studio: Path) -> None:
    path = next((studio / "data/projects" / PROJECT / "specs").glob("*.json"))

    answer = invoke(["spec", "remove", path.stem, "--json"], studio)

    assert answer.exit_code == 1
    assert answer.error["code"] == "spec_in_use"
    assert path.is_file()
    assert invoke(["spec", "remove", "--json"], studio).error["code"] == "argument_invalid"
    assert reopen(studio).scope().project_id == PROJECT
