"""A plan as a file: complete, the same on every machine, and compared with today's. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, ClassVar, Literal

import msgspec

from lora_pipeline.foundation.canonical import digest_of, short
from lora_pipeline.foundation.record import Part, Record
from lora_pipeline.training.records import Recipe

_SHOWN_LINES = 5
_SHOWN_TEXT = 60
_BEFORE = 20


class PlanWishes(Part, frozen=True, kw_only=True):
    """What was asked for; the plan is made from it again before it runs."""

    trainer: str = ""
    preset: str = ""
    config_file: str = ""
    config: dict[str, Any] = {}
    flags: dict[str, Any] = {}
    trainer_arguments: tuple[str, ...] = ()
    trainer_config: str = ""


class PlanFile(Part, frozen=True, kw_only=True):
    """A file that the trainer is given."""

    path: str
    content: str


class PlanCaution(Part, frozen=True, kw_only=True):
    """What was worth knowing when the plan was made."""

    code: str
    message: str


class PlanMinutes(Part, frozen=True, kw_only=True):
    """About how long the run was expected to take, and what that was read from."""

    basis: str
    low: float | None = None
    high: float | None = None


class SavedPlan(Record, frozen=True, kw_only=True):
    """What a trainer will be given, kept to be reviewed and run later."""

    KIND: ClassVar[str] = "plan"

    lora_id: str
    release_id: str
    scope: Literal["baseline", "project"]
    project_id: str = ""
    trigger_word: str = ""
    created_at: str
    created_by: str = ""
    trainer: str
    trainer_version: str
    dataset_id: str
    manifest_hash: str
    images: int
    staging: str
    checkpoint_id: str
    checkpoint_digest: str = ""
    total_steps: int
    minutes: PlanMinutes
    expected_output: str
    cautions: tuple[PlanCaution, ...] = ()
    preset: str = ""
    recipe: Recipe
    recipe_from: dict[str, str]
    wishes: PlanWishes
    settings: dict[str, str] = {}
    service: str = ""
    uploads: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    argv: tuple[str, ...]
    cwd: str
    environment: dict[str, str] = {}
    files: tuple[PlanFile, ...] = ()
    plan_digest: str

    def binding(self) -> dict[str, Any]:
        """Return what must be the same when it runs: all but who, when and what was expected."""
        left_out = {"createdAt", "createdBy", "minutes", "cautions", "planDigest"}
        return {key: value for key, value in self.to_dict().items() if key not in left_out}

    def digest(self) -> str:
        """Return ``sha256:…`` over what must be the same."""
        return digest_of(self.binding())


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as it was planned.

    Attributes:
        code: Stable slug, such as ``manifest_changed``.
        what: What differs.
        planned: What the plan says.
        now: What it would be today.
    """

    code: str
    what: str
    planned: str
    now: str

    @property
    def message(self) -> str:
        """The difference in one line."""
        return f"{self.what}: {self.planned} when planned, {self.now} now"

    def to_dict(self) -> dict[str, str]:
        """Return the JSON-ready form."""
        return {"code": self.code, "what": self.what, "planned": self.planned, "now": self.now}


def differences(planned: SavedPlan, now: SavedPlan) -> list[Difference]:
    """Return what is not as it was planned, causes before what follows from them."""
    return [
        *_edited(planned),
        *_plain(_CAUSES, planned, now),
        *_recipe(planned, now),
        *_maps("setting_changed", "setting", planned.settings, now.settings),
        *_plain(_CONSEQUENCES, planned, now),
        *_files(planned, now),
        *_lists("command_changed", "command word", planned.argv, now.argv),
        *_maps("environment_changed", "variable", planned.environment, now.environment),
        *_lists("secrets_changed", "secret", planned.secrets, now.secrets),
        *_lists("uploads_changed", "upload", planned.uploads, now.uploads),
    ]


_CAUSES = (
    ("lora_changed", "LoRA", "lora_id"),
    ("trigger_changed", "trigger word", "trigger_word"),
    ("release_changed", "release", "release_id"),
    ("manifest_changed", "dataset", "dataset_id"),
    ("manifest_changed", "manifest", "manifest_hash"),
    ("staging_changed", "staging", "staging"),
    ("checkpoint_changed", "checkpoint", "checkpoint_id"),
    ("checkpoint_changed", "checkpoint digest", "checkpoint_digest"),
    ("trainer_changed", "trainer", "trainer"),
    ("trainer_version_changed", "trainer version", "trainer_version"),
    ("preset_changed", "preset", "preset"),
)
_CONSEQUENCES = (
    ("steps_changed", "steps", "total_steps"),
    ("service_changed", "service", "service"),
    ("folder_changed", "working folder", "cwd"),
    ("output_changed", "expected output", "expected_output"),
)


def _edited(planned: SavedPlan) -> Iterator[Difference]:
    digest = planned.digest()
    if planned.plan_digest != digest:
        yield Difference("plan_edited", "the plan file", short(planned.plan_digest), short(digest))


def _plain(
    fields: Sequence[tuple[str, str, str]], planned: SavedPlan, now: SavedPlan
) -> Iterator[Difference]:
    for code, what, name in fields:
        before, after = str(getattr(planned, name)), str(getattr(now, name))
        if before != after:
            yield Difference(code, what, _said(before), _said(after))


def _recipe(planned: SavedPlan, now: SavedPlan) -> Iterator[Difference]:
    before, after = planned.recipe.to_dict(), now.recipe.to_dict()
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield Difference(
                "recipe_changed",
                f"recipe {name}",
                f"{before.get(name)} ({planned.recipe_from.get(name, 'default')})",
                f"{after.get(name)} ({now.recipe_from.get(name, 'default')})",
            )


def _files(planned: SavedPlan, now: SavedPlan) -> Iterator[Difference]:
    before = {one.path: one.content.split("\n") for one in planned.files}
    after = {one.path: one.content.split("\n") for one in now.files}
    for path in sorted({*before, *after}):
        if path not in after:
            yield Difference("file_changed", path, "written", "not written")
        elif path not in before:
            yield Difference("file_changed", path, "not written", "written")
        else:
            yield from _lines(path, before[path], after[path])


def _lines(path: str, before: Sequence[str], after: Sequence[str]) -> Iterator[Difference]:
    """Yield the lines that came, went or changed, by their number in the planned file."""
    changed = [
        (number, one, other)
        for tag, start, end, now, now_end in SequenceMatcher(
            None, before, after, autojunk=False
        ).get_opcodes()
        if tag != "equal"
        for number, (one, other) in enumerate(
            zip_longest(before[start:end], after[now:now_end], fillvalue=""), start=start + 1
        )
    ]
    for number, one, other in changed[:_SHOWN_LINES]:
        yield Difference("file_changed", f"{path} line {number}", *_apart(one, other))
    if len(changed) > _SHOWN_LINES:
        more = len(changed) - _SHOWN_LINES
        yield Difference("file_changed", f"{path} lines", f"{more} more", "others")


def _maps(
    code: str, what: str, before: Mapping[str, str], after: Mapping[str, str]
) -> Iterator[Difference]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            one, other = before.get(name, ""), after.get(name, "")
            yield Difference(code, f"{what} {name}", _said(one), _said(other))


def _lists(
    code: str, what: str, before: Sequence[str], after: Sequence[str]
) -> Iterator[Difference]:
    found = [
        Difference(code, f"{what} {number}", *_apart(one, other))
        for number, (one, other) in enumerate(zip_longest(before, after, fillvalue=""), start=1)
        if one != other
    ]
    yield from found[:_SHOWN_LINES]
    if len(found) > _SHOWN_LINES:
        more = len(found) - _SHOWN_LINES
        yield Difference(code, f"{what}s", f"{more} more", "others")


def _apart(one: str, other: str) -> tuple[str, str]:
    """Return two texts as far as they differ: from a few characters before the first difference."""
    same = next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if same is None:
        same = min(len(one), len(other))
    start = max(0, same - _BEFORE) if max(len(one), len(other)) > _SHOWN_TEXT else 0
    return _cut(one, start), _cut(other, start)


def _cut(text: str, start: int) -> str:
    shown = text[start : start + _SHOWN_TEXT].strip()
    ahead, behind = "…" if start else "", "…" if start + _SHOWN_TEXT < len(text) else ""
    return f"{ahead}{shown}{behind}" if shown else "nothing"


def _said(text: str) -> str:
    return (short(text) if text.startswith("sha256:") else text) or "nothing"
