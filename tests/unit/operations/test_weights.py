"""Looking into weights, and copying them without what leaks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ArgumentInvalidError, WeightsRefusedError
from lora_pipeline.operations.weights import inspect_weights_file, scrub_weights
from lora_pipeline.training.weights import inspect_weights
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
