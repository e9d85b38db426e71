"""Which captions are asked: the manifest says, and nobody else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.evaluation.records import SuitePrompt
from lora_pipeline.evaluation.training_captions import captions_wanted, training_captions
from tests.support.evaluation_builders import make_suite


def suite(count: int = 2) -> Any:
    captions = tuple(
        SuitePrompt(id=f"caption{number}", kind="training_caption") for number in range(count)
    )
    return make_suite(prompts=(*make_suite().prompts, *captions))


def item(sha256: str, caption: str, **values: Any) -> Item:
    named: dict[str, Any] = {"asset_id": f"a{sha256}", "asset_version_id": "v", "variant_id": "v"}
    return Item(path=f"{sha256}.png", sha256=sha256 * 64, caption=caption, **(named | values))


def manifest(*items: Item) -> Manifest:
    return Manifest(
        id="icons", scope="project", project_id="p", created_at="x", updated_at="x", items=items
    )


def test_captions_come_in_the_order_of_their_images_digests() -> None:
    items = (item("c", "third"), item("a", "first"), item("b", "second"))
    assert training_captions(suite(), manifest(*items)) == ("first", "second")


def test_empty_captions_repeated_ones_and_those_of_held_out_images_are_passed_over() -> None:
    items = (
        item("1", " "), item("2", "held out", split="held_out"), item("3", "one"),
        item("4", "one"), item("5", "two"),
    )  # fmt: skip
    assert training_captions(suite(), manifest(*items)) == ("one", "two")


@given(st.permutations([item(name, f"caption {name}") for name in "abcdef"]))
def test_the_order_of_the_items_and_their_ids_change_nothing(items: list[Item]) -> None:
    assert training_captions(suite(), manifest(*items)) == ("caption a", "caption b")


def test_a_prompt_of_that_kind_with_a_text_of_its_own_takes_none() -> None:
    own = SuitePrompt(id="own", kind="training_caption", text="as it was written")
    assert captions_wanted(make_suite(prompts=(own,))) == 0
