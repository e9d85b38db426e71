"""A test scene is drawn with what resolve chooses, and everything that made it is written down."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    PipelineError,
    RendererError,
    StateError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.foundation.schemas import require_valid
from lora_pipeline.operations.releases.emergency import break_glass
from lora_pipeline.operations.releases.generate import generate_with
from lora_pipeline.operations.releases.resolve import resolve_stack
from lora_pipeline.operations.releases.scene import SceneOptions
from lora_pipeline.releases.generation import Generation, prompt_with_triggers
from tests.support.attacks import write_policy
from tests.support.fake_renderer import FakeRenderer
from tests.support.release_builders import (
    ANA,
    CHECKPOINT,
    CHECKPOINT_DIGEST,
    LORA,
    Studio,
    active_studio,
    add_lora,
    add_release,
    copy_of,
    make_active,
)
from tests.support.workspace_builders import commit_all, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 a candidate."""
    return copy_of(template, tmp_path / "studio")


def draw(
    studio: Studio, renderer: FakeRenderer | None = None, *, dry_run: bool = False, **options: Any
) -> Result:
    given = SceneOptions(
        **{
            "prompt": "a red star",
            "lora": LORA,
            "renderer": "fake",
            "width": 16,
            "height": 16,
            **options,
        }
    )
    workspace = studio.as_(ANA, dry_run=dry_run)
    return generate_with(workspace, given, {"fake": renderer or FakeRenderer()})


def record_of(studio: Studio, result: Result) -> Generation:
    document = json.loads((studio.root / result.data["record"]).read_bytes())
    require_valid(document, "generation/v1", "the record")
    return Generation.from_dict(document)


def test_the_active_release_is_drawn_at_its_strength_with_its_trigger_word(studio: Studio) -> None:
    renderer = FakeRenderer()

    result = draw(studio, renderer, seed=7)

    (asked,) = renderer.drawn
    assert (asked.prompt, asked.seed, asked.strength) == ("stkr, a red star", 7, 1.0)
    assert [one.strength for one in renderer.given[0].loras] == [0.9]
    assert (asked.width, asked.steps, asked.guidance) == (16, 4, 3.0)  # its grid's
    assert [one["releaseId"] for one in result.data["loras"]] == ["r1"]
    assert result.data["loras"][0]["chosen"] == "active"


def test_beside_the_image_stands_all_that_made_it(studio: Studio) -> None:
    result = draw(studio, seed=7, steps=9, negative="text")

    record = record_of(studio, result)
    image = (studio.root / result.data["output"]).read_bytes()
    weights = studio.lora().record.releases[0].weights
    assert weights is not None
    assert record.image_sha256 == hashlib.sha256(image).hexdigest()
    assert [(one.sha256, one.strength) for one in record.loras] == [(weights.sha256, 0.9)]
    assert (record.checkpoint_id, record.checkpoint_digest) == (CHECKPOINT, CHECKPOINT_DIGEST)
    assert (record.scene.typed, record.scene.prompt) == ("a red star", "stkr, a red star")
    assert (record.scene.seed, record.scene.steps, record.scene.negative) == (7, 9, "text")
    assert (record.renderer.name, record.created_by) == ("fake", ANA)


def test_the_same_words_are_the_same_request_and_the_same_image(studio: Studio) -> None:
    first = draw(studio)
    image = (studio.root / first.data["output"]).read_bytes()
    written = (studio.root / first.data["record"]).read_bytes()

    second = draw(studio)
    other = draw(studio, seed=2)

    assert second.data["output"] == first.data["output"]
    assert (studio.root / second.data["output"]).read_bytes() == image
    assert (studio.root / second.data["record"]).read_bytes() == written
    assert other.data["trace"] != first.data["trace"]


def test_nothing_but_image_and_record_is_left(studio: Studio) -> None:
    before = tree_digest(studio.root / "data")
    objects = sorted((studio.root / ".lora" / "store").rglob("*"))

    draw(studio)

    assert tree_digest(studio.root / "data") == before
    assert sorted((studio.root / ".lora" / "store").rglob("*")) == objects
    assert len(list((studio.root / "generated").iterdir())) == 2


def test_an_asset_type_takes_what_the_policy_chooses(studio: Studio) -> None:
    result = draw(studio, lora="", asset_type="ui_icon")

    assert [one["loraId"] for one in result.data["loras"]] == [LORA]


def test_a_candidate_is_drawn_only_when_it_is_named_and_said_to_be_one(studio: Studio) -> None:
    result = draw(studio, release="r2")

    assert result.data["loras"][0]["releaseId"] == "r2"
    assert any("r2 is a candidate" in one for one in result.warnings)


def test_a_lora_that_is_switched_off_or_not_proven_is_refused(studio: Studio) -> None:
    invoke(["deactivate", LORA], studio.root)
    off = draw(studio)
    invoke(["activate", LORA], studio.root)
    for path in studio.path("review", "x").parent.glob("*.json"):
        path.unlink()
    unproven = draw(studio)

    assert off.refusal is not None
    assert off.refusal.code == "lora_switched_off"
    assert unproven.refusal is not None
    assert unproven.refusal.code == "active_release_unproven"
    assert not (studio.root / "generated").exists()


def test_a_dry_run_draws_nothing_and_says_what(studio: Studio) -> None:
    renderer = FakeRenderer()

    result = draw(studio, renderer, dry_run=True)

    assert result.success
    assert result.written == (result.data["output"], result.data["record"])
    assert renderer.opened == 0
    assert not (studio.root / "generated").exists()


def test_weights_and_prompt_leave_only_after_a_yes(studio: Studio) -> None:
    renderer = FakeRenderer(sends_to="https://draws.example")

    asked = draw(studio, renderer)
    agreed = draw(studio, renderer, yes_upload=True)

    assert asked.refusal is not None
    assert asked.refusal.code == "upload_not_agreed"
    assert agreed.success
    assert renderer.opened == 1


@pytest.mark.parametrize("fault", ["black", "wrong_size", "truncated", "no_file", "refuses"])
def test_an_image_that_is_none_leaves_nothing(studio: Studio, fault: str) -> None:
    with pytest.raises(PipelineError):
        draw(studio, FakeRenderer(fault=fault))

    assert not (studio.root / "generated").exists()


def test_a_renderer_that_cannot_run_says_why(studio: Studio) -> None:
    with pytest.raises(RendererError, match="no GPU"):
        draw(studio, FakeRenderer(sick="no GPU"))


def test_what_a_renderer_takes_on_trust_is_told_and_recorded(studio: Studio) -> None:
    result = draw(studio, FakeRenderer(unproven=("the base model",)))

    assert "the base model" in result.warnings
    assert record_of(studio, result).renderer.unproven == ("the base model",)


@pytest.mark.parametrize(
    "options",
    [
        {"prompt": "  "},
        {"lora": ""},
        {"loras": ("hero",)},
        {"checkpoint": CHECKPOINT},
        {"asset_type": "ui_icon"},
        {"strength": 0.0},
        {"seed": -1},
        {"steps": 0},
        {"width": 999_999},
        {"output": "x.txt"},
    ],
)
def test_an_option_that_breaks_its_rule_draws_nothing(
    studio: Studio, options: dict[str, Any]
) -> None:
    renderer = FakeRenderer()

    with pytest.raises(ArgumentInvalidError):
        draw(studio, renderer, **options)

    assert renderer.opened == 0


def test_nothing_of_somebody_else_is_written_over(studio: Studio) -> None:
    (studio.root / "scene.json").write_text('{"mine": 1}', encoding="utf-8")

    with pytest.raises(StateError):
        draw(studio, output="scene.png")

    assert (studio.root / "scene.json").read_text(encoding="utf-8") == '{"mine": 1}'


@pytest.mark.parametrize(
    ("typed", "word", "drawn"),
    [
        ("a red star", "stkr", "stkr, a red star"),
        ("a Stkr, red", "stkr", "a Stkr, red"),
        ("a {trigger} star", "stkr", "a stkr star"),
        ("a {trigger} star", "", "a star"),
        ("a red star", "", "a red star"),
    ],
)
def test_the_trigger_word_comes_into_the_prompt_once(typed: str, word: str, drawn: str) -> None:
    assert prompt_with_triggers(typed, [word]) == drawn


@pytest.mark.parametrize(
    ("typed", "drawn"),
    [
        ("a red star", "stkr, hro man, a red star"),
        ("a hro man, waving", "stkr, a hro man, waving"),
        ("a {trigger} star", "a stkr, hro man star"),
        ("stkr with a hro Man", "stkr with a hro Man"),
        ("a hro and a man", "stkr, hro man, a hro and a man"),
    ],
)
def test_each_trigger_word_comes_into_the_prompt_once(typed: str, drawn: str) -> None:
    assert prompt_with_triggers(typed, ["stkr", "hro man", "stkr", ""]) == drawn


@pytest.fixture(scope="module")
def two_active(template: Studio, tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """The studio with a second LoRA, hero, whose r1 is active too."""
    studio = copy_of(template, tmp_path_factory.mktemp("two") / "studio")
    add_lora(studio.workspace, "hero", trigger_word="hro", strength=0.6)
    add_release(studio, "r1", lora_id="hero")
    make_active(studio, lora_id="hero")
    return studio


@pytest.fixture
def pair(two_active: Studio, tmp_path: Path) -> Studio:
    return copy_of(two_active, tmp_path / "pair")


def set_policies(studio: Studio, **policies: Any) -> None:
    path = studio.path("project", "project")
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {"policies": policies}), encoding="utf-8")


def test_an_asset_type_is_drawn_with_all_that_go_together(pair: Studio) -> None:
    renderer = FakeRenderer()
    order = resolve_stack(pair.as_(ANA), asset_type="ui_icon").data["loras"]

    result = draw(pair, renderer, lora="", asset_type="ui_icon")

    record = record_of(pair, result)
    (given,) = renderer.given
    assert [one["loraId"] for one in order] == [LORA, "hero"]
    assert [one.lora_id for one in record.loras] == [LORA, "hero"]
    assert [(one.sha256, one.strength) for one in given.loras] == [
        (one["sha256"], one["strength"]) for one in order
    ]
    assert [(one.sha256, one.strength) for one in record.loras] == [
        (one["sha256"], one["strength"]) for one in order
    ]
    assert record.scene.prompt == "stkr, hro, a red star"
    assert result.data["output"].startswith("generated/ui_icon-1-")
    assert result.reasoning.endswith("with icons r1 and hero r1")


def test_together_they_make_another_image_than_alone_or_in_another_strength(pair: Studio) -> None:
    together = draw(pair, lora="", asset_type="ui_icon")
    alone = draw(pair)
    invoke(["activate", "hero", "--strength", "0.3"], pair.root)
    weaker = draw(pair, lora="", asset_type="ui_icon")

    results = (together, alone, weaker)
    assert len({one.data["imageSha256"] for one in results}) == 3
    assert len({one.data["trace"] for one in results}) == 3


def test_the_caps_of_the_policy_hold_for_a_scene(pair: Studio) -> None:
    set_policies(pair, loraSelection={"maxActiveLoras": 1})
    capped = draw(pair, lora="", asset_type="ui_icon")
    unmet = draw(pair, lora="", asset_type="ui_icon", loras=("hero", LORA))

    assert [one["loraId"] for one in capped.data["loras"]] == [LORA]
    assert unmet.refusal is not None
    assert unmet.refusal.code == "lora_unresolved"
    assert "at most 1 together" in unmet.refusal.message


def test_loras_for_different_bases_are_not_mixed(studio: Studio) -> None:
    path = studio.path("checkpoint", CHECKPOINT)
    other = json.loads(path.read_bytes()) | {"id": "other"}
    path.with_name("other.json").write_text(json.dumps(other), encoding="utf-8")
    add_lora(studio.workspace, "hero", trigger_word="hro", checkpoint_id="other")
    add_release(studio, "r1", lora_id="hero")
    make_active(studio, lora_id="hero")
    renderer = FakeRenderer()

    refused = draw(studio, renderer, lora="", asset_type="ui_icon")
    one = draw(studio, renderer, lora="", asset_type="ui_icon", checkpoint=CHECKPOINT)

    assert refused.refusal is not None
    assert refused.refusal.code == "several_bases"
    assert refused.refusal.hint == f"the same command with --checkpoint {CHECKPOINT}"
    assert renderer.opened == 1
    assert [use["loraId"] for use in one.data["loras"]] == [LORA]


def test_one_strength_is_not_given_to_several(pair: Studio) -> None:
    with pytest.raises(ArgumentInvalidError, match="a strength belongs to one LoRA, and 2 go"):
        draw(pair, lora="", asset_type="ui_icon", strength=0.5)


def test_everybody_whose_weights_would_be_sent_is_named(pair: Studio) -> None:
    renderer = FakeRenderer(sends_to="https://draws.example", costs=0.5)

    asked = draw(pair, renderer, lora="", asset_type="ui_icon", dry_run=True)
    refused = draw(pair, renderer, lora="", asset_type="ui_icon")

    assert refused.refusal is not None
    assert "weights of icons r1 and hero r1 and 1 prompt would be sent" in refused.refusal.message
    # One image, three probes, and one more for each LoRA that is left out.
    assert asked.data["estimate"]["cost"] == pytest.approx(6 * 0.5)


def test_an_emergency_is_told_with_the_image(studio: Studio) -> None:
    write_policy(studio, emergencyDays=3)
    add_release(studio, "r30")
    commit_all(studio.root, "A candidate, and emergencies are possible")
    pushed = break_glass(studio.as_(ANA), LORA, "r30", reason="the shop front burns down")
    assert pushed.success, pushed.refusal
    result = draw(studio)

    assert any(one.startswith("EMERGENCY: icons") for one in result.warnings)


def test_the_command_line_says_what_is_missing(studio: Studio) -> None:
    none = invoke(["generate", "a red star", "--json"], studio.root)
    unknown = invoke(
        ["generate", "a red star", "--lora", LORA, "--renderer", "difusers", "--json"], studio.root
    )

    assert (none.exit_code, none.error["code"]) == (3, "argument_invalid")
    assert "diffusers" in unknown.error["hint"]
