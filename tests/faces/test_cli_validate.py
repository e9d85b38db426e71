"""``lora validate``: what is wrong with records, each as an error with its place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.training.runs.folder import working_in
from tests.support.attacks import forged_pointer, only
from tests.support.release_builders import LORA, Studio, active_studio, add_lora, copy_of, edit
from tests.support.workspace_builders import (
    Answer,
    add_project,
    commit_all,
    invoke,
    tree_digest,
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def validate(studio: Studio, *options: str) -> Answer:
    return invoke(["validate", "--json", *options], studio.root)


def findings(answer: Answer, severity: str = "error") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = answer.document["data"]["findings"]
    return [one for one in found if one["severity"] == severity]


def messages(answer: Answer, severity: str = "error") -> str:
    return "\n".join(f"{one['code']}: {one['message']}" for one in findings(answer, severity))


def test_a_studio_that_kept_to_the_rules_is_valid(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")
    answer = validate(studio, "--require-weights", "--require-images")

    assert answer.exit_code == 0
    assert answer.document["data"]["findings"] == []
    assert answer.document["data"]["records"] == 18
    assert tree_digest(studio.root / "data") == before


def test_what_people_read_is_one_line_when_all_is_well(studio: Studio) -> None:
    answer = invoke(["validate"], studio.root)

    assert answer.stdout == "18 records checked · 0 errors\n"


# ---- records --------------------------------------------------------------------------------


def put(studio: Studio, relative: str, text: str) -> Path:
    path = studio.root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def first(studio: Studio, kind: str) -> Path:
    """Return the first file of a kind."""
    return min(studio.path(kind, "x").parent.glob("*.json"))


def commit_weights(studio: Studio) -> None:
    put(studio, "models/a.safetensors", "x")
    commit_all(studio.root, "oops")


BREAK: dict[str, Callable[[Studio], object]] = {
    "unknown path": lambda studio: put(studio, "data/shared/stuff/x.json", "{}"),
    "not JSON": lambda studio: put(studio, "data/shared/loras/x.json", "{"),
    "key twice": lambda studio: edit(
        studio.path("lora", LORA), '"id": "icons",', '"id": "icons", "id": "icons",'
    ),
    "NaN": lambda studio: edit(only(studio, "evaluation"), "0.235294", "NaN"),
    "merge marker": lambda studio: put(
        studio, "data/shared/loras/x.json", "<<<<<<< ours\n{}\n=======\n{}\n>>>>>>> theirs\n"
    ),
    "unknown field": lambda studio: edit(
        studio.path("lora", LORA), '"triggerWord"', '"trigerWord"'
    ),
    "unknown schema": lambda studio: edit(studio.path("lora", LORA), '"lora/v1"', '"lora/v9"'),
    "file renamed": lambda studio: studio.path("lora", LORA).rename(studio.path("lora", "icon")),
    "checkpoint gone": lambda studio: studio.path("checkpoint", "tiny").rename(
        studio.path("checkpoint", "tiny2")
    ),
    "spec gone": lambda studio: first(studio, "spec").unlink(),
    "asset gone": lambda studio: first(studio, "asset").unlink(),
    "unknown tag": lambda studio: edit(first(studio, "asset"), '"style:flat"', '"style:flta"'),
    "exclusive tags": lambda studio: edit(
        first(studio, "asset"),
        '"style:flat"',
        '"style:flat", "style:neon"',
    ),
    "unknown asset type": lambda studio: edit(studio.path("lora", LORA), '"ui_icon"', '"ui_icn"'),
    "trigger twice": lambda studio: add_lora(studio.workspace, "logos", trigger_word="STKR"),
    "token": lambda studio: edit(
        studio.path("lora", LORA), '"name": "Icons"', '"name": "hf_' + "a" * 30 + '"'
    ),
    "unsafe path": lambda studio: edit(
        first(studio, "asset"),
        '"originalPath": "projects',
        '"originalPath": "../projects',
    ),
    "other project": lambda studio: edit(
        first(studio, "spec"),
        '"projectId": "neon_city"',
        '"projectId": "neon_town"',
    ),
    "unknown policy": lambda studio: edit(
        studio.path("project", "project"),
        '"id": "neon_city"',
        '"gate": {"ui_icon": "standart"}, "id": "neon_city"',
    ),
    "weights in Git": commit_weights,
    "contact sheet exchanged": lambda studio: (
        only(studio, "evaluation").with_suffix(".webp").write_bytes(b"another picture")
    ),
    "bad suite": lambda studio: edit(
        studio.root / "config" / "suites" / "tiny.yaml", "seeds: [1, 2]", "seeds: [1, 1]"
    ),
    "link": lambda studio: studio.path("lora", "twin").symlink_to(studio.path("lora", LORA)),
}
BREAKAGES = [
    ("unknown path", "path_unknown", "no kind of record stands at this path"),
    ("not JSON", "json_invalid", "line 1, column"),
    ("key twice", "json_invalid", "'id' stands twice"),
    ("NaN", "json_invalid", "NaN is not a JSON number"),
    ("merge marker", "merge_conflict", "unresolved merge"),
    ("unknown field", "record_invalid", "did you mean 'triggerWord'?"),
    ("unknown schema", "schema_unknown", "is lora/v9"),
    ("file renamed", "id_differs", "it holds the id 'icons', its place says 'icon'"),
    ("checkpoint gone", "reference_lost", "checkpointId names checkpoint tiny, which is not there"),
    ("spec gone", "reference_lost", "specId names spec"),
    ("asset gone", "reference_lost", "1 items name assets that are not there"),
    ("unknown tag", "tag_unknown", "tag style:flta is in no catalog"),
    ("exclusive tags", "tags_exclusive", "style:flat and style:neon exclude each other"),
    ("unknown asset type", "asset_type_unknown", "asset type ui_icn is in no catalog"),
    ("trigger twice", "trigger_twice", "is also that of"),
    ("token", "secret", "what looks like a token"),
    ("unsafe path", "record_invalid", "$.versions[0].variants[0].originalPath"),
    ("other project", "scope_differs", "it says project neon_town"),
    ("unknown policy", "policy_unknown", "names the policy 'standart'"),
    ("weights in Git", "weights_in_git", "a weights file is in Git"),
    ("contact sheet exchanged", "sheet_differs", "another picture"),
    ("bad suite", "record_invalid", "1 stands twice"),
    ("link", "link", "a link stands in the place of a record"),
]


@pytest.mark.parametrize(
    ("name", "code", "words"), BREAKAGES, ids=[name for name, _, _ in BREAKAGES]
)
def test_what_is_wrong_with_records_is_an_error_with_its_place(
    studio: Studio, name: str, code: str, words: str
) -> None:
    BREAK[name](studio)
    answer = validate(studio)

    assert answer.exit_code == 1
    matching = [one["message"] for one in findings(answer) if one["code"] == code]
    assert words in "\n".join(matching), messages(answer)


def test_did_you_mean_stands_in_the_fix(studio: Studio) -> None:
    BREAK["checkpoint gone"](studio)
    fixes = {one["fix"] for one in findings(validate(studio))}

    assert "did you mean tiny2?" in fixes


def test_images_that_are_not_here_are_not_proven_and_an_error_when_required(
    studio: Studio,
) -> None:
    shutil.rmtree(studio.root / "data/projects/neon_city/files")

    answer = validate(studio)
    assert answer.exit_code == 0
    assert "3 images are not on this machine" in messages(answer, "not_proven")
    assert "file_missing" in messages(validate(studio, "--require-images"))


def test_a_changed_image_is_found_when_images_are_required(studio: Studio) -> None:
    image = next((studio.root / "data/projects/neon_city/files").rglob("*.png"))
    image.write_bytes(image.read_bytes() + b"\0")

    assert validate(studio).exit_code == 0
    assert "image_changed" in messages(validate(studio, "--require-images"))


def test_what_an_interrupted_write_left_is_a_warning_that_says_how_to_remove_it(
    studio: Studio,
) -> None:
    put(studio, "data/shared/loras/.lora-tmp-abc", "{")
    answer = validate(studio)

    assert answer.exit_code == 0
    [warning] = findings(answer, "warning")
    assert warning["code"] == "left_over"
    assert warning["fix"] == "rm data/shared/loras/.lora-tmp-abc"


def test_records_of_the_base_format_that_we_do_not_use_are_left_alone(studio: Studio) -> None:
    put(studio, "data/projects/neon_city/jobs/01ARZ3NDEKTSV4RRFFQ69G5FAV.json", "{}")
    answer = validate(studio)

    assert answer.exit_code == 0
    assert "1 record of the base format" in messages(answer, "info")


def test_a_lora_of_the_base_format_is_read_and_its_pointer_is_not_believed(
    studio: Studio,
) -> None:
    put(
        studio,
        "data/projects/neon_city/loras/old.json",
        json.dumps(
            {
                "id": "old",
                "name": "Old",
                "createdAt": "2024-01-01T00:00:00Z",
                "updatedAt": "2024-01-01T00:00:00Z",
                "scope": "project",
                "checkpointId": "tiny",
                "assetTypes": ["ui_icon"],
                "activeReleaseId": "v1",
                "releases": [
                    {"id": "v1", "createdAt": "2024-01-01T00:00:00Z", "status": "approved"}
                ],
            }
        ),
    )
    found = messages(validate(studio))

    assert "v1 is active, and no promotion is on record" in found
    assert "v1 names no weights" in found


def test_one_project_can_be_checked_alone(studio: Studio) -> None:
    add_project(studio.workspace, "other")
    put(studio, "data/projects/other/loras/x.json", "{")

    assert validate(studio).exit_code == 1
    assert validate(studio, "--project", "neon_city").exit_code == 0
    assert validate(studio, "--project", "other").exit_code == 1


def test_an_unknown_project_is_named_with_a_near_one(studio: Studio) -> None:
    answer = validate(studio, "--project", "neon_cty")

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"
    assert answer.error["hint"] == "did you mean neon_city?"


def test_findings_of_one_file_stand_together(studio: Studio) -> None:
    forged_pointer(studio)
    lines = invoke(["validate"], studio.root).stdout.splitlines()

    assert lines[0].startswith("18 records checked · ")
    assert sum("loras/icons.json" in line for line in lines) == 1
    assert any("r2 is active, the history says r1" in line for line in lines)


def interrupted_run(studio: Studio) -> str:
    path = first(studio, "run")
    edit(path, '"state": "ready"', '"state": "training"')
    return path.stem


def test_a_run_that_nothing_works_on_any_more_says_how_to_go_on(studio: Studio) -> None:
    run_id = interrupted_run(studio)
    (studio.root / ".lora" / "runs" / run_id).mkdir(parents=True, exist_ok=True)
    [warning] = findings(validate(studio), "warning")

    assert warning["code"] == "run_interrupted"
    assert warning["fix"] == f"lora run resume {run_id}, or lora run cancel {run_id}"


def test_a_run_of_another_machine_is_left_in_peace(studio: Studio) -> None:
    run_id = interrupted_run(studio)
    shutil.rmtree(studio.root / ".lora" / "runs" / run_id)
    answer = validate(studio)

    assert findings(answer, "warning") == []
    assert "is training, on another machine" in messages(answer, "info")


def test_a_run_that_works_right_now_is_no_finding(studio: Studio) -> None:
    run_id = interrupted_run(studio)
    with working_in(studio.root / ".lora" / "runs" / run_id, "2026-03-01T12:00:00Z"):
        answer = validate(studio)

    assert not {"run_interrupted", "run_elsewhere"} & {
        one["code"] for one in answer.document["data"]["findings"]
    }


def test_a_run_whose_release_was_not_written_any_more_says_how_to_complete_it(
    studio: Studio,
) -> None:
    path = studio.path("lora", LORA)
    document = json.loads(path.read_text())
    lost = document["releases"].pop()
    path.write_text(json.dumps(document))
    [warning] = findings(validate(studio), "warning")

    assert warning["code"] == "release_missing"
    assert warning["fix"] == f"lora run resume {lost['training']['runId']}"
