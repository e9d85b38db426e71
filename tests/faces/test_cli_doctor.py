"""``lora doctor``: what is mended, what is only named, and what strangers may see."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.operations.workspace.checkup.programs import bad_releases
from tests.support.release_builders import Studio, copy_of, edit, make_active, make_studio
from tests.support.workspace_builders import Answer, git, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = make_studio(tmp_path_factory.mktemp("template") / "studio")
    make_active(studio)
    return studio


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def checks(answer: Answer) -> dict[str, dict[str, Any]]:
    return {one["code"]: one for one in answer.document["data"]["checks"]}


def doctor(studio: Studio, *options: str) -> Answer:
    return invoke(["doctor", "--json", *options], studio.root)


def test_what_is_safe_is_mended_and_the_rest_is_named(studio: Studio) -> None:
    invoke(["init"], studio.root)
    (studio.root / ".gitignore").write_text("*.tmp")
    (studio.root / ".gitattributes").write_text("*.png binary\n")
    (studio.root / "schemas/lora.v1.schema.json").write_text("{}")
    stale = studio.root / "data/shared/.lora-tmp-x"
    stale.touch()
    os.utime(stale, (time.time() - 100_000,) * 2)
    young = studio.root / "data/shared/.lora-tmp-young"
    young.touch()
    before = doctor(studio)
    assert before.document["suggestions"][0] == "lora doctor --fix"
    assert {code for code, one in checks(before).items() if one["fixable"]} == {
        "left_over", "schemas", "gitignore", "line_ends",
    }  # fmt: skip

    answer = doctor(studio, "--fix")

    assert {one["code"] for one in answer.document["data"]["mended"]} == {
        "left_over", "schemas", "gitignore", "line_ends",
    }  # fmt: skip
    assert answer.exit_code == 0
    assert (studio.root / ".gitignore").read_text() == "*.tmp\n.lora/\nconfig/local.json\n"
    assert (studio.root / ".gitattributes").read_text() == "*.png binary\n*.json text eol=lf\n"
    assert not stale.exists()
    assert young.exists()
    assert set(answer.document["written"]) >= {".gitignore", "schemas/lora.v1.schema.json"}
    again = doctor(studio, "--fix")
    assert again.document["data"]["mended"] == []
    assert again.document["written"] == []


def test_a_dry_run_says_what_would_be_mended(studio: Studio) -> None:
    (studio.root / ".gitignore").write_text("")
    before = tree_digest(studio.root)

    answer = doctor(studio, "--fix", "--dry-run")

    assert "gitignore" in {one["code"] for one in answer.document["data"]["mended"]}
    assert tree_digest(studio.root) == before
    assert "would mend" in invoke(["doctor", "--fix", "--dry-run"], studio.root).stdout


def test_looking_writes_nothing(studio: Studio) -> None:
    before = tree_digest(studio.root)

    assert doctor(studio).exit_code == 0
    assert tree_digest(studio.root) == before


def pickled(studio: Studio) -> None:
    edit(studio.path("checkpoint", "tiny"), "tiny.safetensors", "tiny.ckpt")


def unproven(studio: Studio) -> None:
    path = studio.path("checkpoint", "tiny")
    document = json.loads(path.read_text())
    del document["schema"], document["digest"]
    path.write_text(json.dumps(document))


def absent(studio: Studio) -> None:
    (studio.root / ".lora/models/tiny.safetensors").unlink()


def cut(studio: Studio) -> None:
    for path in (studio.root / ".lora/store").glob("??/*"):
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1])


def emptied(studio: Studio) -> None:
    for path in (studio.root / ".lora/store").glob("??/*"):
        path.unlink()


def older(studio: Studio) -> None:
    for path in studio.path("spec", "x").parent.glob("*.json"):
        document = json.loads(path.read_text())
        del document["schema"]
        path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "code", "state", "message", "fix"),
    [
        (pickled, "base_models", "fail", "tiny: a pickle, which can run code", "safetensors"),
        (unproven, "base_models", "warn", "tiny: no digest on record", "lora checkpoint add"),
        (absent, "base_models", "skipped", "tiny: not on this machine", "checkpoint verify tiny"),
        (cut, "active_weights", "fail", "icons r1: the file has another length", "lora validate"),
        (emptied, "active_weights", "warn", "icons r1: not on this machine", "lora store status"),
        (older, "records", "warn", "3 of 17 records have an older form", "lora migrate run"),
    ],
)
def test_records_and_weights_are_looked_at(
    studio: Studio,
    damage: Callable[[Studio], None],
    code: str,
    state: str,
    message: str,
    fix: str,
) -> None:
    assert checks(doctor(studio))[code]["state"] == "ok"

    damage(studio)
    answer = doctor(studio)

    found = checks(answer)[code]
    assert found["state"] == state
    assert message in found["message"]
    assert fix in found["fix"]
    assert answer.exit_code == (1 if state == "fail" else 0)


BAD = '{"python": "3", "packages": {"torch": "2", "ultralytics": "8.3.41"}, "devices": []}'


def environment(folder: Path, body: str) -> Path:
    """Write a program that stands in for the Python of a trainer."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nprint('''{body}''')\n")
    path.chmod(0o755)
    return path


@pytest.mark.skipif(os.name == "nt", reason="a script as a program")
@pytest.mark.parametrize(
    ("body", "state", "message"),
    [
        ('{"python": "3.10.1", "packages": {"torch": "2.4"}, "devices": ["NVIDIA H200"]}',
         "ok", "Python 3.10.1, torch 2.4, NVIDIA H200"),
        ('{"python": "3.10.1", "packages": {}, "devices": ["cpu"]}', "warn", "without torch"),
        (BAD, "fail", "ultralytics 8.3.41 carried a miner"),
        ("nothing of use", "fail", "it does not run"),
    ],
)  # fmt: skip
def test_a_trainers_own_environment_is_asked_what_it_has(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, body: str, state: str, message: str
) -> None:
    monkeypatch.setenv("LORA_KOHYA_PYTHON", str(environment(studio.root.parent, body)))

    found = checks(doctor(studio))["environment_kohya_ss"]

    assert found["state"] == state
    assert message in found["message"]


def test_known_bad_releases_are_told_from_good_ones() -> None:
    assert bad_releases({"litellm": "1.82.8"}) == ["litellm 1.82.8 stole keys"]
    assert bad_releases({"litellm": "1.82.9", "ultralytics": ""}) == []


def test_a_bundle_holds_no_names_no_homes_and_no_secrets(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_do_not_show_this_to_anybody")
    (studio.root / "config/pipeline.yaml").write_text("project: neon_city\n")
    out = studio.root.parent / "bundle.md"

    answer = doctor(studio, "--bundle", str(out))

    assert answer.exit_code == 0
    text = out.read_text(encoding="utf-8")
    assert "| identity | ok | PERSON |" in text
    assert "| workspace | ok | WORKSPACE |" in text
    assert "| project | config/pipeline.yaml |" in text
    assert "| asset | 3 |" in text
    for private in (str(studio.root), "studio.example", "hf_do_not", "neon_city"):
        assert private not in text, private
    taken = doctor(studio, "--bundle", str(out))
    assert taken.error["code"] == "record_exists"


def test_every_check_has_a_code_and_a_way_out_when_it_is_wrong(studio: Studio) -> None:
    git(studio.root, "config", "user.email", "")
    (studio.root / ".gitignore").write_text("")

    for code, one in checks(doctor(studio)).items():
        assert code == one["name"].replace(" ", "_")
        assert one["state"] == "ok" or one["fix"], code
