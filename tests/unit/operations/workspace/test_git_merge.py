"""A record is merged by its meaning, or comes back with marks and words; never silently."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.conflict_markers import find_markers
from lora_pipeline.operations.workspace.git_merge import Outcome, Sides, merge_record
from lora_pipeline.releases.history import extended
from lora_pipeline.releases.records import HistoryEntry, Lora, Release
from lora_pipeline.workspace.record_bytes import encode_record
from tests.support.dataset_builders import item, manifest

NOW = "2026-03-01T12:00:00Z"
MANIFEST = "data/projects/neon_city/datasets/icons.json"
LORA = "data/projects/neon_city/loras/icons.json"
STYLES = "data/shared/catalogs/styles.json"


def merged(path: str, base: Any, ours: Any, theirs: Any) -> Outcome:
    def data(side: Any) -> bytes:
        if side is None or isinstance(side, bytes):
            return side or b""
        return strict_json.dumps(side) if isinstance(side, dict) else encode_record(side, path)

    return merge_record(Sides(path, data(base), data(ours), data(theirs), labels=("main", "art")))


def lora(**fields: Any) -> Lora:
    return Lora(
        **{
            "id": "icons",
            "name": "Icons",
            "created_at": NOW,
            "updated_at": NOW,
            "scope": "project",
            "checkpoint_id": "sdxl",
            "asset_types": ("ui_icon",),
            **fields,
        }
    )


def release(release_id: str, **fields: Any) -> Release:
    return Release(**{"id": release_id, "created_at": NOW, "status": "candidate", **fields})


def event(name: Any, release_id: str = "") -> HistoryEntry:
    return HistoryEntry(event=name, at=NOW, by="kim@studio.example", release_id=release_id)


def test_other_files_are_merged_by_git() -> None:
    clean = merged("README.md", b"a\nb\nc\n", b"A\nb\nc\n", b"a\nb\nC\n")
    clash = merged("README.md", b"a\n", b"b\n", b"c\n")

    assert clean == Outcome(b"A\nb\nC\n", clean=True, said=())
    assert not clash.clean
    assert clash.data == b"<<<<<<< main\nb\n=======\nc\n>>>>>>> art\n"


def test_marks_are_as_long_as_git_asks_for() -> None:
    outcome = merge_record(Sides("x", b"a\n", b"b\n", b"c\n", marker_size=12))

    assert outcome.data.startswith(b"<" * 12 + b" ours\n")


def test_bytes_that_are_no_record_are_merged_as_text_and_never_called_merged() -> None:
    """Lines that merge say nothing of a file whose sides we could not read."""
    base, ours, theirs = (b'{"a": 1}\n' + b"\n" * 9 + one for one in (b"", b"", b"x\n"))
    ours = ours.replace(b"1", b"2")

    outcome = merged(MANIFEST, base, ours, theirs)

    assert not outcome.clean
    assert "is merged as text, look at it" in outcome.said[0]
    assert "git checkout --ours" in outcome.said[-1]


def test_a_result_that_would_be_no_manifest_is_not_called_merged() -> None:
    both, one, other = manifest(item("A"), item("B")), manifest(item("A")), manifest(item("B"))

    outcome = merged(MANIFEST, both, one, other)

    assert not outcome.clean
    assert "no image is left of the two manifests" in outcome.said[0]


def test_settings_that_do_not_go_together_are_not_called_merged() -> None:
    """Each side is valid by itself; together they break the schema."""
    base = manifest(item("A"))
    documents = [base.to_dict() for _ in range(3)]
    documents[0]["selection"] |= {"balance": "color"}
    documents[1]["selection"] |= {"balance": "color", "limitEach": 3}
    before, ours, theirs = documents

    outcome = merged(MANIFEST, before, ours, theirs)

    assert not outcome.clean
    assert find_markers(outcome.data) is not None or "merged as text" in outcome.said[0]


def test_words_of_a_catalog_come_together_and_their_aliases() -> None:
    def styles(*words: dict[str, Any]) -> dict[str, Any]:
        return {"schema": "styles/v1", "id": "styles", "createdAt": NOW, "updatedAt": NOW,
                "styles": list(words)}  # fmt: skip

    flat = {"id": "flat", "label": "Flat", "aliases": ["plain"]}
    outcome = merged(
        STYLES,
        styles(flat),
        styles({**flat, "aliases": ["plain", "even"]}, {"id": "neon", "label": "Neon"}),
        styles({"id": "cute", "label": "Cute"}, {**flat, "aliases": ["plain", "level"]}),
    )
    document = strict_json.loads(outcome.data, "styles")

    assert outcome.clean
    assert [one["id"] for one in document["styles"]] == ["cute", "flat", "neon"]
    assert sorted(document["styles"][1]["aliases"]) == ["even", "level", "plain"]


def test_a_promotion_goes_with_a_new_candidate() -> None:
    base = lora(releases=(release("r1"),))
    history = extended((), event("deprecated", "r1"))
    ours = replace(base, history=history, releases=(release("r1", status="deprecated"),))
    theirs = replace(base, releases=(release("r1"), release("r2")))

    outcome = merged(LORA, base, ours, theirs)
    document = strict_json.loads(outcome.data, "lora")

    assert outcome.clean, outcome.said
    assert [one["status"] for one in document["releases"]] == ["deprecated", "candidate"]


def test_what_contradicts_the_merged_history_is_not_called_merged() -> None:
    """Theirs changed a status by hand; with our history that is a contradiction of its own."""
    base = lora(releases=(release("r1"),))
    ours = replace(base, history=extended((), event("activated")), enabled=True)
    theirs = replace(base, releases=())
    promoted = replace(ours, history=extended((), event("deprecated", "r1")),
                       releases=(release("r1", status="deprecated"),))  # fmt: skip

    gone = merged(LORA, base, promoted, theirs)

    assert merged(LORA, base, ours, theirs).clean
    assert not gone.clean


def test_two_new_histories_are_a_conflict_with_both_events_named() -> None:
    base = lora(releases=(release("r1"), release("r2")))
    ours, theirs = (
        replace(base, history=extended((), event("deprecated", one)),
                releases=tuple(replace(r, status="deprecated") if r.id == one else r
                               for r in base.releases))
        for one in ("r1", "r2")
    )  # fmt: skip

    outcome = merged(LORA, base, ours, theirs)

    assert not outcome.clean
    assert find_markers(outcome.data) is not None
    assert any("history   main deprecated r1   art deprecated r2" in line for line in outcome.said)


@pytest.mark.parametrize("empty", ["ours", "theirs"])
def test_an_empty_side_is_never_called_merged(empty: str) -> None:
    full = manifest(item("A"))
    ours, theirs = (None if empty == side else full for side in ("ours", "theirs"))

    assert not merged(MANIFEST, None, ours, theirs).clean
