"""History: chained entries, and the pointer and statuses that follow from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.releases.history import (
    active_after,
    begins_with,
    broken_link,
    evidence_of,
    extended,
    last_activation,
    previously_active,
    status_after,
)
from lora_pipeline.releases.records import HistoryEntry, HistoryEvent, Lora, Release

NOW = "2026-03-01T12:00:00Z"
EVENTS: list[tuple[HistoryEvent, str]] = [
    ("promoted", "r1"),
    ("promoted", "r2"),
    ("rolled_back", "r1"),
    ("deprecated", "r2"),
    ("activated", ""),
]


def history_of(*events: tuple[HistoryEvent, str]) -> tuple[HistoryEntry, ...]:
    history: tuple[HistoryEntry, ...] = ()
    for event, release_id in events:
        entry = HistoryEntry(event=event, at=NOW, by="kim@studio", release_id=release_id)
        history = extended(history, entry)
    return history


def lora_with(history: tuple[HistoryEntry, ...], active: str, **statuses: str) -> Lora:
    return Lora(
        id="a",
        name="a",
        created_at=NOW,
        updated_at=NOW,
        scope="project",
        checkpoint_id="c",
        asset_types=("t",),
        active_release_id=active,
        history=history,
        releases=tuple(
            Release(id=name, created_at=NOW, status=status)  # type: ignore[arg-type]
            for name, status in statuses.items()
        ),
    )


def test_a_history_that_was_only_added_to_is_sound() -> None:
    assert broken_link(history_of(*EVENTS)) is None
    assert broken_link(()) is None


@pytest.mark.parametrize("number", range(len(EVENTS)))
def test_an_edited_entry_is_named(number: int) -> None:
    history = list(history_of(*EVENTS))
    history[number] = replace(history[number], by="somebody@else")

    assert broken_link(history) == f"entry {number + 1} ({EVENTS[number][0]}" + (
        f" {EVENTS[number][1]}) was edited" if EVENTS[number][1] else ") was edited"
    )


@pytest.mark.parametrize("number", range(len(EVENTS) - 1))
def test_a_removed_entry_breaks_the_chain(number: int) -> None:
    history = list(history_of(*EVENTS))
    del history[number]

    assert broken_link(history) == f"entry {number + 1} does not follow the one before it"


def test_exchanged_entries_break_the_chain() -> None:
    first, second, *rest = history_of(*EVENTS)

    assert broken_link([second, first, *rest]) == "entry 1 does not follow the one before it"


def test_a_removed_last_entry_is_told_by_what_was_there_before() -> None:
    whole = history_of(*EVENTS)

    assert broken_link(whole[:-1]) is None
    assert not begins_with(whole[:-1], whole)
    assert begins_with(whole, whole[:-1])


def test_the_pointer_follows_from_the_history() -> None:
    assert active_after(()) == ""
    assert active_after(history_of(*EVENTS[:2])) == "r2"
    assert active_after(history_of(*EVENTS)) == "r1"
    assert active_after(history_of(("promoted", "r1"), ("deprecated", "r1"))) == ""
    assert active_after(history_of(("promoted", "r1"), ("deprecated", "r2"))) == "r1"


def test_statuses_follow_from_the_history() -> None:
    history = history_of(*EVENTS)

    assert status_after(history, "r1") == "approved"
    assert status_after(history, "r2") == "deprecated"
    assert status_after(history, "r3") == "candidate"


def test_last_activation_is_that_of_the_active_release_or_none() -> None:
    history = history_of(("promoted", "r1"), ("promoted", "r2"))

    assert last_activation(lora_with(history, "r2")) == history[1]
    assert last_activation(lora_with(history, "r1")) is None
    assert last_activation(lora_with((), "r1")) is None


def test_going_back_means_the_last_that_was_active_and_is_still_approved() -> None:
    history = history_of(("promoted", "r1"), ("promoted", "r2"), ("promoted", "r3"))
    approved = {"r1": "approved", "r2": "approved", "r3": "approved"}

    assert previously_active(lora_with(history, "r3", **approved)) == "r2"
    assert previously_active(lora_with(history, "r3", **approved | {"r2": "deprecated"})) == "r1"
    assert previously_active(lora_with(history[:1], "r1", **approved)) == ""


def test_evidence_is_that_of_the_latest_activation() -> None:
    history = history_of(("promoted", "r1"), ("promoted", "r2"), ("rolled_back", "r1"))

    assert evidence_of(history, "r1") == history[2]
    assert evidence_of(history, "r9") is None


@given(st.lists(st.sampled_from(EVENTS), max_size=12), st.data())
def test_no_single_change_of_a_field_goes_unseen(
    events: list[tuple[HistoryEvent, str]], data: st.DataObject
) -> None:
    history = list(history_of(*events))
    if not history:
        return
    number = data.draw(st.integers(0, len(history) - 1))
    field = data.draw(st.sampled_from(["at", "by", "reason", "release_id", "from_release_id"]))
    history[number] = replace(history[number], **{field: "changed"})

    assert broken_link(history)
