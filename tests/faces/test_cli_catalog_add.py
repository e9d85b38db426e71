"""``lora catalog add`` and ``lora checkpoint profile``: words and dialects without an editor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.release_builders import add_checkpoint
from tests.support.workspace_builders import Answer, invoke, make_workspace, tree_digest

PROJECT = "neon_city"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("catalog")
    workspace = make_workspace(folder / "studio", git=False, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    add_checkpoint(workspace)
    add_asset(
        workspace, PROJECT, draw_icon(folder / "a.png"), title="Star", prompt="a red star",
        checkpoint_id="tiny", spec_tags=("color:red", "style:neon"),
    )  # fmt: skip
    return folder / "studio"


@pytest.fixture
def studio(template: Path, tmp_path: Path) -> Path:
    shutil.copytree(template, tmp_path / "studio")
    return tmp_path / "studio"


def run(studio: Path, *arguments: str) -> Answer:
    return invoke([*arguments, "--json"], studio)


def read(studio: Path, relative: str) -> Any:
    return json.loads((studio / "data" / relative).read_text(encoding="utf-8"))


HOME = f"projects/{PROJECT}/catalogs"


@pytest.mark.parametrize(
    ("arguments", "path", "entry"),
    [
        (("tag", "color:teal", "--token", "teal", "--alias", "cyan"), f"{HOME}/tags.json",
         {"id": "color:teal", "label": "Teal", "promptToken": "teal", "aliases": ["cyan"]}),
        (("tag-group", "mood", "--exclusive", "--label", "Mood of it"), f"{HOME}/tags.json",
         {"id": "mood", "label": "Mood of it", "exclusive": True, "tags": []}),
        (("style", "ink", "--token", "ink drawing"), f"{HOME}/styles.json",
         {"id": "ink", "label": "Ink", "promptTokens": ["ink drawing"]}),
        (("scenario", "sea", "--description", "Ships"), f"{HOME}/scenarios.json",
         {"id": "sea", "label": "Sea", "description": "Ships"}),
        (("palette", "dusk", "--color", "#223344,#AABBCC"), f"{HOME}/palettes.json",
         {"id": "dusk", "label": "Dusk", "colors": ["#223344", "#AABBCC"]}),
        (("asset-type", "badge", "--counts", "10:20-40", "--default-tag", "style:flat",
          "--suite", "logo", "--requires-alpha"), f"{HOME}/asset-types.json",
         {"id": "badge", "label": "Badge", "requiresAlpha": True, "defaultTags": ["style:flat"],
          "suiteId": "logo",
          "imageCounts": {"minimum": 10, "recommendedFrom": 20, "recommendedTo": 40}}),
        (("style", "ink", "--checkpoint", "tiny"), f"{HOME}/checkpoints/tiny/styles.json",
         {"id": "ink", "label": "Ink"}),
        (("style", "ink", "--scope", "baseline"), "shared/catalogs/styles.json",
         {"id": "ink", "label": "Ink"}),
    ],
    ids=lambda one: " ".join(one[:2]) if isinstance(one, tuple) else "",
)  # fmt: skip
def test_a_word_is_added_where_it_belongs(
    studio: Path, arguments: tuple[str, ...], path: str, entry: dict[str, Any]
) -> None:
    answer = run(studio, "catalog", "add", *arguments)

    assert answer.exit_code == 0, answer.stdout
    assert answer.document["written"] == [f"data/{path}"]
    assert json.dumps(entry) in json.dumps(
        [json.loads(json.dumps(one)) for one in entries(read(studio, path), entry)]
    )
    assert invoke(["validate"], studio).exit_code == 0


def entries(node: Any, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the entry of that id in a catalog, its members in the order of ``wanted``."""
    found = []
    if isinstance(node, list):
        found = [match for one in node for match in entries(one, wanted)]
    elif isinstance(node, dict):
        if node.get("id") == wanted["id"]:
            found.append({name: node.get(name) for name in wanted})
        found += [match for one in node.values() for match in entries(one, wanted)]
    return found


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (("tag", "color:red"), "record_exists", "tag color:red is there already", "catalog show"),
        (("tag", "teal"), "argument_invalid", "group:value", "subject:teal"),
        (("tag", "hue:teal"), "argument_invalid", "no tag group hue",
         "lora catalog add tag-group hue"),
        (("tag", "color:x", "--token", "a", "--token", "b"), "argument_invalid",
         "a tag has one prompt token", ""),
        (("style", "flat"), "record_exists", "style flat is there already", ""),
        (("style", "Flat Style"), "argument_invalid", "must be a slug", "flat_style"),
        (("style", "ink", "--color", "#000000"), "argument_invalid", "a style has no colors", ""),
        (("palette", "dusk"), "argument_invalid", "got none", "--color #FFFFFF"),
        (("palette", "dusk", "--color", "blue"), "argument_invalid", "got blue", ""),
        (("asset-type", "badge", "--counts", "40-60"), "argument_invalid", "MINIMUM:FROM-TO", ""),
        (("asset-type", "badge", "--counts", "10:9-8"), "argument_invalid", "rising", ""),
        (("asset-type", "badge", "--checkpoint", "tiny"), "argument_invalid", "of its own", ""),
        (("style", "ink", "--checkpoint", "tinny"), "record_not_found", "no checkpoint 'tinny'",
         "did you mean tiny?"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)  # fmt: skip
def test_a_word_that_cannot_be_added_is_explained_and_nothing_is_written(
    studio: Path, arguments: tuple[str, ...], code: str, message: str, hint: str
) -> None:
    before = tree_digest(studio / "data")

    answer = run(studio, "catalog", "add", *arguments)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert message in answer.error["message"]
    assert hint in (answer.error["hint"] or "")
    assert tree_digest(studio / "data") == before


def test_a_default_tag_that_nobody_knows_is_told(studio: Path) -> None:
    answer = run(studio, "catalog", "add", "asset-type", "badge", "--default-tag", "shape:circel")

    assert "did you mean shape:circle?" in answer.document["warnings"][0]


def test_a_profile_is_a_new_version_on_top_of_the_last_and_none_is_changed(studio: Path) -> None:
    run(studio, "checkpoint", "profile", "add", "tiny", "--positive", "best quality",
        "--for", "ui_icon=game icon", "--safety-negative", "nsfw")  # fmt: skip
    first = (studio / f"data/projects/{PROJECT}/checkpoint-profiles/tiny_v1.json").read_bytes()

    answer = run(studio, "checkpoint", "profile", "add", "tiny", "--negative", "blurry",
                 "--not-for", "ui_icon=background", "--tag-order", "style,color")  # fmt: skip

    assert answer.document["data"]["profile"] == {
        "schema": "checkpoint-profile/v1", "profileId": "tiny_v2", "version": 2,
        "checkpointId": "tiny", "defaultForCheckpoint": True, "basePositive": "best quality",
        "baseNegative": "blurry",
        "perAssetType": {"ui_icon": {"positive": "game icon", "negative": "background"}},
        "tagOrderPolicy": "explicit", "tagOrder": ["style", "color"],
        "runtimeSafety": {"negative": ["nsfw"]},
        "createdAt": answer.document["data"]["profile"]["createdAt"],
        "updatedAt": answer.document["data"]["profile"]["updatedAt"],
    }  # fmt: skip
    assert (
        studio / f"data/projects/{PROJECT}/checkpoint-profiles/tiny_v1.json"
    ).read_bytes() == first
    listed = run(studio, "checkpoint", "profile", "list").document["data"]["profiles"]
    assert [one["id"] for one in listed] == ["tiny_v2", "tiny_v1"]
    assert invoke(["validate"], studio).exit_code == 0


def test_a_prompt_says_where_each_word_comes_from(studio: Path) -> None:
    spec = next((studio / f"data/projects/{PROJECT}/specs").glob("*.json"))
    run(studio, "checkpoint", "profile", "add", "tiny", "--positive", "best quality, Red", "--for",
        "ui_icon=game icon", "--safety-negative", "nsfw", "--tag-order", "style")  # fmt: skip
    path = studio / f"data/projects/{PROJECT}/project.json"
    project = json.loads(path.read_text())
    project["policies"] = {
        "tagPromptMap": {"tiny": {"color:red": {"positive": "crimson", "negative": "blue"}}}
    }
    path.write_text(json.dumps(project))

    facts = run(studio, "checkpoint", "profile", "prompt", spec.stem).document["data"]

    assert facts["profile"] == "tiny_v1"
    assert facts["positive"] == (
        "best quality, Red, game icon, flat style, neon, crimson, a red star"
    )
    assert facts["negative"] == "blue, nsfw"
    assert [(one["layer"], one["source"]) for one in facts["trace"]] == [
        ("checkpoint_base", "profile tiny_v1"),
        ("checkpoint_asset_type", "profile tiny_v1"),
        ("baseline_hints", "style flat"),
        ("baseline_hints", "tag style:neon"),
        ("baseline_hints", "tag color:red"),
        ("tag_prompt_map", "tag color:red"),
        ("spec_prompt", f"spec {spec.stem}"),
        ("runtime_safety", "profile tiny_v1"),
    ]


def test_without_a_profile_the_templates_of_the_checkpoint_hold(studio: Path) -> None:
    path = studio / f"data/projects/{PROJECT}/checkpoints/tiny.json"
    record = json.loads(path.read_text())
    record["promptTemplates"] = {
        "basePositive": "masterpiece, {specPrompt}", "baseNegative": "worst",
        "perAssetType": {"ui_icon": {"positive": "icon"}},
    }  # fmt: skip
    path.write_text(json.dumps(record))
    spec = next((studio / f"data/projects/{PROJECT}/specs").glob("*.json"))

    facts = run(studio, "checkpoint", "profile", "prompt", spec.stem).document["data"]

    assert facts["positive"].startswith("masterpiece, icon, flat style")
    assert facts["negative"] == "worst"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("add", "tinny"), "record_not_found", "no checkpoint 'tinny'"),
        (("add", "tiny", "--for", "game icon"), "argument_invalid", "TYPE=WORDS"),
        (("show", "tiny_v1"), "record_not_found", "no checkpoint-profile 'tiny_v1'"),
        (("prompt", "nothing"), "record_not_found", "no spec 'nothing'"),
    ],
)
def test_a_profile_that_cannot_be_is_explained(
    studio: Path, arguments: tuple[str, ...], code: str, message: str
) -> None:
    before = tree_digest(studio / "data")

    answer = run(studio, "checkpoint", "profile", *arguments)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert message in answer.error["message"]
    assert tree_digest(studio / "data") == before


def test_words_of_a_profile_that_nobody_knows_are_told(studio: Path) -> None:
    answer = run(studio, "checkpoint", "profile", "add", "tiny", "--for", "ui_icn=x",
                 "--tag-order", "styl,color:rde")  # fmt: skip

    said = " ".join(answer.document["warnings"])
    assert "did you mean ui_icon?" in said
    assert "did you mean color:red?" in said
    assert "there is no tag group styl" in said
