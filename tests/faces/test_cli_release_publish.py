"""``lora release publish``: what the gate passed, with consent, and proven to be there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset, Rights
from lora_pipeline.releases import hub as hub_module
from lora_pipeline.workspace.changes import Changes
from tests.support.fake_hub import TOKEN, FakeHub
from tests.support.fake_web_service import running
from tests.support.release_builders import LORA, SCOPE, Studio, active_studio, copy_of, edit
from tests.support.workspace_builders import Answer, invoke, tree_digest

REPO = "studio/icons"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """A studio with r1 of icons active and r2 a candidate, and a token in its environment."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return copy_of(template, tmp_path / "studio")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    pytest.importorskip("huggingface_hub")
    with running(FakeHub(secret=TOKEN)) as service:
        monkeypatch.setenv("HF_ENDPOINT", service.address)
        yield service


def publish(studio: Studio, release: str, *options: str, repo: str = REPO) -> Answer:
    line = ["release", "publish", LORA, release, "--repo", repo, *options, "--json"]
    return invoke(line, studio.root)


def test_without_consent_every_file_is_listed_and_nobody_is_asked(
    studio: Studio, hub: FakeHub
) -> None:
    before = tree_digest(studio.root)

    answer = publish(studio, "r1")

    assert (answer.exit_code, answer.error["code"]) == (1, "upload_not_agreed")
    assert "--yes-upload" in answer.error["hint"]
    names = [one["name"] for one in answer.document["data"]["uploads"]]
    assert names == [
        "icons-r1.safetensors", "icons-r1.passport.json", "README.md", "contact-sheet.webp",
        "images/example-1.png",
    ]  # fmt: skip
    assert hub.requests == []
    assert tree_digest(studio.root) == before


def test_a_dry_run_lists_the_same_and_exits_with_0(studio: Studio, hub: FakeHub) -> None:
    answer = publish(studio, "r1", "--yes-upload", "--dry-run")

    assert answer.exit_code == 0
    assert len(answer.document["data"]["uploads"]) == 5
    assert hub.requests == []


def test_what_was_listed_is_there_byte_for_byte_and_again_nothing_is_sent(
    studio: Studio, hub: FakeHub
) -> None:
    first = publish(studio, "r1", "--yes-upload")
    uploads = hub.count("PUT /upload/")

    second = publish(studio, "r1", "--yes-upload")

    assert first.exit_code == second.exit_code == 0, first.stdout
    facts, held = first.document["data"], hub.files(REPO)
    assert hub.repositories[REPO].private
    assert {one["name"] for one in facts["files"]} == set(held) - {".gitattributes"}
    for one in facts["files"]:
        assert hashlib.sha256(held[one["name"]]).hexdigest() == one["sha256"]
    assert second.document["data"]["unchanged"]
    assert hub.count("PUT /upload/") == uploads
    assert hub.count(f"POST /api/models/{REPO}/commit/") == 1
    assert not (studio.root / ".lora" / "publish" / "icons-r1").exists()


def test_the_published_card_names_no_person_and_no_dataset(studio: Studio, hub: FakeHub) -> None:
    publish(studio, "r1", "--yes-upload")

    everything = b"".join(hub.files(REPO).values())

    assert b"studio.example" not in everything
    assert b"hatching as it should be" not in everything
    assert b"Approved by 1 person." in hub.files(REPO)["README.md"]
    passport = json.loads(hub.files(REPO)["icons-r1.passport.json"])
    held = hub.files(REPO)["icons-r1.safetensors"]
    assert passport["file"]["sha256"] == hashlib.sha256(held).hexdigest()


def test_a_candidate_is_refused_and_goes_only_into_a_private_repository(
    studio: Studio, hub: FakeHub
) -> None:
    hub.make("studio/open", private=False)

    plain = publish(studio, "r2", "--yes-upload")
    public = publish(studio, "r2", "--yes-upload", "--candidate", repo="studio/open")
    both = publish(studio, "r2", "--yes-upload", "--candidate", "--public")

    assert (plain.exit_code, plain.error["code"]) == (1, "release_not_approved")
    assert (public.exit_code, public.error["code"]) == (3, "state_forbids")
    assert (both.exit_code, both.error["code"]) == (3, "argument_invalid")
    assert list(hub.files("studio/open")) == [".gitattributes"]
    assert hub.objects == {}


def test_a_release_that_the_gate_no_longer_passes_is_refused_with_its_reasons(
    studio: Studio, hub: FakeHub
) -> None:
    for path in studio.path("review", "x").parent.glob("*.json"):
        edit(path, "hatching as it should be", "hatching as it could be")

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (1, "gate_refused")
    assert "reviews intact" in answer.error["message"]
    assert hub.requests == []


def test_a_candidate_with_a_withdrawn_image_is_refused(studio: Studio, hub: FakeHub) -> None:
    loaded = next(studio.workspace.records.all(Asset, SCOPE))
    changes = Changes(studio.workspace)
    rights = Rights(withdrawn_at="2026-01-01T00:00:00Z", withdrawn_by="kim@studio.example")
    changes.update(loaded, replace(loaded.record, rights=rights))
    changes.apply()

    answer = publish(studio, "r2", "--yes-upload", "--candidate")

    assert (answer.exit_code, answer.error["code"]) == (1, "rights_refused")
    assert hub.requests == []


@pytest.mark.parametrize(
    "ending", [".safetensors", pytest.param("README.md", marks=pytest.mark.slow)]
)
def test_a_hub_that_keeps_other_bytes_is_found_out(
    studio: Studio, hub: FakeHub, ending: str
) -> None:
    hub.spoils = ending

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "integrity")
    assert ending in answer.error["message"]
    assert "sent was" in answer.error["message"]


@pytest.mark.slow
def test_a_hub_that_loses_a_file_is_found_out(studio: Studio, hub: FakeHub) -> None:
    hub.forgets = ".webp"

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "integrity")
    assert "contact-sheet.webp is not there" in answer.error["message"]


@pytest.mark.slow
def test_a_hub_that_makes_it_public_gets_nothing(studio: Studio, hub: FakeHub) -> None:
    hub.exposes = True

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "state_forbids")
    assert hub.objects == {}


@pytest.mark.slow
def test_what_was_sent_before_a_commit_was_lost_is_not_sent_again(
    studio: Studio, hub: FakeHub
) -> None:
    hub.misbehave(f"POST /api/models/{REPO}/commit/", "cut")

    broken = publish(studio, "r1", "--yes-upload")
    uploads = hub.count("PUT /upload/")
    again = publish(studio, "r1", "--yes-upload")

    assert (broken.exit_code, broken.error["code"]) == (3, "service_unreachable")
    assert uploads == hub.count("PUT /upload/") == 3
    assert again.exit_code == 0


@pytest.mark.slow
def test_a_commit_whose_answer_was_lost_is_found_to_be_there(studio: Studio, hub: FakeHub) -> None:
    hub.misbehave(f"POST /api/models/{REPO}/commit/", "lost")

    publish(studio, "r1", "--yes-upload")
    again = publish(studio, "r1", "--yes-upload")

    assert again.document["data"]["unchanged"]
    assert len(hub.repositories[REPO].commits) == 2


@pytest.mark.slow
def test_a_commit_of_somebody_else_in_between_is_not_written_over(
    studio: Studio, hub: FakeHub
) -> None:
    hub.moves = True

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "state_forbids")
    assert "icons-r1.safetensors" not in hub.files(REPO)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "fault", "code"),
    [
        ("GET /api/models/", "500", "service_unreachable"),
        ("GET /api/models/", "html", "service_failed"),
        ("GET /api/models/", "list", "service_failed"),
        (f"POST /api/models/{REPO}/commit/", "403", "service_refused"),
        (f"POST /api/models/{REPO}/commit/", "html", "service_failed"),
    ],
)
def test_a_hub_that_misbehaves_is_an_error_that_holds_no_token(
    studio: Studio, hub: FakeHub, route: str, fault: str, code: str
) -> None:
    hub.make(REPO, private=True)
    hub.misbehave(route, *[fault] * 8)

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, code)
    assert TOKEN not in answer.stdout + answer.stderr


@pytest.mark.slow
def test_a_token_that_is_none_is_refused(
    studio: Studio, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another")

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "service_refused")
    assert "hf_another" not in answer.stdout + answer.stderr
    assert hub.repositories == {}


def test_without_a_token_nothing_is_asked(
    studio: Studio, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "settings_invalid")
    assert "HF_TOKEN" in answer.error["message"]
    assert hub.requests == []


@pytest.mark.parametrize("repo", ["icons", "a/b/c", "../x", "a/--b", "https://hf.co/a/b", "a/"])
def test_a_repository_that_is_none_is_refused(studio: Studio, repo: str) -> None:
    answer = publish(studio, "r1", repo=repo)

    assert (answer.exit_code, answer.error["code"]) == (3, "argument_invalid")


def test_a_token_never_travels_in_clear_text(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example")

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "settings_invalid")


def test_without_the_extra_its_name_is_said(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(extra: str, modules: object) -> None:
        from lora_pipeline.foundation.extras import require_extra

        require_extra(extra, ("no_such_module_here",))

    monkeypatch.setattr(hub_module, "require_extra", missing)

    answer = publish(studio, "r1", "--yes-upload")

    assert (answer.exit_code, answer.error["code"]) == (3, "extra_missing")
    assert "lora-pipeline[publish]" in answer.error["hint"]
