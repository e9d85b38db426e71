from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import CatalogWord, Styles
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_catalogs
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = make_workspace(tmp_path, project="neon_city", git=False)
    add_catalogs(made, "neon_city")
    return made


def add_styles(workspace: Workspace, scope: Scope, name: str, **tokens: tuple[str, ...]) -> None:
    styles = tuple(
        CatalogWord(id=word, label=word, prompt_tokens=given) for word, given in tokens.items()
    )
    now = workspace.now()
    changes = Changes(workspace)
    changes.create(Styles(id="styles", created_at=now, updated_at=now, styles=styles), scope, name)
    changes.apply()


def test_project_words_stand_over_shared_ones_and_others_stay(workspace: Workspace) -> None:
    add_styles(workspace, SHARED, "styles", flat=("shared flat",), oil=("oil paint",))

    styles = read_vocabulary(workspace, Scope("neon_city")).styles

    assert styles["flat"].prompt_tokens == ("flat style",)
    assert styles["oil"].prompt_tokens == ("oil paint",)


def test_checkpoint_words_stand_over_both_and_only_when_it_is_named(workspace: Workspace) -> None:
    scope = Scope("neon_city")
    add_styles(workspace, SHARED, "sdxl/styles", flat=("shared own",), neon=("shared neon",))
    add_styles(workspace, scope, "sdxl/styles", flat=("own flat",))

    plain, own = read_vocabulary(workspace, scope), read_vocabulary(workspace, scope, "sdxl")

    assert plain.styles["flat"].prompt_tokens == ("flat style",)
    assert own.styles["flat"].prompt_tokens == ("own flat",)
    assert own.styles["neon"].prompt_tokens == ("shared neon",)


def test_project_without_catalogs_has_no_words(tmp_path: Path) -> None:
    made = make_workspace(tmp_path, project="bare", git=False)

    assert not read_vocabulary(made, Scope("bare")).tags


def test_broken_catalog_is_named_with_its_place(workspace: Workspace) -> None:
    path = workspace.data_root / "projects/neon_city/catalogs/tags.json"
    path.write_text(path.read_text().replace('"exclusive"', '"exlcusive"'))

    with pytest.raises(RecordInvalidError) as caught:
        read_vocabulary(workspace, Scope("neon_city"))

    assert "did you mean 'exclusive'?" in str(caught.value.violations)
