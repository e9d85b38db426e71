"""``lora dataset build``: ids, licences, age, limits, balance, templates; and why not."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.catalog.records import Asset
from lora_pipeline.workspace.layout import Scope
from tests.support.caption_builders import add_checkpoint
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import (
    Answer,
    invoke,
    make_workspace,
    reopen,
    tree_digest,
)

ICONS = ("--asset-type", "ui_icon")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template") / "studio"
    workspace = studio(folder, icons=6, git=False)
    art = folder.parent / "more"
    for seed, fields in (
        (60, {"license": "CC-BY-4.0", "title": "Bought", "rating": 5}),
        (61, {"license": "", "title": "Found"}),
    ):
        add_asset(workspace, PROJECT, draw_icon(art / f"{seed}.png", seed=seed), **fields)
    return folder


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    return shutil.copytree(template, tmp_path / "studio")


def build(folder: Path, *argv: str, exit_code: int = 0) -> Answer:
    answer = invoke(["dataset", "build", "icons", *argv], folder)
    assert answer.exit_code == exit_code, answer.stdout + answer.stderr
    return answer


def refused(folder: Path, *argv: str) -> dict[str, Any]:
    """Return the error of a build that must fail and write nothing."""
    before = tree_digest(folder / "data")
    answer = build(folder, *argv, "--json", exit_code=3)
    assert tree_digest(folder / "data") == before
    return answer.error


def document(folder: Path, name: str = "icons") -> dict[str, Any]:
    path = folder / f"data/projects/neon_city/datasets/{name}.json"
    found: dict[str, Any] = json.loads(path.read_bytes())
    return found


def ids(folder: Path) -> list[str]:
    return reopen(folder).records.ids(Asset, Scope(PROJECT))


def titles(folder: Path) -> set[str]:
    by_id = {}
    for path in (folder / "data/projects/neon_city").glob("assets/*.json"):
        asset = json.loads(path.read_bytes())
        spec = json.loads((path.parents[1] / "specs" / f"{asset['specId']}.json").read_bytes())
        by_id[asset["id"]] = spec["title"]
    return {by_id[item["assetId"]] for item in document(folder)["items"]}


def test_ids_from_a_file_are_kept_and_the_file_is_not_needed_again(folder: Path) -> None:
    first, second, third = ids(folder)[:3]
    listed = folder.parent / "chosen.txt"
    listed.write_text(f"# for the trailer\n{second}\n\n{first[-8:]}  the red one\n", "utf-8")

    build(folder, "--from-file", str(listed))
    listed.unlink()
    again = build(folder)

    assert document(folder)["selection"]["assetIds"] == [first, second]
    assert {item["assetId"] for item in document(folder)["items"]} == {first, second}
    assert "unchanged" in again.stdout
    assert third not in json.dumps(document(folder))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("01AAAAAAAAAAAAAAAAAAAAAAAA\n", "record_not_found"),
        ("# nothing\n", "argument_invalid"),
        ("\udc80", "argument_invalid"),
    ],
)
def test_a_list_of_ids_that_cannot_be_meant_is_refused(folder: Path, text: str, code: str) -> None:
    listed = folder.parent / "chosen.txt"
    listed.write_bytes(text.encode("utf-8", "surrogateescape"))

    assert refused(folder, "--from-file", str(listed))["code"] == code


def test_a_list_that_is_not_there_is_named(folder: Path) -> None:
    assert refused(folder, "--from-file", "gone.txt")["code"] == "file_missing"


def test_an_ending_that_fits_several_assets_is_refused_with_them(folder: Path) -> None:
    workspace = reopen(folder)
    source = workspace.data_root / f"projects/neon_city/assets/{ids(folder)[0]}.json"
    twin = "7" + ids(folder)[0][1:]
    copy = json.loads(source.read_bytes()) | {"id": twin}
    source.with_name(f"{twin}.json").write_text(json.dumps(copy), "utf-8")
    listed = folder.parent / "chosen.txt"
    listed.write_text(twin[-10:])

    error = refused(folder, "--from-file", str(listed))

    assert "may be any of 2 assets" in error["message"]
    assert twin in error["message"]


def test_an_asset_of_the_list_that_went_is_told_with_every_build(folder: Path) -> None:
    listed = folder.parent / "chosen.txt"
    listed.write_text("\n".join(ids(folder)[:2]))
    build(folder, "--from-file", str(listed))
    gone = ids(folder)[0]
    (folder / f"data/projects/neon_city/assets/{gone}.json").unlink()

    answer = build(folder)

    assert f"the rule lists {gone}, and no asset has that id" in answer.stdout
    assert len(document(folder)["items"]) == 1


def test_licences_are_chosen_in_any_case_and_kept_once(folder: Path) -> None:
    build(folder, "--license", "cc-by-4.0,CC-BY-4.0")

    assert titles(folder) == {"Bought"}
    assert document(folder)["selection"]["licenses"] == ["cc-by-4.0"]


def test_a_day_leaves_out_what_was_made_before_it(folder: Path) -> None:
    build(folder, "--since", "2026-03-01")
    error = refused(folder, "--since", "2026-03-02")

    assert document(folder)["selection"]["createdSince"] == "2026-03-01T00:00:00Z"
    assert "made since 2026-03-02 kept 0 of 8" in error["message"]
    assert error["hint"] == "the newest was made on 2026-03-01"


@pytest.mark.parametrize("since", ["yesterday", "2026-02-30", "30d", "2026-02-01T10:00:00+02:00"])
def test_a_time_that_is_no_day_and_no_utc_is_refused(folder: Path, since: str) -> None:
    error = refused(folder, *ICONS, "--since", since)

    assert error["code"] == "argument_invalid"
    assert "2026-01-31" in error["hint"]


def test_a_limit_takes_the_better_rated_first_and_explains_the_others(folder: Path) -> None:
    answer = build(folder, *ICONS, "--limit", "3", "--explain")
    selection = document(folder)["selection"]

    assert "Bought" in titles(folder)
    assert (selection["limit"], selection["seed"]) == (3, 0)
    assert "left out   5 beyond the limit of 3" in answer.stdout
    assert answer.stdout.count("not among the 3 that were drawn, seed 0") == 5


def test_limits_are_said_one_by_one_and_taken_away_by_zero(folder: Path) -> None:
    build(folder, *ICONS, "--limit", "3")
    first = document(folder)["items"]

    assert document(folder)["items"] == first
    build(folder, "--seed", "9")
    assert document(folder)["selection"]["assetTypes"] == ["ui_icon"]
    build(folder, "--seed", "0")
    assert document(folder)["items"] == first
    build(folder, "--limit", "0")

    assert len(document(folder)["items"]) == 8
    assert not {"limit", "seed"} & set(document(folder)["selection"])


def test_a_group_is_shown_evenly_and_images_without_it_are_told(folder: Path) -> None:
    answer = build(folder, *ICONS, "--balance", "color")

    shown = Counter(tag for item in document(folder)["items"] for tag in item["tags"])
    assert {tag: count for tag, count in shown.items() if tag.startswith("color:")} == {
        "color:red": 2,
        "color:blue": 2,
        "color:green": 2,
    }
    assert "2 without color:…" in answer.stdout


def test_a_group_that_no_image_has_empties_the_selection_and_says_which_there_are(
    folder: Path,
) -> None:
    error = refused(folder, *ICONS, "--balance", "shape")

    assert error["code"] == "selection_empty"
    assert "balance over shape kept 0 of 8" in error["message"]
    assert "style" in error["hint"]


def test_the_same_art_imported_in_another_order_gives_the_same_hash(tmp_path: Path) -> None:
    hashes = []
    for name, seeds in (("one", range(8)), ("other", reversed(range(8)))):
        workspace = make_workspace(tmp_path / name, git=False, project=PROJECT)
        add_catalogs(workspace, PROJECT)
        for seed in seeds:
            tags = (f"color:{('red', 'blue')[seed % 2]}",)
            art = draw_icon(tmp_path / f"{name}-art" / f"{seed}.png", seed=seed)
            add_asset(workspace, PROJECT, art, tags=tags, title=f"Icon {seed}")
        build(tmp_path / name, *ICONS, "--balance", "color", "--limit", "5", "--seed", "3")
        hashes.append(document(tmp_path / name)["contentHash"])

    assert hashes[0] == hashes[1]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (("--limit", "-1"), "limit must be 1 or more"),
        (("--limit-each", "2"), "of which group?"),
        (("--seed", "4"), "nothing is drawn"),
        (("--limit", "2", "--seed", "-4"), "seed must be 0 to"),
        (("--balance", "color:red"), "balance names a tag group"),
        (("--template", "sentense"), "template must be tags, sentence or text with slots"),
        (("--template", "{title}"), "the caption template says {title}, and captions hold none"),
        (("--template", "{tokens} {tags}"), "says {tokens}, and captions hold none"),
        (("--template", "{tags} {x.__class__}"), "which is no slot"),
        (("--template", "{tags}\x07"), "template holds U+0007"),
    ],
)
def test_an_option_that_breaks_its_rule_is_refused_and_nothing_is_written(
    folder: Path, argv: tuple[str, ...], says: str
) -> None:
    assert says in refused(folder, *ICONS, *argv)["message"]


def test_a_manifest_that_uses_none_of_it_has_none_of_its_fields(folder: Path) -> None:
    build(folder, *ICONS)

    new = {"assetIds", "createdSince", "licenses", "limit", "limitEach", "balance", "seed"}
    assert not new & set(document(folder)["selection"])
    assert "template" not in document(folder)["captionRule"]


def test_a_dataset_without_a_name_is_called_by_what_makes_it_another_one(folder: Path) -> None:
    answer = invoke(
        ["dataset", "build", *ICONS, "--balance", "color", "--limit", "4", "--dry-run"], folder
    )

    assert answer.stdout.startswith("ui_icon_balanced_color_4 · 4 images")


def test_several_checkpoints_leave_out_art_of_all_others(folder: Path) -> None:
    workspace = reopen(folder)
    for name, seed in (("base_a", 70), ("base_b", 71), ("base_c", 72)):
        add_checkpoint(workspace, name, "sdxl")
        art = draw_icon(folder.parent / "made" / f"{name}.png", seed=seed)
        add_asset(workspace, PROJECT, art, title=f"By {name}", checkpoint_id=name)

    build(folder, *ICONS, "--checkpoint", "base_a,base_b")

    assert "By base_c" not in titles(folder)
    assert {"By base_a", "By base_b", "Found"} <= titles(folder)
    assert document(folder)["captionRule"]["checkpointId"] == ""


def test_a_new_dataset_for_a_model_that_reads_sentences_has_sentences(folder: Path) -> None:
    workspace = reopen(folder)
    add_checkpoint(workspace, "flux_dev", "flux1")
    words = ("--checkpoint", "flux_dev", "--trigger", "nctyicon", "--caption", "tags+spec+title")

    build(folder, *ICONS, *words)
    sentence = document(folder)["items"][0]["caption"]
    build(folder, "--template", "tags")
    between_commas = document(folder)["items"][0]["caption"]
    build(folder, "--suffix", "flat")

    assert sentence == "nctyicon, ui icon of Icon 0: flat, red."
    assert between_commas == "nctyicon, flat, red, Icon 0"
    assert "template" not in document(folder)["captionRule"]


def test_a_template_of_ones_own_is_kept_in_full_and_repeated(folder: Path) -> None:
    own = "{trigger}: {tags.color} {type}[, {tags}]"

    build(folder, *ICONS, "--trigger", "nctyicon", "--template", own)
    before = tree_digest(folder / "data")
    build(folder)

    assert document(folder)["captionRule"]["template"] == own
    assert document(folder)["items"][0]["caption"] == "nctyicon: red ui icon, flat"
    assert tree_digest(folder / "data") == before


def test_a_template_that_somebody_broke_by_hand_is_refused_with_its_place(folder: Path) -> None:
    build(folder, *ICONS, "--template", "{tags}")
    path = folder / "data/projects/neon_city/datasets/icons.json"
    path.write_text(path.read_text("utf-8").replace('"{tags}"', '"{tags.__class__}"'), "utf-8")

    error = refused(folder)
    answer = invoke(["validate", "--json"], folder)

    assert error["code"] == "caption_invalid"
    assert "at character 1, which is no slot" in error["message"]
    codes = {one["code"]: one["severity"] for one in answer.document["data"]["findings"]}
    assert codes["caption_template_invalid"] == "error"


def test_the_rule_is_told_in_words(folder: Path) -> None:
    limits = ("--balance", "color", "--limit-each", "2", "--limit", "5", "--seed", "4")
    build(folder, *ICONS, "--license", "CC0-1.0,MIT", "--since", "2026-02-01", *limits,
          "--template", "{type}: {tags}")  # fmt: skip

    lines = invoke(["dataset", "show", "icons"], folder).stdout.splitlines()

    assert lines[1] == (
        "  selects    approved · ui_icon · under CC0-1.0 or MIT · made since 2026-02-01 · "
        "even over color, at most 2 of each · at most 5 · seed 4"
    )
    assert lines[2:4] == ["  captions   tags", "             {type}: {tags}"]


@pytest.mark.parametrize(
    ("argv", "title", "reason"),
    [
        (("--balance", "color", "--limit-each", "1"), "Icon", "color:red has its 1 already"),
        (("--balance", "color"), "Found", "no tag of the group color"),
        (("--license", "CC-BY-4.0"), "Found", "no licence is recorded"),
    ],
)
def test_show_says_why_an_asset_is_not_in(
    folder: Path, argv: tuple[str, ...], title: str, reason: str
) -> None:
    build(folder, *ICONS, *argv)
    out = set(ids(folder)) - {item["assetId"] for item in document(folder)["items"]}
    before = tree_digest(folder / "data")

    told = [_explained(folder, asset_id[-8:]) for asset_id in sorted(out)]

    assert any(f"({title}" in text and reason in text for text in told)
    assert tree_digest(folder / "data") == before


def _explained(folder: Path, asset_id: str) -> str:
    return invoke(["dataset", "show", "icons", "--explain", asset_id], folder).stdout


def test_show_says_where_each_word_comes_from(folder: Path) -> None:
    build(folder, *ICONS, "--trigger", "nctyicon", "--template", "sentence", "--with-tokens")
    asset_id = document(folder)["items"][0]["assetId"]

    answer = invoke(["dataset", "show", "icons", "--explain", asset_id[-8:]], folder)

    table = dict(re.split(r" {2,}", f"{line}  ")[:2] for line in answer.stdout.splitlines()[4:])
    assert answer.stdout.startswith(f"{asset_id} in icons")
    assert table["nctyicon"] == "trigger word"
    assert table["ui icon"] == "asset type"
    assert "token of style flat" in answer.stdout


def test_show_names_what_no_asset_is(folder: Path) -> None:
    build(folder, *ICONS)

    answer = invoke(["dataset", "show", "icons", "--explain", "nothing", "--json"], folder)

    assert (answer.exit_code, answer.error["code"]) == (3, "record_not_found")


def test_an_asset_that_came_since_says_that_the_next_build_takes_it(folder: Path) -> None:
    build(folder, *ICONS)
    art = draw_icon(folder.parent / "fresh.png", seed=80)
    fresh = add_asset(reopen(folder), PROJECT, art, title="Fresh")

    answer = invoke(["dataset", "show", "icons", "--explain", fresh.id], folder)

    assert "it comes in with the next lora dataset build icons" in answer.stdout
