"""``lora dataset check`` as people and scripts use it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_pipeline.catalog.records import Checkpoint, CheckpointLicense, Weights
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from tests.support import checks_builders as pictures
from tests.support.catalog_builders import add_asset, add_catalogs
from tests.support.workspace_builders import (
    ACTOR,
    Answer,
    commit_all,
    git,
    invoke,
    make_workspace,
    reopen,
    run_lora,
    tree_digest,
)

PROJECT = "neon_city"
SIZE = 128
RULE = ("--asset-type", "ui_icon", "--trigger", "nctyicon")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace of sixteen clean photos, and one of each of five defects."""
    workspace = make_workspace(tmp_path_factory.mktemp("template") / "studio", project=PROJECT)
    add_catalogs(workspace, PROJECT)
    changes = Changes(workspace)
    model = Checkpoint(
        id="small-model",
        name="Small",
        created_at=workspace.now(),
        updated_at=workspace.now(),
        supported_asset_types=("ui_icon",),
        architecture="sd15",
        native_resolution=SIZE,
        digest=f"sha256:{'0' * 64}",
        weights=Weights(kind="external", uri="https://studio.example/small"),
        license=CheckpointLicense(id="CC0-1.0", commercial_loras="yes"),
    )
    changes.create(model, Scope(PROJECT), "small-model")
    changes.apply()
    art = workspace.root.parent / "art"
    drawn = {f"photo {seed}": pictures.photo(seed, SIZE) for seed in range(16)}
    drawn |= {
        "fog": pictures.blurred(pictures.photo(30, SIZE)),
        "stamp": pictures.photo(31, SIZE // 2),
        "framed": pictures.framed(pictures.photo(32, SIZE), 6),
        "photo 3 again": pictures.cropped(pictures.photo(3, SIZE), 0.05),
        "ghost": Image.new("RGBA", (SIZE, SIZE), (255, 255, 255, 0)),
    }
    for number, (title, image) in enumerate(drawn.items()):
        path = pictures.save(image, art / f"{title}.png")
        tags = ("style:flat", f"color:{'red' if number % 7 else 'blue'}", "shape:star")
        prompt = f"number {number} of a series"
        add_asset(workspace, PROJECT, path, title=title, tags=tags, prompt=prompt)
    commit_all(workspace.root, "Art")
    folder = workspace.root
    built = invoke(["dataset", "build", "photos", *RULE, "--caption", "tags+spec+title"], folder)
    assert built.exit_code == 0, built.stderr
    commit_all(folder, "Dataset")
    assert invoke(["dataset", "check", "photos"], folder).exit_code == 1  # fills the cache
    return folder


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    return shutil.copytree(template, tmp_path / "studio")


def check(folder: Path, *argv: str) -> Answer:
    return invoke(["dataset", "check", *argv], folder)


def data(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = answer.document["data"]
    return found


def by_code(answer: Answer) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for one in data(answer)["findings"]:
        if not one["acknowledged"]:
            names.setdefault(one["code"], []).extend(asset["name"] for asset in one["assets"])
    return {code: sorted(found) for code, found in names.items()}


def asset_of(folder: Path, title: str) -> str:
    listed = invoke(["asset", "list", "--title", title, "--json"], folder).document
    found: str = listed["data"]["assets"][0]["id"]
    return found


def all_files(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in tree_digest(folder).items() if ".lora/" not in name}


def test_every_planted_defect_is_found_and_nothing_else(folder: Path) -> None:
    answer = check(folder, "--json")

    assert answer.exit_code == 1
    assert by_code(answer) == {
        "transparent": ["ghost"],
        "small": ["stamp"],
        "blurred": ["fog"],
        "border": ["framed"],
        "near_duplicate": ["photo 3", "photo 3 again"],
        "imbalance": [],
    }
    severities = {one["code"]: one["severity"] for one in data(answer)["findings"]}
    assert (severities["small"], severities["transparent"]) == ("error", "error")
    assert answer.error["code"] == "check_failed"
    assert "2 errors" in answer.error["message"]


def test_a_manifest_is_checked_for_its_checkpoint_its_captions_and_its_number(
    folder: Path,
) -> None:
    answer = check(folder, "photos", "--json")

    assert data(answer)["checkpointId"] == "small-model"
    assert data(answer)["nativeResolution"] == SIZE
    assert data(answer)["images"] == 21
    codes = {one["code"] for one in data(answer)["findings"]}
    assert {"small", "blurred", "border", "near_duplicate", "transparent"} <= codes
    assert {one for one in codes if one.startswith("few")} == set()  # 20 to 80 are recommended


def test_findings_are_told_by_rule_with_the_images_and_the_way_out(folder: Path) -> None:
    answer = check(folder, "photos")

    lines = [line.strip() for line in answer.stdout.splitlines()]
    assert lines[0] == "photos · 21 images · 2 errors, 4 warnings"
    assert lines[1].split() == ["for", "small-model,", "128", "px"]
    assert "blurred · 1   [blurred]" in answer.stdout
    fog = asset_of(folder, "fog")
    assert f'→ lora asset reject {fog} --note "blurred"' in lines
    assert any(line.startswith("next") and "--acknowledge" in line for line in lines)
    assert answer.stdout.index("too small") < answer.stdout.index("blurred")


def test_each_image_is_decoded_once_in_the_life_of_a_workspace(folder: Path) -> None:
    cache = folder / ".lora" / "cache" / "image-measures"
    before = cache.read_bytes()

    warm = data(check(folder, "photos", "--json"))
    cache.unlink()
    cold = data(check(folder, "photos", "--json"))

    assert (warm["measuredNow"], cold["measuredNow"]) == (0, 21)
    assert warm["findings"] == cold["findings"]
    assert cache.read_bytes() == before


def test_checking_writes_nothing_that_is_in_git(folder: Path) -> None:
    check(folder, "photos")

    assert git(folder, "status", "--porcelain") == ""


def test_a_finding_is_acknowledged_with_a_reason_and_counts_no_more(folder: Path) -> None:
    fog = asset_of(folder, "fog")

    answer = check(
        folder, "photos", "--acknowledge", f"blurred:{fog[-6:]}", "--reason", "fog is meant"
    )

    assert answer.exit_code == 0, answer.stderr
    assert "1 finding acknowledged by ana@studio.example · fog is meant" in answer.stdout
    (path,) = (folder / "data" / "projects" / PROJECT / "acknowledgements").iterdir()
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["acknowledgedBy"] == ACTOR
    assert record["reason"] == "fog is meant"
    assert record["datasetId"] == "photos"
    assert [one["code"] for one in record["findings"]] == ["blurred"]
    assert record["findings"][0]["images"][0]["assetId"] == fog
    after = check(folder, "photos")
    assert "accepted" in after.stdout
    assert "fog is meant" in after.stdout
    assert "[blurred]" not in after.stdout
    assert invoke(["validate"], folder).exit_code == 0


def test_a_changed_image_is_looked_at_again(folder: Path) -> None:
    check(folder, "--acknowledge", "blurred", "--reason", "fog is meant")
    assert "blurred" not in by_code(check(folder, "--json"))

    image = pictures.save(
        pictures.blurred(pictures.photo(31, SIZE)), folder.parent / "art" / "mist.png"
    )
    add_asset(reopen(folder), PROJECT, image, title="mist", tags=("style:flat",))

    assert by_code(check(folder, "--json"))["blurred"] == ["mist"]


def test_all_findings_of_a_rule_are_acknowledged_at_once_and_not_twice(folder: Path) -> None:
    say = ("photos", "--reason", "so it is", "--acknowledge", "near_duplicate")

    first = check(folder, *say, "--acknowledge", "imbalance:color")
    before = all_files(folder)
    again = check(folder, *say)

    assert first.exit_code == again.exit_code == 0
    assert "acknowledged before; nothing to write" in again.stdout
    assert all_files(folder) == before


def test_errors_that_are_acknowledged_let_the_check_pass(folder: Path) -> None:
    say = ["--acknowledge", "small", "--acknowledge", "transparent", "--reason", "a placeholder"]
    assert check(folder, "photos", *say).exit_code == 0

    assert check(folder, "photos").exit_code == 0
    assert check(folder, "photos", "--strict").exit_code == 1


@pytest.mark.parametrize(
    ("argv", "code", "message", "hint"),
    [
        (["--acknowledge", "blurred"], "argument_invalid", "why is it accepted?", "--reason"),
        (
            ["--acknowledge", "blured", "--reason", "x"],
            "record_not_found",
            "nothing was found of the rule 'blured'",
            "did you mean blurred?",
        ),
        (
            ["--acknowledge", "imbalance:shape", "--reason", "x"],
            "record_not_found",
            "no finding imbalance is about 'shape'",
            "it is about color",
        ),
        (["--tag", "style:flat"], "argument_invalid", "a manifest says itself", "leave the"),
        (["--checkpoint", "sdxl"], "record_not_found", "no checkpoint 'sdxl'", "small-model"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(
    folder: Path, argv: list[str], code: str, message: str, hint: str
) -> None:
    before = all_files(folder)

    answer = check(folder, "photos", *argv, "--json")

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert message in answer.error["message"]
    assert hint in answer.error["hint"]
    assert all_files(folder) == before


def test_a_reason_without_a_finding_is_a_usage_error(folder: Path) -> None:
    assert check(folder, "photos", "--reason", "x").exit_code == 2


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(folder: Path) -> None:
    before = all_files(folder)

    answer = check(folder, "photos", "--acknowledge", "border", "--reason", "x", "--dry-run")

    assert answer.exit_code == 0
    assert "would write" in answer.stdout
    assert all_files(folder) == before


def test_an_acknowledgement_is_committed_with_its_reason(folder: Path) -> None:
    check(folder, "photos", "--acknowledge", "border", "--reason", "a game card", "--commit")

    subject = git(folder, "log", "-1", "--format=%s").strip()
    assert subject == "Acknowledged 1 finding of photos: a game card"


def test_assets_that_are_in_no_manifest_are_checked_by_filter(folder: Path) -> None:
    image = pictures.save(pictures.framed(pictures.photo(40, SIZE)), folder / "art" / "new.png")
    add_asset(reopen(folder), PROJECT, image, title="new", status="review", tags=("style:neon",))

    answer = check(folder, "--status", "review", "--json")

    assert by_code(answer) == {"border": ["new"]}
    assert data(answer)["images"] == 1
    nothing = check(folder, "--status", "rejected", "--json")
    assert (nothing.exit_code, nothing.error["code"]) == (3, "selection_empty")


def test_a_file_that_was_changed_or_lost_is_an_error(folder: Path) -> None:
    home = folder / "data" / "projects" / PROJECT / "files" / "images"
    first, second = sorted(home.rglob("*.png"))[:2]
    first.unlink()
    pictures.save(pictures.photo(77, SIZE), second)
    (folder / ".lora" / "cache" / "image-measures").unlink()

    codes = {one["code"] for one in data(check(folder, "photos", "--json"))["findings"]}

    assert {"file_missing", "file_changed"} <= codes


def test_images_that_are_not_here_are_not_proven_and_no_yes(folder: Path) -> None:
    home = folder / "data" / "projects" / PROJECT / "files" / "images"
    accepted = ["--acknowledge", "small", "--acknowledge", "transparent", "--reason", "so it is"]
    check(folder, "photos", *accepted)
    (folder / ".lora" / "cache" / "image-measures").unlink()
    image = next(path for path in home.rglob("*.png") if path.stat().st_size > 20_000)
    size, digest = image.stat().st_size, image.stem.ljust(64, "0")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n"
    image.write_text(pointer, encoding="utf-8")

    answer = check(folder, "photos", "--json")

    assert answer.exit_code == 1
    assert answer.error["code"] == "check_unproven"
    assert data(answer)["counts"]["not_proven"] == 1


def test_lines_are_drawn_by_the_settings_of_the_workspace(folder: Path) -> None:
    (folder / "config" / "pipeline.yaml").write_text(
        "checks:\n  edgeWidth: 20\n  smallError: 0.25\n", encoding="utf-8"
    )

    found = {
        one["code"]: one["severity"] for one in data(check(folder, "photos", "--json"))["findings"]
    }

    assert "blurred" not in found
    assert found["small"] == "warning"


def test_what_was_accepted_stays_so_when_the_project_is_renamed(folder: Path) -> None:
    check(folder, "photos", "--acknowledge", "blurred", "--reason", "fog is meant", "--commit")

    renamed = invoke(["rename", "project", PROJECT, "neon_town", "--commit"], folder)

    assert renamed.exit_code == 0, renamed.stdout + renamed.stderr
    assert "blurred" not in by_code(check(folder, "photos", "--json"))
    assert invoke(["validate"], folder).exit_code == 0


def test_agents_may_check_and_only_people_acknowledge() -> None:
    from lora_pipeline.operations.registry import find_operation

    assert find_operation("dataset.check").agents
    assert not find_operation("dataset.acknowledge").agents


def test_held_out_images_keep_their_near_duplicates_with_them(folder: Path) -> None:
    for salt in range(8):  # until one of the two is drawn
        share = ("--held-out", f"0.{salt + 1}")
        assert invoke(["dataset", "build", "photos", *share], folder).exit_code == 0
        shown = invoke(["dataset", "show", "photos", "--json"], folder).document["data"]
        sides = {item["assetId"]: item["split"] for item in shown["items"]}
        pair = {sides[asset_of(folder, title)] for title in ("photo 3", "photo 3 again")}
        assert len(pair) == 1
        if pair == {"held_out"}:
            break
    else:
        pytest.fail("eight shares held neither of the two out")
    assert shown["splitRule"]["nearDuplicates"] == "look/v1"
    staged = invoke(["dataset", "stage", "photos", "--json"], folder).document["data"]
    assert staged["images"] == sum(1 for side in sides.values() if side == "train")
    assert invoke(["dataset", "verify", "photos"], folder).exit_code == 0


def test_the_program_itself_answers_with_its_exit_status(folder: Path) -> None:
    answer = run_lora(["dataset", "check", "photos", "--quiet"], folder)

    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert answer.stderr.startswith("photos: 2 errors")
