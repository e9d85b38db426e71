"""Looking into weights, and copying them without what leaks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ArgumentInvalidError, WeightsRefusedError
from lora_pipeline.operations.training.weights import inspect_weights_file, scrub_weights
from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.workspace.root import Workspace
from tests.support.fake_trainer import MODULE, SIZE
from tests.support.training_builders import BASE, training_studio, write_lora
from tests.support.workspace_builders import make_workspace, reopen

LEAKS = {"ss_tag_frequency": '{"hero": 3}', "ss_network_dim": "4"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def test_inspection_says_what_other_programs_show_too(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata=LEAKS)

    data = inspect_weights_file(workspace, str(path)).data

    assert data["autoV2"] == data["sha256"][:10].upper()
    assert data["autoV3"] == data["tensorSha256"][:12].upper()
    assert (data["family"], data["rank"], data["modules"]) == ("peft", 4, 1)
    assert data["leaks"] == ["ss_tag_frequency"]
    assert data["fit"] is None


def test_weights_that_cannot_be_used_are_shown_and_the_answer_is_no(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "w.safetensors", up=math.inf)

    result = inspect_weights_file(workspace, str(path))

    assert result.refusal is not None
    assert result.data["findings"][0]["code"] == "not_finite"


def test_a_file_that_is_none_is_an_error(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"<html>")

    with pytest.raises(WeightsRefusedError, match="web page"):
        inspect_weights_file(workspace, str(tmp_path / "w.safetensors"))


def test_fit_is_told_against_a_checkpoint(tmp_path: Path) -> None:
    workspace = training_studio(tmp_path / "trained", git=False)
    fits = write_lora(tmp_path / "a.safetensors", modules={MODULE: (SIZE, SIZE)})
    other = write_lora(tmp_path / "b.safetensors", modules={MODULE: (SIZE, 2 * SIZE)})

    good = inspect_weights_file(workspace, str(fits), checkpoint=BASE)
    bad = inspect_weights_file(workspace, str(other), checkpoint=BASE)

    assert good.data["fit"] == {
        "checkpointId": BASE, "proven": True, "compared": "modules", "matched": 1, "unread": 0,
    }  # fmt: skip
    assert bad.refusal is not None
    assert "another size" in bad.refusal.message


def test_scrubbed_copy_keeps_every_tensor(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata=LEAKS)
    before = path.read_bytes()

    data = scrub_weights(workspace, str(path)).data

    copy = inspect_weights(tmp_path / "w-scrubbed.safetensors")
    assert path.read_bytes() == before
    assert data["removed"] == ["ss_tag_frequency"]
    assert copy.tensor_sha256 == data["tensorSha256"]
    assert copy.metadata == {"ss_network_dim": "4"}


def test_nothing_is_written_over(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata=LEAKS)

    with pytest.raises(ArgumentInvalidError, match="exists already"):
        scrub_weights(workspace, str(path), output=str(path))


def test_without_a_leak_there_is_no_copy(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors")

    assert scrub_weights(workspace, str(path)).data["output"] is None
    assert not (tmp_path / "w-scrubbed.safetensors").exists()


def test_a_dry_run_makes_no_copy(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata=LEAKS)

    result = scrub_weights(reopen(workspace.root, dry_run=True), str(path))

    assert result.dry_run
    assert not (tmp_path / "w-scrubbed.safetensors").exists()


TELLING = {
    "ss_tag_frequency": '{"hero": {"unreleased hero": 3}}',
    "ss_sample_prompts": "the villain of the third act",
    "comment": "trained by kim@studio.example",
    "notes": "see \\\\nas\\art\\falcon",
    "about": "r8_abcdefghijklmnop",
    "recipe": '{"samplePrompts": ["a hero on the moon"]}',
    "images": "hero_01.png",
}
HARMLESS = {"ss_network_dim": "4", "format": "pt", "recipe2": '{"samplePrompts": [], "rank": 4}'}


def test_paths_people_prompts_and_tokens_go_wherever_they_stand(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata={**TELLING, **HARMLESS})

    data = scrub_weights(workspace, str(path)).data

    assert data["removed"] == sorted(TELLING)
    copy = (tmp_path / "w-scrubbed.safetensors").read_bytes()
    for word in (b"hero", b"villain", b"kim@", b"falcon", b"r8_"):
        assert word not in copy


def test_strict_keeps_only_what_programs_need(workspace: Workspace, tmp_path: Path) -> None:
    codename = {"project": "falcon", "modelspec.trigger_phrase": "flt"}
    path = write_lora(tmp_path / "w.safetensors", metadata={**HARMLESS, **codename})

    data = scrub_weights(workspace, str(path), strict=True).data

    assert data["removed"] == ["project", "recipe2"]
    assert data["kept"] == ["format", "modelspec.trigger_phrase", "ss_network_dim"]


def test_the_same_file_scrubbed_twice_is_the_same(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata={**TELLING, **HARMLESS})
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"

    scrub_weights(workspace, str(path), output=str(first))
    scrub_weights(workspace, str(path), output=str(second))

    assert first.read_bytes() == second.read_bytes()


def test_a_link_in_the_place_of_the_copy_is_not_followed(
    workspace: Workspace, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata=TELLING)
    (tmp_path / "out.safetensors").symlink_to(tmp_path / "nowhere.safetensors")

    with pytest.raises(ArgumentInvalidError, match="exists already"):
        scrub_weights(workspace, str(path), output=str(tmp_path / "out.safetensors"))


@pytest.mark.parametrize(
    "text", ["a" * 2_000_000, "a@" * 1_000_000, "/a" * 1_000_000, "://" * 700_000]
)
def test_a_text_of_megabytes_is_looked_through_once(
    text: str, workspace: Workspace, tmp_path: Path
) -> None:
    """Patterns that go back and forth would need hours for this."""
    path = write_lora(tmp_path / "w.safetensors", metadata={"x": text})

    assert inspect_weights_file(workspace, str(path)).data["metadata"]["x"] == text


def test_norms_of_blocks_are_told_and_none_is_made_up(workspace: Workspace, tmp_path: Path) -> None:
    good = write_lora(tmp_path / "a.safetensors")
    broken = write_lora(tmp_path / "b.safetensors", up=math.nan)

    (block,) = inspect_weights_file(workspace, str(good)).data["norms"]["blocks"]

    assert (block["part"], block["series"], block["modules"]) == ("denoiser", "down", 1)
    assert block["norm"] > 0
    assert inspect_weights_file(workspace, str(broken)).data["norms"]["blocks"] == []


def test_a_broken_record_elsewhere_does_not_hide_the_file(tmp_path: Path) -> None:
    workspace = training_studio(tmp_path / "trained", git=False)
    (record,) = workspace.data_root.rglob("loras/*.json")
    record.write_text("{", encoding="utf-8")
    path = write_lora(tmp_path / "a.safetensors")

    result = inspect_weights_file(reopen(workspace.root), str(path))

    assert result.success
    assert any("not compared with every release" in warning for warning in result.warnings)
