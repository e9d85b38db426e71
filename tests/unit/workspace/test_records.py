"""Reading records: strictly, by their place, and with the word that was meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.catalog.records import Project, Spec, Styles
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    JsonInvalidError,
    MergeConflictError,
    RecordInvalidError,
    RecordNotFoundError,
    SchemaVersionError,
    UnsafePathError,
)
from lora_pipeline.workspace.layout import (
    FOLDERS,
    SHARED,
    SINGLES,
    RecordPlace,
    Scope,
    is_outside_records,
    place_of,
    project_scope,
    relative_path,
)
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import add_project, make_workspace

SCOPE = Scope("neon_city")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False, project="neon_city")


def project_path(workspace: Workspace) -> Path:
    return workspace.records.path("project", SCOPE, "project")


def read(workspace: Workspace) -> Loaded[Project]:
    return workspace.records.read(Project, SCOPE, "project")


def edit(workspace: Workspace, **changes: Any) -> None:
    path = project_path(workspace)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


# --- one record --------------------------------------------------------------------------------


def test_a_record_is_read_with_the_digest_of_its_bytes(workspace: Workspace) -> None:
    loaded = read(workspace)

    assert loaded.record.id == "neon_city"
    assert loaded.path == workspace.root / "data/projects/neon_city/project.json"
    assert loaded.digest.startswith("sha256:")
    edit(workspace, notes="x")
    assert read(workspace).digest != loaded.digest


def test_line_ends_of_windows_are_read(workspace: Workspace) -> None:
    path = project_path(workspace)
    before = read(workspace).record
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))

    assert read(workspace).record == before


def test_a_record_that_names_no_schema_is_read(workspace: Workspace) -> None:
    path = project_path(workspace)
    document = json.loads(path.read_text())
    del document["schema"]
    path.write_text(json.dumps(document))

    assert read(workspace).record.id == "neon_city"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", JsonInvalidError),
        (b"null", RecordInvalidError),
        (b"[]", RecordInvalidError),
        (b'{"a": 1, "a": 2}', JsonInvalidError),
        (b"\xef\xbb\xbf{}", JsonInvalidError),
        (b"<<<<<<< a\n{}\n=======\n{}\n>>>>>>> b\n", MergeConflictError),
        (b'{"schema": "project/v2"}', SchemaVersionError),
        (b"{}", RecordInvalidError),
    ],
)
def test_a_file_that_is_no_such_record_is_refused_by_name(
    data: bytes, error: type[Exception], workspace: Workspace
) -> None:
    project_path(workspace).write_bytes(data)

    with pytest.raises(error, match=r"data/projects/neon_city/project\.json"):
        read(workspace)


@pytest.mark.parametrize(
    "changes",
    [{"nmae": "x"}, {"name": 1}, {"rights": {"x": 1}}, {"updatedAt": "2026-03-01"}, {"gate": []}],
)
def test_a_record_that_breaks_its_schema_is_refused(
    changes: dict[str, Any], workspace: Workspace
) -> None:
    edit(workspace, **changes)

    with pytest.raises(RecordInvalidError) as caught:
        read(workspace)

    assert caught.value.violations


def test_the_file_name_must_be_the_id(workspace: Workspace) -> None:
    spec = {
        "schema": "spec/v1", "id": "b", "projectId": "neon_city", "title": "T",
        "assetType": "ui_icon", "style": "flat", "scenario": "plain", "prompt": {"positive": "x"},
        "createdAt": "2026-03-01T12:00:00Z", "updatedAt": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    path = workspace.records.path("spec", SCOPE, "a")
    path.parent.mkdir()
    path.write_text(json.dumps(spec))

    with pytest.raises(RecordInvalidError, match="holds the id 'b'; the file name must be the id"):
        workspace.records.read(Spec, SCOPE, "a")


# --- what is not there -------------------------------------------------------------------------


def test_a_missing_record_names_a_near_one_then_all_then_that_there_is_none(
    workspace: Workspace,
) -> None:
    folder = workspace.records.path("spec", SCOPE, "x").parent

    def hint(record_id: str) -> str | None:
        with pytest.raises(RecordNotFoundError) as caught:
            workspace.records.read(Spec, SCOPE, record_id)
        assert caught.value.message == f"no spec {record_id!r} in project neon_city"
        return caught.value.hint

    assert hint("sword") == "project neon_city has no spec yet"
    folder.mkdir()
    (folder / "sword_red.json").write_text("{}")
    (folder / "shield.json").write_text("{}")
    assert hint("sword_rd") == "did you mean sword_red?"
    assert hint("zzz") == "there are: shield, sword_red"


def test_the_first_scope_that_has_it_wins(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError):
        workspace.records.find(Styles, [SCOPE, SHARED], "styles")
    document = {
        "schema": "styles/v1", "id": "styles", "styles": [],
        "createdAt": "2026-03-01T12:00:00Z", "updatedAt": "2026-03-01T12:00:00Z",
    }  # fmt: skip
    for scope in (SHARED, SCOPE):
        path = workspace.records.path("styles", scope, "styles")
        path.parent.mkdir()
        path.write_text(json.dumps(document))
        assert workspace.records.find(Styles, [SCOPE, SHARED], "styles").scope == scope


@pytest.mark.parametrize("record_id", ["../x", "a/b", "../../x", "a\x00", "/etc/passwd", "con"])
def test_an_id_that_could_lead_elsewhere_is_refused(record_id: str, workspace: Workspace) -> None:
    with pytest.raises((UnsafePathError, ArgumentInvalidError)):
        workspace.records.read(Spec, SCOPE, record_id)


# --- many --------------------------------------------------------------------------------------


def test_ids_are_sorted_and_hidden_files_are_none(workspace: Workspace) -> None:
    folder = workspace.records.path("spec", SCOPE, "x").parent
    folder.mkdir()
    for name in ("b.json", "a.json", "._a.json", ".lora-tmp-x", "notes.txt"):
        (folder / name).write_text("{}")

    assert workspace.records.ids(Spec, SCOPE) == ["a", "b"]


def test_a_record_that_is_a_link_out_of_the_data_is_refused(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.json"
    elsewhere.write_text("{}")
    folder = workspace.records.path("spec", SCOPE, "x").parent
    folder.mkdir()
    (folder / "x.json").symlink_to(elsewhere)

    with pytest.raises(UnsafePathError, match="leads outside"):
        list(workspace.records.all(Spec, SCOPE))


def test_the_data_folder_may_be_a_link_itself(
    workspace: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "data"
    workspace.data_root.rename(elsewhere)
    workspace.data_root.symlink_to(elsewhere)

    assert read(workspace).record.id == "neon_city"
    assert workspace.records.project_ids() == ["neon_city"]


def test_projects_and_scopes_are_listed(workspace: Workspace) -> None:
    add_project(workspace, "a_first")
    (workspace.data_root / "projects" / "no_project").mkdir()

    assert workspace.records.project_ids() == ["a_first", "neon_city"]
    assert workspace.records.scopes() == [SHARED, Scope("a_first"), SCOPE]
    assert [one.record.id for one in workspace.records.all(Project, SCOPE)] == ["neon_city"]
    assert list(workspace.records.all(Styles, SHARED)) == []


# --- places ------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", [SHARED, SCOPE])
@pytest.mark.parametrize("kind", [*FOLDERS, *SINGLES])
def test_a_path_says_what_was_put_there(kind: str, scope: Scope) -> None:
    record_id = kind if kind in SINGLES else "some-id"

    found = place_of(relative_path(kind, scope, record_id))

    if kind == "project" and scope == SHARED:
        assert found is None
    else:
        assert found == RecordPlace(kind, scope, record_id)


@pytest.mark.parametrize("kind", ["styles", "scenarios", "tags"])
def test_a_checkpoint_has_catalogs_of_its_own(kind: str) -> None:
    path = relative_path(kind, SHARED, f"sdxl/{kind}")

    assert path == f"shared/catalogs/checkpoints/sdxl/{kind}.json"
    assert place_of(path) == RecordPlace(kind, SHARED, f"sdxl/{kind}")


@pytest.mark.parametrize(
    "path",
    ["shared/assets/a/b.json", "shared/assets/a.txt", "shared/other/a.json", "a.json", "projects/a",
     "shared/catalogs/other.json", "runtime/x.json", "projects/a/files/images/x/y.json"],
)  # fmt: skip
def test_another_path_is_no_record(path: str) -> None:
    assert place_of(path) is None


def test_files_and_runtime_may_hold_anything() -> None:
    assert is_outside_records("projects/a/files/images/x/y.json")
    assert is_outside_records("runtime/x.json")
    assert not is_outside_records("shared/assets/a.json")
    assert not is_outside_records("shared/files")


def test_a_kind_that_does_not_exist_has_no_place() -> None:
    with pytest.raises(ArgumentInvalidError, match="unknown kind"):
        relative_path("nothing", SHARED, "x")


def test_a_scope_is_named_as_people_do() -> None:
    assert (str(SHARED), SHARED.name, SHARED.folder) == ("shared", "baseline", "shared")
    assert (str(SCOPE), SCOPE.name) == ("project neon_city", "project")
    assert project_scope("a").folder == "projects/a"
    with pytest.raises(ArgumentInvalidError):
        project_scope("..")
