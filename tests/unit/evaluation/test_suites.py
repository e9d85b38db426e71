from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import AssetType, AssetTypes
from lora_pipeline.evaluation.records import PromptKind, SuitePrompt
from lora_pipeline.evaluation.suites import (
    calling_prompts,
    cell_count,
    read_suite,
    rule_words,
    rules_of,
    silent_prompts,
    suite_digest,
    suite_id_for,
    suite_ids,
    violations_of_suite,
    with_prompts,
)
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordInvalidError,
    RecordNotFoundError,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import PROJECT, SCOPE, SUITE_YAML, make_suite
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False, project=PROJECT)


def write_suite(workspace: Workspace, text: str, name: str = "tiny_icon") -> None:
    folder = workspace.root / "config" / "suites"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.yaml").write_text(text)


def test_every_suite_that_ships_keeps_the_rules_and_has_a_prompt_without_trigger(
    workspace: Workspace,
) -> None:
    for suite_id in suite_ids(workspace):
        suite = read_suite(workspace, suite_id).suite
        kinds = {prompt.kind for prompt in suite.prompts}
        assert kinds & {"no_trigger", "class_only"}
        assert "novel_context" in kinds
        assert "training_caption" in kinds
        assert 1.0 in suite.strengths
        assert len(suite.prompts) <= 12


def test_every_suite_for_studios_has_a_rule_of_each_kind_in_words(workspace: Workspace) -> None:
    for suite_id in set(suite_ids(workspace)) - {"demo_icon"}:
        prompts = read_suite(workspace, suite_id).suite.prompts
        ruled = {one.kind: one.what for one in prompts if rule_words(one)}
        assert set(ruled) == {"must", "must_never"}
        assert all(ruled.values())


def test_the_digest_is_that_of_the_file_when_no_default_is_spelled_out(
    workspace: Workspace,
) -> None:
    write_suite(workspace, SUITE_YAML)
    plain = read_suite(workspace, "tiny_icon").digest
    write_suite(workspace, SUITE_YAML.replace("guidance: 3.0", "guidance: 3, sampler: default"))
    assert read_suite(workspace, "tiny_icon").digest == plain


def test_the_digest_changes_with_one_letter_of_a_prompt(workspace: Workspace) -> None:
    write_suite(workspace, SUITE_YAML)
    before = read_suite(workspace, "tiny_icon").digest
    write_suite(workspace, SUITE_YAML.replace("red heart", "red Heart"))
    assert read_suite(workspace, "tiny_icon").digest != before


def test_cells_are_counted_with_the_base(workspace: Workspace) -> None:
    write_suite(workspace, SUITE_YAML)
    assert cell_count(read_suite(workspace, "tiny_icon").suite) == 2 * 2 * 3


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("id: bare", "id: heart", "'heart' stands twice"),
        ('text: "a red heart"', 'text: "{trigger} heart"', "must not hold {trigger}"),
        ('text: "a red heart"', 'text: "a {red} heart"', "the only placeholder is {trigger}"),
        ('text: "a red heart"}', 'text: "a heart", what: "letters"}', "sets no rule"),
        (', text: "a red heart"', "", "'text' is missing"),
        ("strengths: [0.5, 1.0]", "strengths: [0]", "a strength above 0"),
        ("strengths: [0.5, 1.0]", "strengths: [1, 1.0]", "1 stands twice"),
        ("seeds: [1, 2]", "seeds: [2, 2]", "2 stands twice"),
        ("seeds: [1, 2]", "seeds: [1, 2, 3.5]", "$.seeds[2]"),
        ("strengths: [0.5, 1.0]", "strengths: [3]", "$.strengths[0]"),
        ("width: 32", "width: 33", "$.render.width"),
        ("steps: 4", "step: 4", "did you mean 'steps'"),
    ],
)
def test_a_suite_that_breaks_a_rule_is_refused_with_its_place(
    workspace: Workspace, old: str, new: str, words: str
) -> None:
    write_suite(workspace, SUITE_YAML.replace(old, new))
    with pytest.raises(RecordInvalidError) as caught:
        read_suite(workspace, "tiny_icon")
    assert words in caught.value.message + str([str(one) for one in caught.value.violations])


def test_a_suite_of_ten_thousand_cells_is_rendered_and_one_of_twice_as_many_refused() -> None:
    prompts = tuple(
        SuitePrompt(id=f"p{number}", kind="in_domain", text="{trigger}") for number in range(10)
    )
    strengths = tuple(number / 16 for number in range(1, 17))
    large = make_suite(prompts=prompts, seeds=tuple(range(60)), strengths=strengths)
    assert (cell_count(large), violations_of_suite(large)) == (10_200, [])
    doubled = make_suite(
        prompts=(*prompts, *(replace(one, id=f"{one.id}b") for one in prompts)),
        seeds=tuple(range(60)),
        strengths=strengths,
    )
    [violation] = violations_of_suite(doubled)
    assert str(violation) == "$: 20,400 cells, at most 20,000 are rendered"


def test_the_suite_of_an_asset_type_is_the_one_its_catalog_names(workspace: Workspace) -> None:
    write_suite(workspace, SUITE_YAML)
    types = AssetTypes(
        id="asset-types",
        created_at=workspace.now(),
        updated_at=workspace.now(),
        asset_types=(AssetType(id="ui_icon", label="Icon", suite_id="tiny_icon"),),
    )
    changes = Changes(workspace)
    changes.create(types, SHARED, "asset-types")
    changes.apply()
    assert suite_id_for(workspace, SCOPE, ("ui_icon",)) == "tiny_icon"


def test_the_suite_of_an_asset_type_is_else_the_one_of_its_name(workspace: Workspace) -> None:
    assert suite_id_for(workspace, SCOPE, ("unknown", "logo")) == "logo"


def test_the_suite_of_an_asset_type_is_else_the_only_one_that_lists_it(
    workspace: Workspace,
) -> None:
    write_suite(workspace, SUITE_YAML.replace("[tiny_icon]", "[emblem]"))
    assert suite_id_for(workspace, SCOPE, ("emblem",)) == "tiny_icon"


def test_several_suites_for_an_asset_type_are_a_question(workspace: Workspace) -> None:
    write_suite(workspace, SUITE_YAML.replace("[tiny_icon]", "[emblem]"))
    other = SUITE_YAML.replace("[tiny_icon]", "[emblem]").replace("id: tiny_icon", "id: other")
    write_suite(workspace, other, "other")
    with pytest.raises(ArgumentInvalidError, match="several suites for asset type emblem"):
        suite_id_for(workspace, SCOPE, ("emblem",))


def test_no_suite_for_an_asset_type_says_which_file_to_write(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError) as caught:
        suite_id_for(workspace, SCOPE, ("emblem",))
    assert "config/suites/emblem.yaml" in str(caught.value.hint)


def ruled(kind: PromptKind, text: str, what: str = "") -> SuitePrompt:
    return SuitePrompt(id=kind, kind=kind, text=text, what=what)


def test_a_rule_says_what_must_and_what_must_never_be_seen() -> None:
    suite = make_suite(
        prompts=(
            ruled("must", "{trigger}", "the whole mark"),
            ruled("must_never", "a blank sign", "letters"),
            ruled("in_domain", "{trigger} star"),
        )
    )
    assert rules_of(suite) == {
        "must": "must show the whole mark",
        "must_never": "must never show letters",
    }


def test_a_must_never_prompt_without_the_trigger_word_does_not_call_the_lora() -> None:
    suite = make_suite(
        prompts=(
            ruled("in_domain", "{trigger} star"),
            ruled("must_never", "a crowd"),
            ruled("training_caption", ""),
        )
    )
    assert calling_prompts(suite) == {"in_domain"}
    assert silent_prompts(suite) == {"must_never"}
    called = make_suite(prompts=(ruled("must_never", "{trigger}, a blank sign"),))
    assert calling_prompts(called) == {"must_never"}


def test_captions_alone_are_no_suite() -> None:
    suite = make_suite(prompts=(ruled("training_caption", ""),))
    assert "$.prompts: one prompt at least needs a text of its own" in map(
        str, violations_of_suite(suite)
    )


def test_other_prompts_make_another_suite() -> None:
    suite = make_suite()
    changed = with_prompts(suite, ("{trigger} star", " ", "a tree"))
    assert [(one.id, one.kind) for one in changed.prompts] == [
        ("p1", "in_domain"),
        ("p2", "no_trigger"),
    ]
    assert suite_digest(changed) != suite_digest(suite)


@pytest.mark.parametrize("prompts", [(), ("  ",), ("{boom} star",)])
def test_prompts_that_are_none_are_refused(prompts: tuple[str, ...]) -> None:
    with pytest.raises(ArgumentInvalidError):
        with_prompts(make_suite(), prompts)


def test_a_prompt_may_have_seeds_of_its_own() -> None:
    prompt = SuitePrompt(id="one", kind="in_domain", text="x", seeds=(7,))
    assert cell_count(make_suite(prompts=(prompt,))) == 3
