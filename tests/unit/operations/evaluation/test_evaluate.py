from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lora_pipeline.catalog.records import Checkpoint, Weights
from lora_pipeline.evaluation.grid import problems_of_grid
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    FileMissingError,
    RecordNotFoundError,
    RendererError,
    StateError,
    UnsafePathError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluate import (
    GridOptions,
    create_evaluation,
    render_subject,
    show_evaluation,
    write_sheet,
)
from lora_pipeline.operations.evaluation.evaluation_subject import find_target, subject_of
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.evaluation_builders import (
    CHECKPOINT,
    LORA,
    PROJECT,
    SCOPE,
    SUITE,
    SUITE_YAML,
    add_release,
    add_subject,
)
from tests.support.fake_renderer import FakeRenderer
from tests.support.workspace_builders import make_workspace, reopen, tree_digest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    add_subject(workspace)
    return workspace


def grid(
    workspace: Workspace,
    drawing: FakeRenderer | None = None,
    *,
    release: str = "",
    **options: Any,
) -> Result:
    target = find_target(workspace, LORA, release, project=None, scope="project")
    subject = subject_of(
        workspace,
        target,
        suite_id=options.get("suite", ""),
        prompts=options.get("prompts", ()),
    )
    chosen = GridOptions(**{"renderer": "fake", **options})
    return render_subject(workspace, subject, chosen, {"fake": drawing or FakeRenderer()})


def evaluations(workspace: Workspace) -> list[Evaluation]:
    return [one.record for one in workspace.records.all(Evaluation, SCOPE)]


def test_a_grid_is_created_rendered_measured_and_closed(workspace: Workspace) -> None:
    result = grid(workspace)
    [record] = evaluations(workspace)
    assert result.success
    assert problems_of_grid(record) == []
    assert result.data["cellsDone"] == 12
    assert result.written == (
        f"data/projects/neon_city/evals/{record.id}.json",
        f"data/projects/neon_city/evals/{record.id}.webp",
    )
    assert result.suggestions == ("lora eval review ui_icons r1",)


def test_a_complete_grid_is_left_as_it_is(workspace: Workspace) -> None:
    grid(workspace)
    before = tree_digest(workspace.root)
    renderer = FakeRenderer()
    result = grid(workspace, renderer)
    assert (renderer.opened, result.data["kept"], result.written) == (0, 12, ())
    assert tree_digest(workspace.root) == before


def test_rendering_again_makes_another_evaluation(workspace: Workspace) -> None:
    first = grid(workspace)
    second = grid(workspace, again=True)
    assert second.data["rendered"] == 12
    assert first.data["evaluationId"] != second.data["evaluationId"]
    assert first.data["resultDigest"] == second.data["resultDigest"]
    assert len(evaluations(workspace)) == 2


def test_an_unfinished_grid_is_continued(workspace: Workspace) -> None:
    first = grid(workspace, limit=5)
    second = grid(workspace)
    assert first.data["status"] == "running"
    assert first.suggestions == ("lora eval grid ui_icons r1 --renderer fake",)
    assert second.data["evaluationId"] == first.data["evaluationId"]
    assert (second.data["kept"], second.data["rendered"]) == (5, 7)


def test_an_evaluation_that_was_created_is_the_one_that_is_rendered(workspace: Workspace) -> None:
    created = create_evaluation(workspace, LORA, notes="for the style sheet")
    result = grid(workspace)
    assert result.data["evaluationId"] == created.data["evaluationId"]
    assert evaluations(workspace)[0].notes == "for the style sheet"


def test_the_next_release_takes_over_the_base(workspace: Workspace) -> None:
    grid(workspace)
    add_release(workspace, "r2", b"other weights")
    renderer = FakeRenderer()
    result = grid(workspace, renderer)
    assert result.data["releaseId"] == "r2"
    assert (result.data["reused"], result.data["rendered"]) == (4, 8)
    assert all(cell.strength > 0 for cell in renderer.drawn)


def test_images_that_are_lost_bring_a_new_evaluation_and_leave_the_old_one(
    workspace: Workspace,
) -> None:
    grid(workspace)
    [old] = evaluations(workspace)
    open_store(workspace).path(old.cells[0].image_sha256).unlink()
    result = grid(workspace)
    assert result.data["evaluationId"] != old.id
    assert (result.data["reused"], result.data["rendered"]) == (11, 1)
    assert result.data["resultDigest"] == old.result_digest
    assert f"1 image of evaluation {old.id} is not in this store" in result.warnings[-1]
    assert workspace.records.read(Evaluation, SCOPE, old.id).record == old


def test_an_edited_suite_brings_a_new_evaluation(workspace: Workspace) -> None:
    grid(workspace)
    path = workspace.root / "config" / "suites" / f"{SUITE}.yaml"
    path.write_text(SUITE_YAML.replace("for tests", "for all tests"))
    result = grid(workspace)
    assert result.data["reused"] == 12
    assert len({one.suite_digest for one in evaluations(workspace)}) == 2


def test_other_prompts_are_another_suite(workspace: Workspace) -> None:
    result = grid(workspace, prompts=("{trigger} star", "a tree"))
    [record] = evaluations(workspace)
    assert record.prompts == ("trg star", "a tree")
    assert result.data["suiteDigest"] != grid(workspace).data["suiteDigest"]


def test_a_lora_without_effect_is_said_to_have_none(workspace: Workspace) -> None:
    result = grid(workspace, FakeRenderer(fault="no_effect"))
    assert result.data["metrics"]["effectMean"] == 0.0
    assert "changes nothing" in result.warnings[0]


def test_a_strength_that_is_ignored_is_said(workspace: Workspace) -> None:
    result = grid(workspace, FakeRenderer(fault="ignores_strength"))
    assert result.data["metrics"]["monotone"] is False
    assert "may be ignored" in result.warnings[0]


def test_holes_are_the_answer_no_and_name_the_command(workspace: Workspace) -> None:
    result = grid(workspace, FakeRenderer(fault="black", only=("trg",)))
    assert result.refusal is not None
    assert result.refusal.code == "grid_incomplete"
    assert "6 of 12 cells have an image, 6 failed: it shows one colour only" in (
        result.refusal.message
    )
    assert result.refusal.hint == "lora eval grid ui_icons r1 --renderer fake"
    assert len(result.data["failed"]) == 6


def test_a_renderer_that_is_given_up_is_the_answer_no(workspace: Workspace) -> None:
    result = grid(workspace, FakeRenderer(crash_at=1))
    assert result.refusal is not None
    assert "the renderer ended 3 times" in result.refusal.message


def test_a_dry_run_counts_and_writes_nothing(workspace: Workspace) -> None:
    before = tree_digest(workspace.root)
    renderer = FakeRenderer()
    result = grid(reopen(workspace.root, dry_run=True), renderer)
    assert (result.data["toRender"], result.dry_run, renderer.opened) == (12, True, 0)
    assert tree_digest(workspace.root) == before


def test_a_large_grid_is_drawn_only_when_somebody_said_yes(workspace: Workspace) -> None:
    path = workspace.root / "config" / "suites" / f"{SUITE}.yaml"
    path.write_text(SUITE_YAML.replace("seeds: [1, 2]", f"seeds: {list(range(40))}"))
    before = tree_digest(workspace.root)
    result = grid(workspace)
    assert result.refusal is not None
    assert result.refusal.code == "confirmation_needed"
    assert "240 cells are to be drawn" in result.refusal.message
    assert tree_digest(workspace.root) == before
    assert grid(workspace, limit=1).data["rendered"] == 1


@pytest.mark.parametrize(
    ("options", "renderer", "error", "words"),
    [
        ({"renderer": "fak"}, None, ArgumentInvalidError, "no renderer 'fak'"),
        ({"limit": 0}, None, ArgumentInvalidError, "limit must be at least 1"),
        ({"png": "sheet.jpg"}, None, ArgumentInvalidError, "does not end with .png"),
        ({"png": "models/not.png"}, None, StateError, "no PNG, it is not replaced"),
        ({"png": "../sheet.png"}, None, UnsafePathError, "leads outside the workspace"),
        ({"png": "/tmp/sheet.png"}, None, UnsafePathError, "leads outside the workspace"),
        ({}, FakeRenderer(sick="no model here"), RendererError, "no model here"),
        ({"suite": "tiny_icons"}, None, RecordNotFoundError, "no suite 'tiny_icons'"),
    ],
)
def test_bad_options_are_refused_and_nothing_is_written(
    workspace: Workspace,
    options: dict[str, Any],
    renderer: FakeRenderer | None,
    error: type[Exception],
    words: str,
) -> None:
    (workspace.root / "models" / "not.png").write_text("a text")
    before = tree_digest(workspace.root)
    with pytest.raises(error, match=words):
        grid(workspace, renderer, **options)
    assert tree_digest(workspace.root) == before


def test_a_lora_that_does_not_fit_leaves_no_evaluation_behind(workspace: Workspace) -> None:
    renderer = FakeRenderer(refuses_to_open="the LoRA does not fit this checkpoint")
    with pytest.raises(RendererError, match="does not fit"):
        grid(workspace, renderer)
    assert evaluations(workspace) == []


def test_an_evaluation_that_was_created_before_stays_when_nothing_can_be_drawn(
    workspace: Workspace,
) -> None:
    create_evaluation(workspace, LORA)
    with pytest.raises(RendererError, match="does not fit"):
        grid(workspace, FakeRenderer(refuses_to_open="does not fit"))
    assert [one.status for one in evaluations(workspace)] == ["pending"]


def test_weights_that_are_not_here_are_refused_before_anything_is_written(
    workspace: Workspace,
) -> None:
    [weights] = open_store(workspace).all()
    open_store(workspace).path(weights).unlink()
    before = tree_digest(workspace.root)
    with pytest.raises(FileMissingError, match="weights of ui_icons r1: nothing at"):
        grid(workspace)
    assert tree_digest(workspace.root) == before


def test_weights_with_other_bytes_are_refused_before_anything_is_written(
    workspace: Workspace,
) -> None:
    [weights] = open_store(workspace).all()
    open_store(workspace).path(weights).write_bytes(b"others")
    before = tree_digest(workspace.root)
    with pytest.raises(DigestMismatchError):
        grid(workspace)
    assert tree_digest(workspace.root) == before


def test_a_base_model_with_other_bytes_is_refused(workspace: Workspace) -> None:
    (workspace.root / "models" / "base.safetensors").write_bytes(b"another")
    with pytest.raises(DigestMismatchError, match="checkpoint base64"):
        grid(workspace)


def test_a_base_model_folder_with_other_bytes_is_refused(workspace: Workspace) -> None:
    folder = workspace.root / "models" / "folder"
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    loaded = workspace.records.read(Checkpoint, SCOPE, CHECKPOINT)
    weights = Weights(kind="repo_relative", path="models/folder")
    changes = Changes(workspace)
    changes.update(loaded, msgspec.structs.replace(loaded.record, weights=weights))
    changes.apply()
    with pytest.raises(DigestMismatchError, match="checkpoint base64 is sha256:"):
        grid(workspace)


def test_a_vae_that_is_not_loaded_is_said(workspace: Workspace) -> None:
    loaded = workspace.records.read(Checkpoint, SCOPE, CHECKPOINT)
    vae = Weights(kind="repo_relative", path="models/base.safetensors")
    changes = Changes(workspace)
    changes.update(loaded, msgspec.structs.replace(loaded.record, vae_weights=vae))
    changes.apply()
    assert "names a VAE, which renderer fake does not load" in grid(workspace).warnings[0]


def test_the_sheet_is_written_as_png_when_asked_for(workspace: Workspace) -> None:
    answer = grid(workspace, png=str(workspace.root / "sheet.png"))
    assert answer.data["png"] == "sheet.png"
    first = (workspace.root / "sheet.png").read_bytes()
    write_sheet(workspace, LORA, png="sheet.png")
    assert (workspace.root / "sheet.png").read_bytes() == first


def test_an_evaluation_that_cannot_be_read_is_left_aside_and_said(workspace: Workspace) -> None:
    folder = workspace.data_root / "projects" / PROJECT / "evals"
    folder.mkdir()
    (folder / "broken.json").write_text("{")
    result = grid(workspace)
    assert result.success
    assert "evaluation broken was left aside" in result.warnings[0]


def test_showing_says_what_is_missing_and_who_said_what(workspace: Workspace) -> None:
    grid(workspace, limit=5)
    result = show_evaluation(workspace, LORA, "r1")
    assert result.data["problems"] == ["7 of 12 cells have no image"]
    assert result.data["reviews"] == []
    assert result.suggestions == ("lora eval grid ui_icons r1",)


def test_showing_what_was_never_rendered_names_the_command(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError) as caught:
        show_evaluation(workspace, LORA)
    assert caught.value.hint == "lora eval grid ui_icons r1"


@pytest.mark.parametrize("words", [(LORA, ""), (LORA, "r1"), ("r1", "")])
def test_a_release_is_found_by_lora_by_both_or_by_its_own_id(
    workspace: Workspace, words: tuple[str, str]
) -> None:
    target = find_target(workspace, *words, project=None, scope="project")
    assert target.words == "ui_icons r1"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((LORA, "r9"), "no release 'r9' of ui_icons"),
        (("ui_icon", ""), "no LoRA 'ui_icon' in project neon_city"),
        (("ui_icon", "r1"), "no LoRA 'ui_icon' in project neon_city"),
    ],
)
def test_a_release_that_is_not_there_is_said(
    workspace: Workspace, words: tuple[str, str], message: str
) -> None:
    with pytest.raises(RecordNotFoundError, match=message):
        find_target(workspace, *words, project=None, scope="project")
