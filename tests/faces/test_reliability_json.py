"""What records must withstand: every way in which JSON is not what it seems (rows JSN).

Each case is put into a real workspace, read by a command and looked at by ``validate``; no
command may write anything, and none may go on as if nothing were wrong.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.catalog.records import Asset
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import canonical_bytes
from lora_pipeline.foundation.errors import JsonInvalidError, PipelineError, RecordInvalidError
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.workspace.record_bytes import encode_record, parse_record
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT, studio
from tests.support.merge_builders import FILE, copied, lora, manifest_of
from tests.support.release_builders import active_studio, edit
from tests.support.workspace_builders import (
    REPOSITORY,
    commit_all,
    invoke,
    reopen,
    run_lora,
    tree_digest,
)

RECORD = f"data/projects/{PROJECT}/project.json"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = studio(tmp_path_factory.mktemp("json") / "studio", icons=2, git=False).root
    lora(folder, "dataset", "build", "icons", "--asset-type", "ui_icon")
    return folder


@pytest.fixture
def here(origin: Path, tmp_path: Path) -> Workspace:
    return reopen(copied(origin, tmp_path / "studio"))


def refused(workspace: Workspace, relative: str, command: list[str], code: str) -> str:
    """Assert that a command refuses a broken file and that ``validate`` names it; say why."""
    before = tree_digest(workspace.root)
    answer = invoke([*command, "--json"], workspace.root)
    checked = invoke(["validate", "--json"], workspace.root)

    assert answer.exit_code == 3, answer.stdout
    assert answer.error["code"] == code
    assert checked.exit_code == 1
    found = {one["code"]: one for one in checked.document["data"]["findings"]}
    assert found[code]["where"] == relative
    assert found[code]["severity"] == "error"
    assert tree_digest(workspace.root) == before
    return str(answer.error["message"])


def refuses(workspace: Workspace, command: list[str], code: str) -> str:
    """Assert that a command refuses a broken file; say why. For cases that come in dozens."""
    answer = invoke([*command, "--json"], workspace.root)

    assert answer.exit_code == 3, answer.stdout
    assert answer.error["code"] == code
    return str(answer.error["message"])


def changed(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a record as a text editor would, by no rule of ours."""
    document = json.loads(path.read_bytes())
    change(document)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


SHOW = ["project", "show", PROJECT]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ('{"id": "neon_city",', "line 1, column 20"),
        ('{\n  "id": "neon_city",\n}', "line 3, column 1"),
        ('{"id": "a"}\n{"id": "b"}\n', "line 2, column 1"),
        ("null", "must hold one JSON object"),
        ("[]", "must hold one JSON object"),
    ],
    ids=["empty", "truncated", "trailing-comma", "two-documents", "null", "list"],
)
def test_jsn_01_what_is_no_whole_document_is_refused_with_its_place(
    here: Workspace, text: str, place: str
) -> None:
    (here.root / RECORD).write_text(text)
    code = "record_invalid" if "object" in place else "json_invalid"

    message = refused(here, RECORD, SHOW, code)

    assert RECORD in message
    assert place in message


def test_jsn_02_a_key_that_stands_twice_is_refused(here: Workspace) -> None:
    path = here.root / RECORD
    path.write_text(path.read_text().replace('  "id":', '  "name": "Other",\n  "id":', 1))

    assert "key 'name' stands twice" in refused(here, RECORD, SHOW, "json_invalid")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_jsn_03_numbers_that_are_none_are_refused_when_read(here: Workspace, number: str) -> None:
    path = here.root / RECORD
    path.write_text(
        path.read_text().replace(
            '{\n  "createdAt"', f'{{\n  "policies": {{"x": {number}}},\n  "createdAt"', 1
        )
    )

    assert "not strict JSON" in refused(here, RECORD, SHOW, "json_invalid")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_jsn_03_numbers_that_are_none_are_never_written(number: float) -> None:
    with pytest.raises(JsonInvalidError):
        strict_json.dumps({"loss": number})
    with pytest.raises(JsonInvalidError):
        canonical_bytes({"loss": number})


@pytest.mark.parametrize(
    ("encoding", "words"),
    [("utf-8-sig", "byte order mark"), ("utf-16", "byte order mark"), ("utf-16-le", "UTF-8|JSON")],
)
def test_jsn_06_another_encoding_is_refused_with_a_hint(
    here: Workspace, encoding: str, words: str
) -> None:
    path = here.root / RECORD
    path.write_bytes(path.read_text().encode(encoding))

    message = refused(here, RECORD, SHOW, "json_invalid")

    assert any(word in message for word in words.split("|"))


def test_jsn_06_line_ends_of_windows_change_no_digest(here: Workspace) -> None:
    for path in here.data_root.rglob("*.json"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    before = manifest_of(here)

    assert invoke(["dataset", "verify", "icons"], here.root).exit_code == 0
    assert invoke(["validate"], here.root).exit_code == 0
    lora(here.root, "dataset", "build", "icons")
    assert manifest_of(here).content_hash == before.content_hash
    assert manifest_of(here).updated_at == before.updated_at


@pytest.mark.parametrize("relative", [RECORD, FILE])
def test_jsn_07_an_unresolved_merge_is_refused_and_named(here: Workspace, relative: str) -> None:
    path = here.root / relative
    path.write_text(
        path.read_text().replace(
            '  "createdAt"', '<<<<<<< HEAD\n=======\n  "x": 1,\n>>>>>>> art\n  "createdAt"', 1
        )
    )
    command = SHOW if relative == RECORD else ["dataset", "show", "icons"]

    message = refused(here, relative, command, "merge_conflict")

    assert "(HEAD against art)" in message


@pytest.mark.parametrize(
    ("member", "words"),
    [("nmae", "unknown field 'nmae', did you mean 'name'?"), ("zzz", "unknown field 'zzz'")],
)
def test_jsn_08_an_unknown_field_is_refused_with_the_nearest_one(
    here: Workspace, member: str, words: str
) -> None:
    changed(here.root / RECORD, lambda document: document.update({member: "x"}))

    assert words in refused(here, RECORD, SHOW, "record_invalid")


@pytest.mark.parametrize("value", [True, "1", 1.0, None, [1]])
def test_jsn_09_what_is_no_whole_number_is_refused_for_one(here: Workspace, value: Any) -> None:
    changed(here.root / FILE, lambda document: document["items"][0].update(repeats=value))

    message = refused(here, FILE, ["dataset", "show", "icons"], "record_invalid")

    assert FILE in message
    assert "$.items[" in message
    assert "].repeats" in message


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("project/v2", "this version of lora knows project/v1"),
        ("project/v99", "this version of lora knows project/v1"),
        ("asset/v1", "must name schema project/v1, it names 'asset/v1'"),
        ("project", "must name schema project/v1"),
        (2, "must name schema project/v1"),
        (None, "must name schema project/v1"),
    ],
)
def test_jsn_10_a_schema_that_is_not_known_is_refused(
    here: Workspace, schema: Any, words: str
) -> None:
    changed(here.root / RECORD, lambda document: document.update(schema=schema))

    assert words in refused(here, RECORD, SHOW, "schema_unknown")


def test_jsn_10_a_newer_record_is_never_written_over(here: Workspace) -> None:
    changed(here.root / FILE, lambda document: document.update(schema="dataset/v2"))
    before = tree_digest(here.root)

    answer = invoke(["dataset", "build", "icons", "--trigger", "other", "--json"], here.root)

    assert answer.exit_code == 3
    assert answer.error["code"] == "schema_unknown"
    assert answer.error["hint"] == "update lora-pipeline"
    assert tree_digest(here.root) == before


EXAMPLES = REPOSITORY / "tests" / "examples"
OLD = sorted(
    path
    for path in EXAMPLES.glob("*/valid/*.json")
    if path.parent.parent.name in KINDS and "schema" not in json.loads(path.read_bytes())
)


@pytest.mark.parametrize("path", OLD, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_jsn_11_records_from_before_schemas_were_named_stay_readable(path: Path) -> None:
    """These files never change: each is what a released version, or the base format, wrote."""
    kind = KINDS[path.parent.parent.name]
    document = parse_record(kind, path.read_bytes(), path.name)
    record = kind.from_dict(document)

    again = json.loads(strict_json.dumps(record.to_dict()))

    assert kind.from_dict(again) == record


def test_jsn_11_the_base_format_is_covered() -> None:
    assert {path.parent.parent.name for path in OLD} >= {
        "asset", "spec", "dataset", "lora", "checkpoint", "evaluation", "tags", "asset-types",
    }  # fmt: skip


def test_jsn_13_a_file_of_200_megabytes_is_refused_before_it_is_read(here: Workspace) -> None:
    with (here.root / RECORD).open("r+b") as stream:
        stream.truncate(200 * 1000 * 1000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    answer = invoke([*SHOW, "--json"], here.root)

    assert answer.exit_code == 3
    assert "has 200000000 bytes, at most" in answer.error["message"]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB on Linux
    assert grown < 100_000


@pytest.mark.parametrize("key", ["__proto__", "constructor", "toString"])
def test_jsn_14_names_that_scripts_of_a_page_stumble_over_are_data(
    here: Workspace, key: str
) -> None:
    path = here.root / RECORD
    changed(path, lambda document: document.update({key: {"x": 1}}))
    refused(here, RECORD, SHOW, "record_invalid")

    changed(path, lambda document: document.update({"policies": {key: document.pop(key)}}))
    answer = invoke([*SHOW, "--json"], here.root)
    assert answer.exit_code == 0
    assert json.loads(path.read_bytes())["policies"] == {key: {"x": 1}}


DIGEST = "0123456789abcdef" * 4
NO_DIGESTS = [
    DIGEST, DIGEST.upper(), f"sha256:{DIGEST.upper()}", f"sha256:{DIGEST[:-1]}",
    f"sha256:{DIGEST}0", f"SHA256:{DIGEST}", f"sha-256:{DIGEST}", f"sha256:{DIGEST}\n",
    f"md5:{DIGEST[:32]}", "sha256:", f" sha256:{DIGEST}", f"sha256-{DIGEST}",
]  # fmt: skip


def test_jsn_15_a_digest_has_one_form(here: Workspace) -> None:
    for digest in NO_DIGESTS:
        changed(here.root / FILE, lambda document: document.update(contentHash=digest))  # noqa: B023

        message = refuses(here, ["dataset", "show", "icons"], "record_invalid")

        assert "$.contentHash" in message, digest
        assert "64 lower-case hexadecimal digits" in message
    refused(here, FILE, ["dataset", "show", "icons"], "record_invalid")


NO_TIMES = [
    "2026-03-01T12:00:00", "2026-03-01 12:00:00Z", "2026-03-01T12:00:00+01:00",
    "2026-03-01T12:00:00z", "2016-12-31T23:59:60Z", "2026-13-01T12:00:00Z", "2026-03-01",
    "1740830400", "2026-03-01T24:00:00Z",
]  # fmt: skip


def test_jsn_16_a_time_is_in_utc_or_it_is_refused(here: Workspace) -> None:
    for time in NO_TIMES:
        changed(here.root / RECORD, lambda document: document.update(createdAt=time))  # noqa: B023

        assert "$.createdAt" in refuses(here, SHOW, "record_invalid"), time
    refused(here, RECORD, SHOW, "record_invalid")


def findings(workspace: Workspace) -> dict[str, dict[str, str]]:
    document = invoke(["validate", "--json"], workspace.root).document
    return {one["code"]: one for one in document["data"]["findings"]}


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00Z", "1999-12-31T23:59:59.5Z"])
def test_jsn_16_any_time_that_was_is_read(here: Workspace, time: str) -> None:
    changed(here.root / RECORD, lambda document: document.update(createdAt=time))

    assert invoke(SHOW, here.root).exit_code == 0
    assert "time_in_future" not in findings(here)


@pytest.mark.parametrize(
    "time", ["2038-01-19T03:14:08Z", "2106-02-07T06:28:16Z", "9999-12-31T23:59:59Z"]
)
def test_jsn_16_a_time_to_come_is_read_and_found(here: Workspace, time: str) -> None:
    changed(here.root / RECORD, lambda document: document.update(updatedAt=time))

    found = findings(here)["time_in_future"]

    assert invoke(SHOW, here.root).exit_code == 0
    assert (found["where"], found["severity"]) == (RECORD, "warning")
    assert time in found["message"]


def test_jsn_16_a_day_that_never_was_is_found(here: Workspace) -> None:
    changed(here.root / RECORD, lambda document: document.update(createdAt="2026-02-30T12:00:00Z"))

    assert findings(here)["time_impossible"]["severity"] == "error"


PATHS = [
    "/etc/passwd", "../../etc/passwd", "a/../../b.png", "a\\b.png", "C:/x.png", "C:\\x.png",
    "\\\\server\\share\\x.png", "file:///etc/passwd", "~/x.png", "~root/x.png", "x:stream",
    "./a.png", "a//b.png", "", "a/./b.png", "a\u0000b.png", "a\nb.png", "https://example.org/a.png",
]  # fmt: skip


def test_jsn_17_a_path_that_leads_out_is_refused_in_a_manifest(here: Workspace) -> None:
    for path in PATHS:
        changed(here.root / FILE, lambda document: document["items"][0].update(path=path))  # noqa: B023

        message = refuses(here, ["dataset", "verify", "icons"], "record_invalid")

        assert "$.items[0].path" in message, path
    refused(here, FILE, ["dataset", "verify", "icons"], "record_invalid")


def test_jsn_17_a_path_that_leads_out_is_refused_in_an_asset(here: Workspace) -> None:
    asset = next(iter(here.records.all(Asset, here.scope())))
    show = ["asset", "show", asset.record_id]
    for path in [*PATHS, "assetsRoot:/etc/passwd", "assetsRoot:../x.png"]:
        changed(
            asset.path,
            lambda document: document["versions"][0]["variants"][0].update(originalPath=path),  # noqa: B023
        )

        message = refuses(here, show, "record_invalid")

        assert "$.versions[0].variants[0].originalPath" in message, path
    refused(here, here.relative(asset.path), show, "record_invalid")


def test_jsn_18_an_id_that_is_not_that_of_its_file_names_both(here: Workspace) -> None:
    changed(here.root / FILE, lambda document: document.update(id="other"))

    message = invoke(["dataset", "show", "icons", "--json"], here.root).error["message"]
    found = findings(here)["id_differs"]

    assert "icons.json" in message
    assert "'other'" in message
    assert "'other'" in found["message"]
    assert "'icons'" in found["message"]


def test_jsn_18_a_reference_that_leads_nowhere_names_both_ends(here: Workspace) -> None:
    asset = next(iter(here.records.all(Asset, here.scope())))
    asset.path.unlink()

    found = findings(here)["reference_lost"]

    assert found["where"] == FILE
    assert asset.record_id in found["message"]


def test_jsn_18_releases_that_descend_from_each_other_are_found(tmp_path: Path) -> None:
    workspace = active_studio(tmp_path / "studio").workspace
    path = next(workspace.data_root.rglob("loras/*.json"))

    def circle(document: dict[str, Any]) -> None:
        release = document["releases"][0]
        other = {**release, "id": "r2", "status": "candidate", "parentReleaseId": "r1"}
        document["releases"] = [{**release, "parentReleaseId": "r2"}, other]

    changed(path, circle)

    found = findings(workspace)["lineage_circle"]

    assert "r1 → r2 → r1" in found["message"]
    assert found["where"] == workspace.relative(path)


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workspace = active_studio(tmp_path_factory.mktemp("proven") / "studio").workspace
    commit_all(workspace.root, "Active")
    assert invoke(["validate"], workspace.root).exit_code == 0
    return workspace.root


ONE_BYTE = [
    ("loras", '"status": "approved"', '"status": "candidate"'),
    ("loras", '"event": "promoted"', '"event": "activated"'),
    ("evals", '"status": "complete"', '"status": "failed"'),
    ("reviews", '"verdict": "approved"', '"verdict": "rejected"'),
    ("datasets", '"repeats": 1', '"repeats": 2'),
    ("datasets", '"caption": "', '"caption": "x'),
    ("reviews", '"reviewer": "k', '"reviewer": "m'),
]


@pytest.mark.parametrize(("folder", "old", "new"), ONE_BYTE, ids=lambda word: word[:24])
def test_jsn_19_an_approved_record_that_was_edited_turns_the_gate_red(
    proven: Path, tmp_path: Path, folder: str, old: str, new: str
) -> None:
    root = copied(proven, tmp_path / "studio")
    path = next(path for path in sorted(root.rglob(f"{folder}/*.json")) if old in path.read_text())
    edit(path, old, new)

    answer = invoke(["validate", "--json"], root)

    assert answer.exit_code == 1
    assert any(one["severity"] == "error" for one in answer.document["data"]["findings"])


def test_jsn_20_another_form_is_read_told_and_has_the_same_digest(here: Workspace) -> None:
    path = here.root / FILE
    before = manifest_of(here)
    document = json.loads(path.read_bytes())
    turned = dict(reversed(list(document.items())))
    path.write_text(json.dumps(turned, indent="\t"), encoding="utf-8")  # and no last line feed

    assert manifest_of(here) == before
    assert invoke(["dataset", "verify", "icons"], here.root).exit_code == 0
    told = findings(here)["form_differs"]
    assert (told["where"], told["severity"]) == (FILE, "info")
    lora(here.root, "dataset", "build", "icons")
    assert manifest_of(here).content_hash == before.content_hash


def test_jsn_20_records_as_we_write_them_are_not_told(here: Workspace) -> None:
    assert "form_differs" not in findings(here)


# --- whatever else a file may hold -------------------------------------------------------------


@pytest.mark.parametrize("depth", [1_000, 200_000])
def test_jsn_a_text_nested_without_end_is_refused_in_a_process_of_its_own(
    here: Workspace, depth: int
) -> None:
    (here.root / RECORD).write_bytes(b'{"policies":' + b"[" * depth + b"]" * depth + b"}")

    answer = run_lora([*SHOW, "--json"], here.root)

    assert answer.exit_code == 3, answer.stderr
    assert answer.error["code"] in ("json_invalid", "record_invalid")


def test_jsn_nothing_invalid_is_ever_written(here: Workspace) -> None:
    manifest = manifest_of(here)

    with pytest.raises(PipelineError) as caught:
        encode_record(type(manifest).from_dict({**manifest.to_dict(), "id": "../x"}), "x.json")

    assert isinstance(caught.value, RecordInvalidError)
    assert isinstance(manifest, Manifest)
