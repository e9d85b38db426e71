from __future__ import annotations

from pathlib import Path

from lora_pipeline.catalog.records import CatalogWord, Styles, Tag, TagGroup, Tags
from lora_pipeline.catalog.vocabulary import make_vocabulary
from lora_pipeline.datasets.captions.prompt_tokens import Words, merge_tokens
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from tests.support.dataset_builders import PROJECT, TIME, studio


def style(*tokens: str) -> CatalogWord:
    return CatalogWord(id="flat", label="Flat", prompt_tokens=tokens)


def test_a_checkpoints_word_stands_in_for_the_projects_and_is_marked() -> None:
    base = make_vocabulary(styles=[style("flat style")])
    own = make_vocabulary(styles=[style("flat vector art")])

    tokens = merge_tokens(base, own, "sdxl")

    assert tokens.styles == {"flat": ("flat vector art",)}
    assert tokens.source("style flat") == "token of style flat for sdxl"


def test_a_checkpoints_word_without_tokens_leaves_those_of_the_project() -> None:
    tokens = merge_tokens(
        make_vocabulary(styles=[style("flat style")]), make_vocabulary(styles=[style()]), "sdxl"
    )

    assert tokens.styles == {"flat": ("flat style",)}
    assert tokens.overridden == frozenset()


def test_tokens_are_read_from_the_catalogs_of_project_and_checkpoint(tmp_path: Path) -> None:
    workspace = studio(tmp_path / "studio", icons=1, git=False)
    times = {"created_at": TIME, "updated_at": TIME}
    red = Tag(id="color:red", label="Red", prompt_token="crimson")
    group = TagGroup(id="color", label="Color", exclusive=False, tags=(red,))
    changes, scope = Changes(workspace), Scope(PROJECT)
    changes.create(Tags(id="tags", groups=(group,), **times), scope, "sdxl/tags")
    changes.create(Styles(id="styles", styles=(style("vector"),), **times), scope, "sdxl/styles")
    changes.apply()
    words = Words(workspace)

    plain, own = words.tokens(PROJECT, ""), words.tokens(PROJECT, "sdxl")

    assert (plain.tags["color:red"], own.tags["color:red"]) == ("red", "crimson")
    assert own.tags["color:blue"] == "blue"
    assert own.styles["flat"] == ("vector",)
    assert own.overridden == {"style flat", "tag color:red"}
