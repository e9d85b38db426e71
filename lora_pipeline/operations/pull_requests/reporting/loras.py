"""What became of a LoRA between two moments, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.foundation.canonical import short
from lora_pipeline.releases.records import HistoryEntry, Lora, Release

_EVENTS = {
    "promoted": "promoted",
    "rolled_back": "rolled back",
    "deprecated": "deprecated",
    "activated": "switched on",
    "deactivated": "switched off",
}


def lora_sentences(before: Lora | None, after: Lora | None) -> list[str]:
    """Return what a reviewer should know of a change, the weightiest first."""
    if after is None:
        return ["deleted"] if before else []
    return [
        *_active(before, after),
        *_history(before, after),
        *_releases(before, after),
        *([] if before else ["new LoRA"]),
        *_settings(before, after),
    ]


def _active(before: Lora | None, after: Lora) -> Iterator[str]:
    was, now = before.active_release_id if before else "", after.active_release_id
    if was != now:
        yield f"active release {was or 'none'} → {now or 'none'}"


def _history(before: Lora | None, after: Lora) -> Iterator[str]:
    known = before.history if before else ()
    if after.history[: len(known)] != known:
        yield "its history was rewritten, which no command does"
        return
    yield from (_event(entry) for entry in after.history[len(known) :])


def _event(entry: HistoryEntry) -> str:
    words = f"{entry.release_id} {_EVENTS.get(entry.event, entry.event)} by {entry.by}".strip()
    return f"{words}: {entry.reason}" if entry.reason else words


def _releases(before: Lora | None, after: Lora) -> Iterator[str]:
    known = {one.id: one for one in before.releases} if before else {}
    for release in after.releases:
        earlier = known.pop(release.id, None)
        if earlier is None:
            yield _came(release)
        elif earlier.status != release.status:
            yield f"{release.id} {earlier.status} → {release.status}"
        if earlier is not None and _bytes_of(earlier) != _bytes_of(release):
            yield f"{release.id} names other weights than before, which no command does"
    yield from (f"{gone} went" for gone in known)


def _came(release: Release) -> str:
    training = release.training
    trainer = f", by {training['trainer']}" if training.get("trainer") else ""
    dataset = f" from {training['datasetId']}" if training.get("datasetId") else ""
    digest = short(str(training.get("manifestHash", "")))
    return f"{release.id} came as {release.status}{trainer}{dataset}" + (
        f" ({digest})" if digest else ""
    )


def _bytes_of(release: Release) -> str:
    return release.weights.sha256 if release.weights else ""


def _settings(before: Lora | None, after: Lora) -> Iterator[str]:
    if before is None:
        return
    for name, was, now in (
        ("enabled", before.enabled, after.enabled),
        ("strength", before.strength_in_use, after.strength_in_use),
        ("trigger word", before.trigger_word, after.trigger_word),
        ("recommended", before.recommended, after.recommended),
        ("checkpoint", before.checkpoint_id, after.checkpoint_id),
    ):
        if was != now:
            yield f"{name} {_said(was)} → {_said(now)}"


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or "none"
