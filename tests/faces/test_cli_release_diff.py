"""``lora release diff`` and ``lora eval compare``: two releases at equal prompts and seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.metric_records import Compared
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.store import open_store
from tests.support.catalog_builders import add_asset, draw_icon
from tests.support.release_builders import (
    LORA,
    PROJECT,
    SCOPE,
    Studio,
    active_studio,
    add_grid,
    add_manifest,
    add_release,
    copy_of,
)
from tests.support.workspace_builders import Answer, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = active_studio(tmp_path_factory.mktemp("template") / "studio")
    add_grid(made, "r2", lift=90)
    return made


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 a candidate, both with a grid."""
    return copy_of(template, tmp_path / "studio")


def diff(studio: Studio, *arguments: str) -> Answer:
    return invoke(["release", "diff", *arguments, "--json"], studio.root)


def compare(studio: Studio, *arguments: str) -> Answer:
    return invoke(["eval", "compare", *arguments, "--json"], studio.root)


def facts_of(answer: Answer) -> dict[str, Any]:
    facts: dict[str, Any] = answer.document["data"]
    return facts


def grid_of(studio: Studio, release: str) -> Evaluation:
    return next(
        one.record
        for one in studio.workspace.records.all(Evaluation, SCOPE)
        if one.record.release_id == release
    )


def change_grid(studio: Studio, release: str, **values: Any) -> None:
    grid = grid_of(studio, release)
    loaded = studio.workspace.records.read(Evaluation, SCOPE, grid.id)
    changes = Changes(studio.workspace)
    changes.update(loaded, replace(loaded.record, **values))
    changes.apply()


def test_cells_are_paired_at_equal_prompt_seed_and_strength_and_measured(studio: Studio) -> None:
    facts = facts_of(compare(studio, LORA, "r1", "r2"))

    assert (facts["paired"], facts["onlyBefore"], facts["onlyAfter"]) == (8, 0, 0)
    assert facts["notComparable"] == []
    first = facts["cells"][0]
    assert (first["prompt"], first["seed"], first["strength"]) == ("stkr, a red star", 1, 1.0)
    assert first["difference"] == pytest.approx(30 / 255, abs=0.001)
    assert facts["meanDifference"] == pytest.approx(22.5 / 255, abs=0.001)
    measured = {one["name"]: one for one in facts["metrics"]}
    assert measured["effectMean"]["before"] == pytest.approx(60 / 255, abs=0.001)
    assert measured["effectMean"]["after"] == pytest.approx(90 / 255, abs=0.001)
    assert "recipe" not in facts


def test_diff_tells_recipe_manifest_and_weights_too(studio: Studio) -> None:
    loaded = studio.lora()
    second = loaded.record.releases[1]
    art = draw_icon(studio.root.parent / "more" / "9.png", seed=99, size=32)
    asset = add_asset(studio.workspace, PROJECT, art)
    other = add_manifest(studio.workspace, [asset], "icons_more")
    training = second.training | {
        "recipe": second.training["recipe"] | {"rank": 8},
        "datasetId": other.id,
        "manifestHash": other.content_hash,
    }
    changes = Changes(studio.workspace)
    changes.update(
        loaded,
        replace(
            loaded.record, releases=(loaded.record.releases[0], replace(second, training=training))
        ),
    )
    changes.apply()

    facts = facts_of(diff(studio, LORA, "r1", "r2"))

    assert facts["recipe"] == [{"name": "rank", "before": 4, "after": 8}]
    assert {one["name"] for one in facts["training"]} == {"datasetId", "manifestHash"}
    assert (facts["dataset"]["came"], facts["dataset"]["went"]) == (1, 3)
    assert facts["weights"]["notCompared"] == ""
    assert facts["weights"]["compared"] > 0
    assert [one["active"] for one in facts["releases"]] == [True, False]


def test_what_is_not_on_this_machine_is_said_and_the_rest_is_told(studio: Studio) -> None:
    weights = studio.lora().record.releases[1].weights
    assert weights is not None
    store = open_store(studio.workspace)
    store.path(weights.sha256).unlink()
    for cell in grid_of(studio, "r2").cells:
        if cell.strength:
            store.path(cell.image_sha256).unlink(missing_ok=True)

    answer = diff(studio, LORA, "r1", "r2")

    facts = facts_of(answer)
    assert answer.exit_code == 0
    assert "weights of r2" in facts["weights"]["notCompared"]
    assert (facts["paired"], facts["measured"], facts["meanDifference"]) == (8, 0, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"checkpoint_digest": "sha256:" + "e" * 64}, "different base models"),
        ({"suite_digest": "sha256:" + "e" * 64}, "different suites"),
    ],
)
def test_grids_that_tell_little_about_the_releases_are_said_to(
    studio: Studio, values: dict[str, Any], words: str
) -> None:
    change_grid(studio, "r2", **values)

    answer = compare(studio, LORA, "r1", "r2")

    assert any(words in one for one in answer.document["warnings"])


def test_a_base_that_was_drawn_otherwise_is_said(studio: Studio) -> None:
    cells = tuple(
        replace(cell, image_sha256="a" * 64) if not cell.strength else cell
        for cell in grid_of(studio, "r2").cells
    )
    change_grid(studio, "r2", cells=cells)

    assert any(
        "base images differ" in one
        for one in compare(studio, LORA, "r1", "r2").document["warnings"]
    )


def test_a_release_without_a_grid_is_named_with_the_command_that_draws_one(
    studio: Studio,
) -> None:
    add_release(studio, "r3")

    answer = compare(studio, LORA, "r2", "r3")

    assert answer.document["suggestions"] == ["lora eval grid icons r3"]
    assert facts_of(answer)["onlyBefore"] == 8
    assert "the newer release has no grid" in answer.document["warnings"]


def test_the_page_stands_alone_shows_the_pictures_and_escapes_the_words(studio: Studio) -> None:
    cells = tuple(
        replace(cell, prompt="<img src=x onerror=alert(1)>") for cell in grid_of(studio, "r2").cells
    )
    change_grid(studio, "r2", cells=cells)

    answer = diff(studio, LORA, "r1", "r2", "--html", "out/diff.html")

    page = (studio.root / "out" / "diff.html").read_text(encoding="utf-8")
    assert answer.document["written"] == ["out/diff.html"]
    assert page.count('<img src="data:image/webp;base64,') >= 16
    assert "onerror=alert(1)&gt;" in page
    assert "<img src=x" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_page_shows_as_many_cells_as_were_asked_for(studio: Studio) -> None:
    compare(studio, LORA, "r1", "r2", "--html", "out/c.html", "--pictures", "2")

    page = (studio.root / "out" / "c.html").read_text(encoding="utf-8")

    assert page.count("<article>") == 2
    assert "2 of 8 places, of every prompt as many" in page


def test_a_cell_that_failed_is_drawn_with_its_reason(studio: Studio) -> None:
    first, *others = grid_of(studio, "r2").cells
    failed = [
        replace(one, status="failed", image_sha256="", error="out of memory") for one in others
    ]
    change_grid(studio, "r2", status="running", cells=(first, *failed), result_digest="")

    compare(studio, LORA, "r1", "r2", "--html", "out/c.html")

    assert "not in this grid" in (studio.root / "out" / "c.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((LORA, "r1", "r9"), "record_not_found"),
        ((LORA, "r1", "r1"), "argument_invalid"),
        ((LORA, "r1", "r2", "--html", "data/x.html"), "unsafe_path"),
        ((LORA, "r1", "r2", "--html", "x.html", "--pictures", "9999"), "argument_invalid"),
    ],
)
def test_bad_words_write_nothing(studio: Studio, arguments: tuple[str, ...], code: str) -> None:
    before = tree_digest(studio.root)

    answer = diff(studio, *arguments)

    assert (answer.exit_code, answer.error["code"]) == (3, code)
    assert tree_digest(studio.root) == before


def test_people_read_it_in_a_screen(studio: Studio) -> None:
    text = invoke(["release", "diff", LORA, "r1", "r2"], studio.root).stdout

    assert text.startswith("icons r1 → r2\n")
    assert "r1         approved, active, made 2026-03-01 by lee@studio.example" in text
    assert "8 of 8 places drawn by both, mean difference 0.088" in text
    assert len(text.splitlines()) < 20


def test_measured_values_stand_beside_each_other_and_what_is_not_proven_says_why(
    studio: Studio,
) -> None:
    for release, low, high in (("r1", 0.01, 0.03), ("r2", 0.05, 0.07)):
        metrics = grid_of(studio, release).metrics
        assert metrics is not None
        palette = Compared(
            lora=0.4, base=0.4, difference=0.04, low=low, high=high, pairs=8, prompts=4
        )
        reasons = {"clipText": "no model: set metrics.clipModel"}
        change_grid(
            studio,
            release,
            metrics=replace(metrics, palette_distance=palette, not_proven=reasons),
        )

    facts = facts_of(compare(studio, LORA, "r1", "r2", "--html", "c.html"))
    page = (studio.root / "c.html").read_text(encoding="utf-8")
    words = invoke(["eval", "compare", LORA, "r1", "r2"], studio.root).stdout

    measures = {one["name"]: one for one in facts["measures"]}
    assert measures["paletteDistance"]["says"] == "farther from the training images than r1"
    assert measures["clipText"]["after"]["proven"] is False
    assert "no model: set metrics.clipModel" in page
    assert "not proven" in page
    assert "+0.040 (+0.050 to +0.070)" in page
    assert "farther from the training images than r1" in words


def test_every_pair_is_measured_and_told_by_prompt_whatever_is_shown(studio: Studio) -> None:
    facts = facts_of(compare(studio, LORA, "r1", "r2", "--html", "c.html", "--pictures", "1"))
    page = (studio.root / "c.html").read_text(encoding="utf-8")

    assert facts["measured"] == facts["paired"] == 8
    assert sum(one["pairs"] for one in facts["byPrompt"]) == 8
    means = [one["mean"] for one in facts["byPrompt"]]
    assert means == sorted(means, reverse=True)
    assert all(one["prompt"] in page for one in facts["byPrompt"])
    assert page.count("<article>") == 1


def test_pictures_are_of_every_prompt_before_a_second_one_of_any(studio: Studio) -> None:
    facts = facts_of(compare(studio, LORA, "r1", "r2", "--html", "c.html", "--pictures", "2"))
    page = (studio.root / "c.html").read_text(encoding="utf-8")

    prompts = {one["prompt"] for one in facts["cells"]}
    assert len(prompts) == 2
    assert all(f'class="caption">{prompt}<' in page for prompt in prompts)


def test_what_lies_between_two_images_is_remembered_and_a_swapped_image_is_none(
    studio: Studio,
) -> None:
    first = facts_of(compare(studio, LORA, "r1", "r2"))
    store = open_store(studio.workspace)
    for cell in grid_of(studio, "r2").cells:
        if cell.strength:
            store.path(cell.image_sha256).unlink(missing_ok=True)
    again = facts_of(compare(studio, LORA, "r1", "r2"))
    (studio.root / ".lora" / "cache" / "cell-differences").unlink()
    other = store.path(grid_of(studio, "r1").cells[0].image_sha256).read_bytes()
    store.path(first["cells"][0]["after"]).write_bytes(other)
    swapped = facts_of(compare(studio, LORA, "r1", "r2"))

    assert again["cells"] == first["cells"]
    assert swapped["measured"] == 0
