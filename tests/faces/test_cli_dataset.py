"""``lora dataset`` as people and scripts use it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.catalog_builders import add_asset, draw_icon
from tests.support.dataset_builders import PROJECT, studio
from tests.support.dataset_commands import done, lora
from tests.support.workspace_builders import (
    REPOSITORY,
    commit_all,
    git,
    reopen,
    run_lora,
    tree_digest,
)

RULE = ("--asset-type", "ui_icon", "--tag", "style:flat")
LEFT_OUT = "1 exact duplicate · 1 tagged issue:watermark · 1 training rights denied"
WAY = "neon_city 10 → asset type ui_icon 10 → status approved 9"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = studio(tmp_path_factory.mktemp("template") / "studio").root
    workspace = reopen(folder)
    art = folder.parent / "more"
    for seed, fields in (
        (50, {"training": "denied"}),
        (51, {"tags": ("style:flat", "issue:watermark")}),
        (52, {"status": "review"}),
    ):
        add_asset(workspace, PROJECT, draw_icon(art / f"{seed}.png", seed=seed), **fields)
    add_asset(workspace, PROJECT, draw_icon(art / "0.png", seed=0), tags=("style:flat",))
    commit_all(folder, "More art")
    return folder


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    return shutil.copytree(template, tmp_path / "studio")


def test_a_build_says_what_came_in_what_was_left_out_and_what_comes_next(folder: Path) -> None:
    answer = done(folder, "build", *RULE)

    assert answer.stdout.splitlines() == [
        "ui_icon_flat · 6 images from 9 matching assets",
        f"  left out   {LEFT_OUT}   (--explain lists them)",
        f"  content    {_short_hash(folder)}",
        "  wrote      data/projects/neon_city/datasets/ui_icon_flat.json",
        "  warning    6 images are few: ui_icon asks for 10, 20 to 80 are recommended",
        "next  lora dataset check ui_icon_flat  ·  lora train --lora LORA --dataset ui_icon_flat",
    ]


def _short_hash(folder: Path, name: str = "ui_icon_flat") -> str:
    return str(_document(folder, name)["contentHash"])[:19]


def _document(folder: Path, name: str) -> dict[str, object]:
    path = folder / "data/projects/neon_city/datasets" / f"{name}.json"
    document: dict[str, object] = json.loads(path.read_text())
    return document


def test_explain_lists_every_asset_that_is_left_out(folder: Path) -> None:
    lines = done(folder, "build", *RULE, "--explain").stdout

    assert "duplicate of Icon 0" in lines
    assert "training rights denied" in lines
    assert "tagged issue:watermark" in lines
    assert "status is review, not approved" in lines
    assert "(--explain lists them)" not in lines


def test_a_build_again_says_that_nothing_changed(folder: Path) -> None:
    done(folder, "build", *RULE, "--commit")
    before = tree_digest(folder / "data")

    answer = done(folder, "build", "ui_icon_flat", "--commit")

    assert "unchanged" in answer.stdout
    assert "since HEAD  nothing changed" in answer.stdout
    assert tree_digest(folder / "data") == before


def test_commit_makes_one_commit_of_the_manifest_alone(folder: Path) -> None:
    (folder / "data" / "note.txt").write_text("mine")

    done(folder, "build", *RULE, "--commit")

    assert git(folder, "show", "--name-only", "--format=%s").split("\n\n") == [
        "Built dataset ui_icon_flat: 6 images",
        "data/projects/neon_city/datasets/ui_icon_flat.json\n",
    ]


def test_a_new_image_is_one_new_line_in_the_diff(folder: Path) -> None:
    done(folder, "build", *RULE, "--commit")
    art = draw_icon(folder.parent / "fresh.png", seed=70)
    add_asset(reopen(folder), PROJECT, art, title="Fresh")

    answer = done(folder, "build", "ui_icon_flat")
    lines = git(folder, "diff", "--unified=0").splitlines()

    assert "since HEAD  +1  −0" in answer.stdout  # noqa: RUF001 - a minus sign
    assert [line[0] for line in lines if '"assetId"' in line] == ["+"]


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    before = tree_digest(folder)

    answer = done(folder, "build", *RULE, "--dry-run")

    assert "would write" in answer.stdout
    assert tree_digest(folder) == before


def test_json_is_one_document_with_camel_case_facts(folder: Path) -> None:
    document = done(folder, "build", *RULE, "--json").document

    assert document["success"] is True
    assert document["data"]["leftOut"][0] == {
        "code": "duplicate",
        "summary": "exact duplicate",
        "images": 1,
    }
    assert document["written"] == ["data/projects/neon_city/datasets/ui_icon_flat.json"]


def test_tags_may_be_given_several_times_or_with_commas(folder: Path) -> None:
    rule = ("--not-tag", "color:red,color:blue", "--tag", "style:flat", "--tag", "color:green")
    done(folder, "build", "--id", "greens", *rule)

    selection = _document(folder, "greens")["selection"]

    assert isinstance(selection, dict)
    assert selection["tags"] == ["style:flat", "color:green"]
    assert selection["notTags"] == ["color:red", "color:blue"]


def test_every_option_of_the_rule_stands_in_the_manifest(folder: Path) -> None:
    done(
        folder, "build", "icons", *RULE, "--status", "approved", "--tag-any", "--style", "flat",
        "--scenario", "plain", "--no-spec-tags", "--caption", "tags+spec+title", "--with-tokens",
        "--trigger", "nctyicon", "--prefix", "icon", "--suffix", "end", "--held-out", "0.25",
        "--background", "#0a0b0c", "--provenance-source", "commission",
        "--provenance-author", "ana", "--provenance-license", "CC0-1.0",
        "--provenance-url", "https://studio.example", "--provenance-notes", "2026",
    )  # fmt: skip
    document = _document(folder, "icons")

    assert document["selection"] == {
        "source": "assets",
        "status": "approved",
        "variantPolicy": "primary|selected|highest-rated|first",
        "assetTypes": ["ui_icon"],
        "checkpoints": [],
        "tags": ["style:flat"],
        "tagMode": "any",
        "notTags": [],
        "styles": ["flat"],
        "scenarios": ["plain"],
        "includeSpecTags": False,
        "minRating": 0,
    }
    assert document["captionRule"] == {
        "strategy": "tags+spec+title",
        "includePromptTokens": True,
        "checkpointId": "",
        "triggerWord": "nctyicon",
        "prefix": "icon",
        "suffix": "end",
    }
    assert document["normalization"] == {
        "version": 1,
        "alpha": "background",
        "background": "#0A0B0C",
        "colorSpace": "srgb",
        "format": "png",
    }
    assert document["splitRule"] == {
        "heldOut": 0.25,
        "salt": "lora-pipeline/split/v1",
        "nearDuplicates": "look/v1",
    }
    assert document["provenance"] == {
        "source": "commission",
        "author": "ana",
        "license": "CC0-1.0",
        "url": "https://studio.example",
        "notes": "2026",
    }


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (("build",), "argument_invalid", "which images?"),
        (("build", "icns"), "record_not_found", "no dataset 'icns'"),
        (("build", *RULE, "--project", "neon_cty"), "record_not_found", "no project 'neon_cty'"),
        (("build", "--asset-type", "ui_icn"), "selection_empty", "asset type ui_icn kept 0 of 10"),
        (("build", "--tag", "style:flt"), "selection_empty", "tag style:flt kept 0 of 9"),
        (("build", *RULE, "--status", "draft"), "selection_empty", "status draft kept 0 of 10"),
        (("build", *RULE, "--min-rating", "4"), "selection_empty", "rating 4 or more kept 0 of 9"),
        (("build", *RULE, "--checkpoint", "none"), "record_not_found", "no checkpoint 'none'"),
        (("build", "--tag", "flat!"), "argument_invalid", "group:value"),
        (("build", "--tag", "issue:watermark"), "argument_invalid", "never trained on"),
        (("build", *RULE, "--held-out", "1"), "argument_invalid", "less than 1"),
        (("build", *RULE, "--background", "red"), "argument_invalid", "#RRGGBB"),
        (("build", *RULE, "--trigger", "a b"), "argument_invalid", "without spaces"),
        (("build", "Bad Id", *RULE), "argument_invalid", "must be a slug"),
        (("build", "../../etc", *RULE), "argument_invalid", "../../etc"),
        (("show", "icns"), "record_not_found", "no dataset 'icns'"),
        (("show", "data/projects/neon_city/project.json"), "record_not_found", "no manifest"),
        (("verify", "icns"), "record_not_found", "no dataset 'icns'"),
        (("stage", "icns"), "record_not_found", "no dataset 'icns'"),
        (("diff", "icns"), "record_not_found", "no dataset 'icns'"),
        (("stats", "icns"), "record_not_found", "no dataset 'icns'"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, tuple) else None,
)
def test_bad_input_has_one_clear_error_and_writes_nothing(
    folder: Path, argv: tuple[str, ...], code: str, words: str
) -> None:
    before = tree_digest(folder)

    answer = lora(folder, *argv, "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert words in answer.error["message"]
    assert tree_digest(folder) == before


def test_an_empty_selection_shows_what_each_filter_left(folder: Path) -> None:
    answer = lora(folder, "build", *RULE, "--tag", "color:pink")

    assert answer.exit_code == 3
    assert answer.stderr.splitlines() == [
        "error  no image is left: tag style:flat and color:pink kept 0 of 9  [selection_empty]",
        f"  from   {WAY} → tag style:flat and color:pink 0",
        "next   there are: color:blue, color:green, color:red",
    ]


def test_no_workspace_is_said_at_once(tmp_path: Path) -> None:
    answer = lora(tmp_path, "build", *RULE, "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == "workspace_not_found"


def test_an_id_given_twice_is_a_usage_error(folder: Path) -> None:
    assert lora(folder, "build", "a", "--id", "b", *RULE).exit_code == 2
    assert lora(folder, "build", "--no-such-option").exit_code == 2
    assert lora(folder, "build", *RULE, "--caption", "title").exit_code == 2


def test_a_caption_that_is_not_fit_names_the_asset(folder: Path) -> None:
    asset = add_asset(reopen(folder), PROJECT, draw_icon(folder.parent / "x.png", seed=71), tags=())
    before = tree_digest(folder)

    answer = lora(folder, "build", "--asset-type", "ui_icon", "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == "caption_invalid"
    assert asset.id in answer.error["message"]
    assert tree_digest(folder) == before


def test_verify_holds_and_finds_a_changed_image(folder: Path) -> None:
    done(folder, "build", *RULE)
    assert done(folder, "verify", "ui_icon_flat").stdout.startswith("ui_icon_flat · holds")
    image = next((folder / "data/projects/neon_city/files").rglob("*.png"))
    items = _document(folder, "ui_icon_flat")["items"]
    assert isinstance(items, list)
    image = folder / "data" / items[0]["path"]
    image.write_bytes(image.read_bytes() + b"x")

    answer = lora(folder, "verify", "ui_icon_flat")

    assert answer.exit_code == 1
    assert "1 thing differs" in answer.stdout
    assert items[0]["path"] in answer.stdout


def test_verify_finds_a_manifest_edited_by_hand(folder: Path) -> None:
    done(folder, "build", *RULE)
    path = folder / "data/projects/neon_city/datasets/ui_icon_flat.json"
    path.write_text(path.read_text().replace('"flat, red"', '"flat, crimson"', 1))

    answer = lora(folder, "verify", "ui_icon_flat", "--json")

    assert answer.exit_code == 1
    assert answer.error["code"] == "verification_differs"
    assert answer.document["data"]["findings"][0]["code"] == "content_differs"


def test_verify_does_not_pass_what_it_could_not_prove(folder: Path) -> None:
    done(folder, "build", *RULE)
    path = folder / "data/projects/neon_city/datasets/ui_icon_flat.json"
    path.write_text(
        path.read_text().replace('"path": "projects', '"path": "assetsRoot:projects', 1)
    )

    answer = lora(folder, "verify", "ui_icon_flat", "--json")

    assert answer.exit_code == 1
    assert answer.error["code"] == "verification_unproven"


def test_a_manifest_with_an_unknown_field_or_a_key_given_twice_is_refused(folder: Path) -> None:
    done(folder, "build", *RULE)
    path = folder / "data/projects/neon_city/datasets/ui_icon_flat.json"
    text = path.read_text()
    path.write_text(text.replace('"id":', '"colour": 1,\n  "id":', 1))
    unknown = lora(folder, "verify", "ui_icon_flat", "--json")
    path.write_text(text.replace('"id":', '"id": "x",\n  "id":', 1))
    twice = lora(folder, "verify", "ui_icon_flat", "--json")

    assert (unknown.exit_code, unknown.error["code"]) == (3, "record_invalid")
    assert "colour" in unknown.error["message"]
    assert (twice.exit_code, twice.error["code"]) == (3, "json_invalid")


def test_stage_makes_a_folder_outside_git_and_finds_it_again(folder: Path) -> None:
    done(folder, "build", *RULE, "--held-out", "0.4", "--commit")

    first = done(folder, "stage", "ui_icon_flat", "--json", "--commit").document
    second = done(folder, "stage", "ui_icon_flat", "--json").document
    staged = folder / first["data"]["folder"]

    assert first["data"]["made"] is True
    assert second["data"]["made"] is False
    assert second["written"] == []
    assert len(list(staged.glob("*.png"))) == first["data"]["images"]
    assert first["data"]["images"] + first["data"]["heldOut"] == 6
    assert git(folder, "status", "--porcelain") == ""


def test_a_dry_run_of_stage_names_the_folder_and_makes_none(folder: Path) -> None:
    done(folder, "build", *RULE)

    answer = done(folder, "stage", "ui_icon_flat", "--dry-run", "--json").document

    assert answer["written"] == [answer["data"]["folder"]]
    assert not (folder / ".lora" / "staging").exists()


def test_stage_refuses_an_image_that_is_not_what_the_manifest_says(folder: Path) -> None:
    done(folder, "build", *RULE)
    items = _document(folder, "ui_icon_flat")["items"]
    assert isinstance(items, list)
    image = folder / "data" / items[0]["path"]
    image.write_bytes(image.read_bytes()[:-20])

    answer = lora(folder, "stage", "ui_icon_flat", "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == "digest_mismatch"
    assert items[0]["path"] in answer.error["message"]


def test_list_and_show_and_stats_are_read_by_people(folder: Path) -> None:
    done(folder, "build", *RULE, "--trigger", "nctyicon")
    asset_id = _document(folder, "ui_icon_flat")["items"][0]["assetId"]  # type: ignore[index]

    assert "nctyicon" in done(folder, "list").stdout
    shown = done(folder, "show", "ui_icon_flat").stdout
    assert "selects    approved · ui_icon · style:flat" in shown
    assert "nctyicon, flat, red" in shown
    assert "trigger word" in done(folder, "show", "ui_icon_flat", "--explain", asset_id).stdout
    assert "style       flat" in done(folder, "stats", "ui_icon_flat").stdout


def test_a_list_without_any_dataset_says_how_to_make_one(folder: Path) -> None:
    answer = done(folder, "list")

    assert answer.stdout.startswith("no dataset yet")
    assert "lora dataset build" in answer.stdout


def test_diff_tells_captions_word_by_word(folder: Path) -> None:
    done(folder, "build", *RULE, "--commit")
    done(folder, "build", "ui_icon_flat", "--trigger", "nctyicon")

    answer = done(folder, "diff", "ui_icon_flat").stdout

    assert answer.startswith("ui_icon_flat since HEAD · +0  −0  ~6 captions")  # noqa: RUF001
    assert "rule       trigger word" in answer
    assert "caption +nctyicon" in answer


def test_the_help_of_every_command_has_a_short_first_line(folder: Path) -> None:
    from lora_pipeline.cli.dataset import dataset

    lines = [(command.help or "").splitlines()[0] for command in dataset.commands.values()]

    assert all(0 < len(line) < 60 for line in lines)
    assert {"build", "list", "show", "stats", "diff", "verify", "stage"} <= set(dataset.commands)


def test_the_real_program_builds_too(folder: Path) -> None:
    answer = run_lora(["dataset", "build", *RULE, "--json"], folder)

    assert answer.exit_code == 0
    assert answer.document["data"]["images"] == 6


def test_a_reader_that_goes_away_is_no_failure(folder: Path) -> None:
    done(folder, "build", *RULE)
    reader, writer = os.pipe()
    os.close(reader)
    shown = subprocess.run(
        [sys.executable, "-m", "lora_pipeline", "dataset", "show", "ui_icon_flat"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)

    assert (shown.returncode, shown.stderr) == (0, b"")
