"""Renderers that deceive, grids that are no evidence: drawn, approved and promoted for real.

``docs/gate-attacks.md`` lists them; ``tests/unit/releases/test_gate_table.py`` holds it to this.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.effect import summarise
from lora_pipeline.evaluation.grid import result_digest
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.training_captions import training_captions
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.judge import bound_evidence
from lora_pipeline.releases.judging import judge
from lora_pipeline.releases.records import HistoryEntry
from lora_pipeline.workspace.store import open_store
from tests.support import attacks, faulty_drawing, gate_walks
from tests.support.fake_renderer import FakeRenderer
from tests.support.faulty_drawing import DeceivingRenderer
from tests.support.gate_walks import errors, promote, refusing, validate
from tests.support.metric_builders import make_tiny_copy_model
from tests.support.release_builders import (
    KIM,
    LORA,
    SCOPE,
    SUITE,
    Studio,
    add_grid,
    add_review,
    copy_of,
    judge_by,
    make_studio,
)
from tests.support.workspace_builders import Answer, commit_all, invoke, tree_digest

Draw = Callable[..., Answer]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio whose r1 is a candidate that was never drawn."""
    return make_studio(tmp_path_factory.mktemp("grids") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


@pytest.fixture
def draw(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Draw:
    """Renders the grid of r1 by the command line, with a renderer that can be told to deceive."""

    def drawn(renderer: FakeRenderer | None = None, *options: str) -> Answer:
        faulty_drawing.register(monkeypatch, renderer or FakeRenderer())
        command = ["eval", "grid", LORA, "r1", "--suite", SUITE, "--renderer", "fake", "--json"]
        return invoke([*command, *options], studio.root)

    return drawn


def approve(studio: Studio, *options: str) -> Answer:
    return invoke(["eval", "approve", LORA, "r1", "--json", "--as", KIM, *options], studio.root)


def grid(studio: Studio) -> Evaluation:
    [loaded] = studio.workspace.records.all(Evaluation, SCOPE)
    return loaded.record


def with_prompts(studio: Studio, *lines: str) -> None:
    """Add prompts to the suite and commit that."""
    path = studio.root / "config" / "suites" / f"{SUITE}.yaml"
    text = path.read_text()
    added = "".join(f"  - {line}\n" for line in lines)
    path.write_text(text.replace("seeds: [1, 2]\n", f"{added}seeds: [1, 2]\n"))
    commit_all(studio.root, "More to look at")


def with_captions(studio: Studio) -> Manifest:
    """Give every image a caption of its own, as if r1 had been trained on these; return them."""
    path = studio.path("dataset", "icons")
    manifest = Manifest.from_dict(json.loads(path.read_text()))
    items = tuple(
        replace(one, caption=f"stkr, icon number {number}")
        for number, one in enumerate(manifest.items)
    )
    manifest = replace(manifest, items=items)
    manifest = replace(manifest, content_hash=hash_of_manifest(manifest))
    gate_walks.rewrite(path, manifest, "items")
    for file in [studio.path("lora", LORA), attacks.only(studio, "run")]:
        document = json.loads(file.read_text())
        trained = document["releases"][0]["training"] if "releases" in document else document
        trained["manifestHash"] = manifest.content_hash
        file.write_text(json.dumps(document))
    with_prompts(
        studio,
        "{id: caption_one, kind: training_caption}",
        "{id: caption_two, kind: training_caption}",
    )
    return manifest


def test_an_honest_grid_is_drawn_approved_and_promoted(studio: Studio, draw: Draw) -> None:
    assert draw().exit_code == 0
    assert approve(studio).exit_code == 0
    assert promote(studio, "r1").exit_code == 0
    assert validate(studio).exit_code == 0


# ---- renderers that deceive -----------------------------------------------------------------


def test_a_renderer_that_draws_the_base_shows_no_effect(studio: Studio, draw: Draw) -> None:
    told = draw(FakeRenderer(fault="no_effect"))
    approve(studio)
    found = refusing(promote(studio, "r1"))

    assert any("changes nothing" in one for one in told.document["warnings"])
    assert found["effect"] == "0.000 mean difference to base, needs 0.020"
    assert "the same as another with other settings" in found["cells"]


def test_a_renderer_that_ignores_the_strength_is_found_out(studio: Studio, draw: Draw) -> None:
    draw(FakeRenderer(fault="ignores_strength"))
    approve(studio)

    assert "more strength changes less" in refusing(promote(studio, "r1"))["effect"]


@pytest.mark.parametrize(
    ("renderer", "words"),
    [
        (FakeRenderer(fault="black"), "it shows one colour only"),
        (
            DeceivingRenderer(deceit=faulty_drawing.grey_where_numbers_are_none),
            "it shows one colour only",
        ),
        (FakeRenderer(fault="wrong_size"), "8 x 16"),
        (FakeRenderer(fault="truncated"), ""),
        (FakeRenderer(fault="no_file"), ""),
    ],
    ids=["black", "nan", "wrong_size", "truncated", "no_file"],
)
def test_a_cell_without_a_usable_picture_leaves_a_hole_that_nobody_can_approve(
    studio: Studio, draw: Draw, renderer: FakeRenderer, words: str
) -> None:
    drawn = draw(renderer)
    approved = approve(studio)

    assert drawn.exit_code == 1
    assert all(cell.error for cell in grid(studio).cells if cell.strength > 0)
    assert words in grid(studio).cells[1].error
    assert (approved.exit_code, approved.error["code"]) == (3, "evaluation_incomplete")
    assert "4 of 12 cells, 8 failed" in refusing(promote(studio, "r1"))["grid"]


def test_a_renderer_that_ignores_the_seed_shows_the_same_twice(studio: Studio, draw: Draw) -> None:
    draw(DeceivingRenderer(deceit=faulty_drawing.one_seed_for_all()))
    approve(studio)

    assert refusing(promote(studio, "r1"))["cells"] == "6 the same as another with other settings"


def test_a_grid_is_of_one_session_and_a_second_one_draws_it_all_anew(
    studio: Studio, draw: Draw
) -> None:
    draw(FakeRenderer(version="1.0"), "--limit", "6")
    second = FakeRenderer(version="2.0")
    told = draw(second)

    assert len(second.drawn) == 12
    assert "images of both cannot be compared" in json.dumps(told.document)
    assert {one.renderer.version for one in [grid(studio)] if one.renderer} == {"2.0"}


def test_cells_of_two_sessions_put_together_by_hand_are_no_grid(studio: Studio, draw: Draw) -> None:
    """Half a grid of one renderer, half of another: the digest of the result is of neither."""
    draw(FakeRenderer(version="1.0"))
    approve(studio)
    first = grid(studio)
    draw(FakeRenderer(version="2.0", fault="no_effect"), "--again")
    path = studio.path("evaluation", first.id)
    other = next(
        one.record for one in studio.workspace.records.all(Evaluation, SCOPE)
        if one.record_id != first.id
    )  # fmt: skip
    studio.path("evaluation", other.id).unlink()
    mixed = replace(first, cells=(*first.cells[:6], *other.cells[6:]))
    gate_walks.rewrite(path, mixed, "cells")
    assert "not that of its cells" in refusing(promote(studio, "r1"))["result"]

    sealed = replace(mixed, result_digest=result_digest(mixed))
    gate_walks.rewrite(path, sealed, "cells")
    found = refusing(promote(studio, "r1"))
    assert f"{KIM} approved another grid" in found["approvals"]
    assert "measure otherwise than recorded" in found["images"]


def test_what_the_renderer_could_not_prove_is_not_proven(studio: Studio, draw: Draw) -> None:
    draw(FakeRenderer(unproven=("which base model it used",)))
    approve(studio)

    assert "which base model it used" in refusing(promote(studio, "r1"))["grid"]


def test_weights_that_left_the_store_are_not_promoted(studio: Studio, draw: Draw) -> None:
    draw()
    approve(studio)
    open_store(studio.workspace).path(grid(studio).weights_sha256).unlink()
    before = tree_digest(studio.root / "data")

    answer = promote(studio, "r1")
    emergency = promote(studio, "r1", "--emergency", "--reason", "it must go out today")

    assert answer.exit_code == emergency.exit_code == 1
    assert "weights of r1 are not on this machine" in refusing(answer)["weights"]
    assert tree_digest(studio.root / "data") == before


# ---- suites ---------------------------------------------------------------------------------


def test_a_plan_without_prompts_is_no_plan(studio: Studio, draw: Draw) -> None:
    path = studio.root / "config" / "suites" / f"{SUITE}.yaml"
    document = path.read_text()
    start, end = document.index("prompts:"), document.index("seeds:")
    path.write_text(f"{document[:start]}prompts: []\n{document[end:]}")

    answer = draw()

    assert (answer.exit_code, answer.error["code"]) == (3, "record_invalid")
    assert "$.prompts" in answer.error["message"]
    assert studio.workspace.records.ids(Evaluation, SCOPE) == []


def test_a_plan_of_ten_thousand_cells_is_asked_about_with_its_price(
    studio: Studio, draw: Draw
) -> None:
    with_prompts(
        studio, *(f'{{id: p{number}, text: "{number}", kind: in_domain}}' for number in range(8))
    )
    path = studio.root / "config" / "suites" / f"{SUITE}.yaml"
    seeds = ", ".join(str(number) for number in range(1, 65))
    strengths = ", ".join(f"{number / 20:g}" for number in range(1, 17))
    text = path.read_text().replace("seeds: [1, 2]", f"seeds: [{seeds}]")
    path.write_text(text.replace("strengths: [0.5, 1.0]", f"strengths: [{strengths}]"))

    answer = draw(FakeRenderer(costs=0.01))

    assert (answer.exit_code, answer.error["code"]) == (1, "confirmation_needed")
    assert "10,880 cells are to be drawn" in answer.error["message"]
    assert "for about 108.83 USD" in answer.error["message"]
    assert answer.document["suggestions"][0].endswith("--yes")
    assert studio.workspace.records.ids(Evaluation, SCOPE) == []


def test_what_breaks_a_rule_is_not_approved(studio: Studio, draw: Draw) -> None:
    with_prompts(studio, '{id: sign, text: "{trigger} sign", kind: must_never, what: letters}')
    draw()
    refused = invoke(
        ["eval", "review", LORA, "r1", "--verdict", "approved", "--broken", "sign", "--json",
         "--as", KIM],
        studio.root,
    )  # fmt: skip
    assert (refused.exit_code, refused.error["code"]) == (3, "argument_invalid")
    assert "sign must never show letters" in refused.error["message"]

    add_review(studio, grid(studio), broken=("sign",))
    assert f"{KIM} approved what breaks the rule of sign" in refusing(promote(studio, "r1"))[
        "approvals"
    ]  # fmt: skip


def without_the_hard_prompt(studio: Studio, suite_id: str = SUITE) -> None:
    """Write the suite as it would be easier: nothing asks what shows without the trigger word."""
    folder = studio.root / "config" / "suites"
    easier = [
        line.replace(f"id: {SUITE}", f"id: {suite_id}")
        for line in (folder / f"{SUITE}.yaml").read_text().splitlines()
        if "no_trigger" not in line
    ]
    (folder / f"{suite_id}.yaml").write_text("\n".join(easier) + "\n")


def test_another_suite_for_the_asset_type_is_only_a_look(studio: Studio, draw: Draw) -> None:
    without_the_hard_prompt(studio, "easy")
    commit_all(studio.root, "Another suite")
    draw(None, "--suite", "easy")
    approve(studio)

    assert refusing(promote(studio, "r1"))["suite"] == (
        "easy is for a look: ui_icon is judged by tiny"
    )


def test_an_easier_suite_does_not_come_with_the_promotion(studio: Studio, draw: Draw) -> None:
    without_the_hard_prompt(studio)
    draw()
    approve(studio)
    answer = promote(studio, "r1")

    assert answer.document["suggestions"] == ["git diff HEAD -- config data"]
    assert refusing(answer)["suite_before"] == (
        "changed together with the promotion; tiny of HEAD asks for 6 cells that the grid lacks, "
        "first: plain seed 1"
    )


def _other_suite_by_catalog(studio: Studio) -> None:
    without_the_hard_prompt(studio, "easy")
    judge_by(studio.workspace, "easy")


@pytest.mark.parametrize(
    ("change", "suite"), [(without_the_hard_prompt, SUITE), (_other_suite_by_catalog, "easy")]
)
def test_an_easier_suite_and_the_promotion_on_one_branch_are_found_before_the_merge(
    studio: Studio, draw: Draw, change: Callable[[Studio], None], suite: str
) -> None:
    base = gate_walks.head(studio)
    change(studio)
    commit_all(studio.root, "Easier")
    draw(None, "--suite", suite)
    approve(studio)
    assert promote(studio, "r1").exit_code == 0
    commit_all(studio.root, "r1 is active")

    assert validate(studio).exit_code == 0
    assert "tiny of" in errors(validate(studio, "--base", base))
    assert "asks for 6 cells that the grid lacks" in errors(validate(studio, "--base", base))


def test_a_suite_that_asks_for_more_may_come_with_the_promotion(studio: Studio, draw: Draw) -> None:
    path = studio.root / "config" / "suites" / f"{SUITE}.yaml"
    more = '  - {id: extra, text: "{trigger}, a tree", kind: novel_context}\nseeds:'
    path.write_text(path.read_text().replace("seeds:", more))
    draw()
    approve(studio)
    conditions = promote(studio, "r1").document["data"]["conditions"]
    [found] = [one for one in conditions if one["id"] == "suite_before"]

    assert found["status"] == "pass"
    assert found["reason"] == "changed, and the grid holds every cell of tiny of HEAD as well"


def test_a_made_up_grid_that_was_promoted_by_hand_is_measured_by_validate(studio: Studio) -> None:
    """Values that no image shows are sealed, and the pointer is written with a proper chain."""
    drawn = add_grid(studio, lift=4)
    assert drawn.suite is not None
    cells = tuple(
        replace(one, effect=0.4 * one.strength if one.strength else None) for one in drawn.cells
    )
    forged = replace(drawn, cells=cells, metrics=summarise(drawn.suite, cells, 0))
    forged = replace(forged, result_digest=result_digest(forged))
    gate_walks.rewrite(studio.path("evaluation", drawn.id), forged, "cells")
    add_review(studio, forged)
    loaded = studio.lora()
    reader = EvidenceReader(studio.workspace, studio.workspace.records)
    judged = judge(reader, loaded, loaded.record.releases[0])
    entry = HistoryEntry(
        event="promoted", at="2026-03-01T12:00:00Z", by=KIM, release_id="r1",
        evidence=bound_evidence(judged.evidence, judged.decision),
    )  # fmt: skip
    approved = replace(loaded.record.releases[0], status="approved")
    gate_walks.grown_history(studio, entry, active_release_id="r1", releases=(approved,))

    assert "measure otherwise than recorded" in errors(validate(studio, "--require-images"))
    assert "measure otherwise than recorded" in refusing(promote(studio, "r1"))["images"]


# ---- copies of training images --------------------------------------------------------------


def a_trained_image(studio: Studio) -> Path:
    name = Path(with_captions(studio).items[0].path).name
    [found] = studio.workspace.data_root.rglob(name)
    return found


def test_a_training_image_among_the_cells_is_named_before_anybody_judges(
    studio: Studio, draw: Draw
) -> None:
    art = a_trained_image(studio)
    draw(DeceivingRenderer(deceit=faulty_drawing.copy_of_file(art)))
    shown = invoke(["eval", "show", LORA, "r1", "--json"], studio.root)
    attacks.write_policy(studio, maxCopySimilarity=0.75)
    approve(studio)

    nearest: dict[str, Any] = shown.document["data"]["metrics"]["lookAlike"]
    assert nearest["similarity"] > 0.9
    assert nearest["same"] >= 1
    assert "copyModel is not set" in refusing(promote(studio, "r1"))["copy"]


@pytest.mark.train
@pytest.mark.slow
def test_a_copy_of_a_training_image_is_refused_by_its_descriptor(
    studio: Studio, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    model = make_tiny_copy_model(studio.root.parent / "copies.pt")
    monkeypatch.setenv("LORA_COPY_MODEL", str(model))
    art = a_trained_image(studio)
    attacks.write_policy(studio, maxCopySimilarity=0.75)
    draw(DeceivingRenderer(deceit=faulty_drawing.copy_of_file(art)))
    approve(studio)

    assert (
        "is the highest similarity to a training image, at most 0.75"
        in refusing(promote(studio, "r1"))["copy"]
    )


def test_training_captions_are_those_of_the_manifest_that_was_trained_on(
    studio: Studio, draw: Draw
) -> None:
    manifest = with_captions(studio)
    assert draw().exit_code == 0
    suite = grid(studio).suite
    assert suite is not None
    asked = training_captions(suite, manifest)

    assert asked == tuple(one.caption for one in sorted(manifest.items, key=lambda x: x.sha256)[:2])
    assert [cell.prompt for cell in grid(studio).cells if "caption" in cell.prompt_id][::6] == list(
        asked
    )
    approve(studio)
    assert promote(studio, "r1").exit_code == 0
    assert validate(studio).exit_code == 0


def _other_caption(evaluation: Evaluation) -> Evaluation:
    """Ask for a caption that was never trained on, with cells whose ids agree."""
    from lora_pipeline.evaluation.grid import cell_id

    cells = tuple(
        replace(cell, prompt="stkr, something that was never shown")
        if cell.prompt_id == "caption_one"
        else cell
        for cell in evaluation.cells
    )
    cells = tuple(
        replace(
            cell,
            id=cell_id(
                cell,
                weights_sha256=evaluation.weights_sha256,
                checkpoint_digest=evaluation.checkpoint_digest,
            ),
        )
        for cell in cells
    )
    return replace(evaluation, cells=cells)


def _fewer_captions(evaluation: Evaluation) -> Evaluation:
    return replace(
        evaluation, cells=tuple(one for one in evaluation.cells if one.prompt_id != "caption_two")
    )


@pytest.mark.parametrize("change", [_other_caption, _fewer_captions])
def test_other_captions_or_fewer_are_no_grid_of_this_manifest(
    studio: Studio, draw: Draw, change: Callable[[Evaluation], Evaluation]
) -> None:
    with_captions(studio)
    draw()
    made_up = change(grid(studio))
    made_up = replace(made_up, result_digest=result_digest(made_up))
    gate_walks.rewrite(studio.path("evaluation", made_up.id), made_up, "cells")
    add_review(studio, made_up)

    assert "and the captions that were trained on" in refusing(promote(studio, "r1"))["grid"]


def test_captions_of_a_manifest_that_is_gone_are_not_made_up(studio: Studio, draw: Draw) -> None:
    with_captions(studio)
    draw()
    approve(studio)
    promote(studio, "r1")
    studio.path("dataset", "icons").unlink()
    shutil.rmtree(studio.root / ".git")
    drawn = draw(None, "--again")

    assert (drawn.exit_code, drawn.error["code"]) == (3, "record_not_found")
    assert "asks for captions that icons r1 was trained on" in drawn.error["message"]
    assert "its captions cannot be told" in errors(validate(studio))
