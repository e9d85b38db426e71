"""``lora resolve``: what production uses, and why nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.workspace.store import open_store
from tests.support.attacks import deprecated_but_active, rewrite_lora, swapped_weights
from tests.support.release_builders import (
    ANA,
    LORA,
    Studio,
    active_studio,
    add_lora,
    add_release,
    copy_of,
    edit,
    make_active,
)
from tests.support.workspace_builders import Answer, invoke


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 a candidate."""
    return copy_of(template, tmp_path / "studio")


def lora(studio: Studio, *arguments: str) -> Answer:
    return invoke([*arguments, "--json"], studio.root)


def test_resolve_gives_the_file_its_digest_and_why(studio: Studio) -> None:
    data = lora(studio, "resolve", LORA).document["data"]
    path = Path(data["path"])

    assert data["releaseId"] == "r1"
    assert hashlib.sha256(path.read_bytes()).hexdigest() == data["sha256"]
    assert (data["triggerWord"], data["strength"], data["checkpointId"]) == ("stkr", 0.9, "tiny")
    assert data["explanation"]["chosen"] == "active"
    assert data["explanation"]["by"] == ANA


def test_resolve_refuses_when_nothing_is_active(studio: Studio) -> None:
    invoke(
        ["release", "deprecate", LORA, "r1", "--reason", "x", "--deactivate", "--as", ANA],
        studio.root,
    )
    answer = lora(studio, "resolve", LORA)

    assert answer.exit_code == 1
    assert answer.error["code"] == "nothing_active"
    assert {one["releaseId"]: one["reason"] for one in
            answer.document["data"]["explanation"]["skipped"]} == {
        "r1": "deprecated, not active", "r2": "a candidate, not active",
    }  # fmt: skip


def test_resolve_refuses_a_lora_that_is_switched_off(studio: Studio) -> None:
    lora(studio, "deactivate", LORA)
    answer = lora(studio, "resolve", LORA)

    assert answer.exit_code == 1
    assert answer.error["code"] == "lora_switched_off"


def test_resolve_refuses_a_candidate_that_was_asked_for_by_name(studio: Studio) -> None:
    answer = lora(studio, "resolve", LORA, "--release", "r2")

    assert answer.exit_code == 1
    assert answer.error["code"] == "release_not_usable"
    assert answer.error["message"] == "icons r2 cannot be used: r2 is a candidate"


def test_resolve_takes_an_earlier_release_that_was_asked_for(studio: Studio) -> None:
    make_active(studio, "r2")
    data = lora(studio, "resolve", LORA, "--release", "r1").document["data"]

    assert data["releaseId"] == "r1"
    assert data["explanation"]["chosen"] == "asked for by name"


def test_resolve_goes_on_to_the_newest_approved_when_the_project_allows_that(
    studio: Studio,
) -> None:
    make_active(studio, "r2")
    weights = studio.lora().record.releases[1].weights
    assert weights is not None
    open_store(studio.workspace).path(weights.sha256).unlink()
    assert lora(studio, "resolve", LORA).exit_code == 1

    edit(
        studio.path("project", "project"),
        '"id": "neon_city"',
        '"policies": {"loraSelection": {"releasePolicy": "active_or_latest_approved"}}, '
        '"id": "neon_city"',
    )
    data = lora(studio, "resolve", LORA).document["data"]

    assert data["releaseId"] == "r1"
    assert data["explanation"]["chosen"] == "newest approved"
    assert data["explanation"]["skipped"][0]["releaseId"] == "r2"
    assert "not on this machine" in data["explanation"]["skipped"][0]["reason"]


def test_images_of_the_grid_need_not_be_where_the_weights_are_used(studio: Studio) -> None:
    cells = json.loads(next(studio.path("evaluation", "x").parent.glob("*.json")).read_text())
    for cell in cells["cells"]:
        open_store(studio.workspace).path(cell["imageSha256"]).unlink()

    assert lora(studio, "resolve", LORA).exit_code == 0


def test_a_pointer_is_not_believed_because_of_a_status_word(studio: Studio) -> None:
    deprecated_but_active(studio)
    answer = lora(studio, "resolve", LORA)

    assert answer.exit_code == 1
    assert answer.error["message"] == "icons r1 cannot be used: r1 is deprecated"


def test_swapped_weights_are_never_handed_out(studio: Studio) -> None:
    swapped_weights(studio)

    assert "weights: the file is sha256" in lora(studio, "resolve", LORA).error["message"]


def test_all_loras_that_go_together_are_resolved_at_once(studio: Studio) -> None:
    add_lora(studio.workspace, "logos", trigger_word="lgo")
    answer = lora(studio, "resolve", "--asset-type", "ui_icon")
    data = answer.document["data"]

    assert answer.exit_code == 0
    assert [one["loraId"] for one in data["loras"]] == ["icons"]
    assert data["skipped"] == [{"loraId": "logos", "reason": "has no active release"}]


def test_a_lora_that_was_named_and_cannot_be_used_is_a_refusal(studio: Studio) -> None:
    add_lora(studio.workspace, "logos", trigger_word="lgo")
    answer = lora(studio, "resolve", "--asset-type", "ui_icon", "--with", "logos")

    assert answer.exit_code == 1
    assert answer.error["code"] == "lora_unresolved"


def test_resolve_needs_a_lora_or_an_asset_type(studio: Studio) -> None:
    assert invoke(["resolve"], studio.root).exit_code == 2
    assert invoke(["resolve", LORA, "--asset-type", "x"], studio.root).exit_code == 2


def test_a_record_without_a_schema_name_is_read_and_keeps_its_meaning(studio: Studio) -> None:
    path = studio.path("lora", LORA)
    document = json.loads(path.read_text())
    del document["schema"]
    path.write_bytes(strict_json.dumps(document))

    assert lora(studio, "resolve", LORA).exit_code == 0


def test_a_missing_release_is_no_reason_to_take_another(studio: Studio) -> None:
    rewrite_lora(studio, lambda record: replace(record, releases=record.releases[1:]))
    answer = lora(studio, "resolve", LORA)

    assert answer.exit_code == 1
    assert "there is no such release" in answer.error["message"]


def test_what_a_prompt_of_a1111_holds(studio: Studio) -> None:
    answer = invoke(["resolve", LORA, "--for", "a1111"], studio.root)

    assert answer.stdout.splitlines()[0] == "<lora:icons-r1:0.9>, stkr"
    assert "lora release export icons r1" in answer.stdout


def test_nodes_for_comfyui_are_joined_one_after_the_other(studio: Studio) -> None:
    add_lora(studio.workspace, "second")
    make_active(studio_with_release(studio), "r1", lora_id="second")

    data = lora(studio, "resolve", "--asset-type", "ui_icon", "--for", "comfyui").document["data"]
    nodes = json.loads(data["usage"])

    assert [one["class_type"] for one in nodes.values()] == ["LoraLoader", "LoraLoader"]
    assert nodes["lora-1"]["inputs"]["model"] == ["model", 0]
    assert nodes["lora-2"]["inputs"]["model"] == ["lora-1", 0]
    assert nodes["lora-2"]["inputs"]["clip"] == ["lora-1", 1]
    assert {one["inputs"]["lora_name"] for one in nodes.values()} == {
        "icons-r1.safetensors",
        "second-r1.safetensors",
    }


def studio_with_release(studio: Studio) -> Studio:
    add_release(studio, "r1", lora_id="second")
    return studio


def test_lines_for_diffusers_are_python_that_names_the_file(studio: Studio) -> None:
    data = lora(studio, "resolve", LORA, "--for", "diffusers").document["data"]
    calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    class Pipe:
        def __getattr__(self, name: str) -> Callable[..., None]:
            return lambda *values, **named: calls.append((name, values, named))

    first, *lines = data["usage"].splitlines()
    assert first == "from safetensors.torch import load_file"  # needs torch, which may be absent
    exec("\n".join(lines), {"pipe": Pipe(), "load_file": lambda path: f"tensors of {path}"})

    (load, (tensors,), named), (_, (names,), weights) = calls
    assert load == "load_lora_weights"
    assert tensors == f"tensors of {data['path']}"
    assert named == {"adapter_name": LORA}
    assert (names, weights["adapter_weights"]) == ([LORA], [0.9])
    assert "# prompt: stkr" in data["usage"]


def test_options_for_mflux_name_the_file_that_is_exported(studio: Studio) -> None:
    data = lora(studio, "resolve", LORA, "--for", "mflux").document["data"]

    assert data["usage"] == "--lora-paths icons-r1.safetensors --lora-scales 0.9"


def test_a_refusal_says_no_more_with_a_program(studio: Studio) -> None:
    swapped_weights(studio)

    answer = invoke(["resolve", LORA, "--for", "a1111"], studio.root)

    assert answer.exit_code == 1
    assert "<lora:" not in answer.stdout
