"""Suites: which one belongs to an asset type, and the rules that a schema cannot say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from lora_pipeline.catalog.records import AssetTypes
from lora_pipeline.evaluation.records import Suite, SuitePrompt
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordInvalidError,
    RecordNotFoundError,
    Violation,
)
from lora_pipeline.workspace.definitions import definition_ids, read_definition
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

FAMILY = "suites"
TRIGGER = "{trigger}"
WITHOUT_TRIGGER = frozenset({"no_trigger", "class_only"})
RULES = {"must": "must show", "must_never": "must never show"}
TRAINING_CAPTION = "training_caption"
MAX_CELLS = 20_000
_BRACES = re.compile(r"[{}]")


class LoadedSuite(msgspec.Struct, frozen=True):
    """A suite as it was read.

    Attributes:
        suite: The suite.
        digest: ``sha256:…`` of its content; what an evaluation names and the gate compares.
        source: Where it stands, as people read it.
    """

    suite: Suite
    digest: str
    source: str


def read_suite(workspace: Workspace, suite_id: str) -> LoadedSuite:
    """Return one suite of the workspace, or of those that ship.

    Raises:
        RecordNotFoundError: When there is none of that id.
        RecordInvalidError: When it breaks its schema or a rule of suites.
    """
    definition = read_definition(workspace, FAMILY, suite_id)
    suite = Suite.from_dict(definition.document)
    violations = violations_of_suite(suite)
    if violations:
        raise RecordInvalidError(f"{definition.source}: {violations[0]}", violations=violations)
    return LoadedSuite(suite, suite_digest(suite), definition.source)


def suite_ids(workspace: Workspace) -> list[str]:
    """Return the ids of all suites."""
    return definition_ids(workspace, FAMILY)


def suite_digest(suite: Suite) -> str:
    """Return the digest of a suite: of its meaning, so that spelling out a default is no change."""
    return digest_of(suite.to_dict())


def suite_id_for(workspace: Workspace, scope: Scope, asset_types: Sequence[str]) -> str:
    """Return the suite by which a LoRA of these asset types is judged.

    Raises:
        RecordNotFoundError: When none belongs to them.
        ArgumentInvalidError: When several do.
    """
    known, listing = suite_ids(workspace), judging_suites(workspace, scope, asset_types)
    words = ", ".join(asset_types)
    if not listing:
        raise RecordNotFoundError(
            f"no suite for asset type {words}",
            hint=f"--suite {known[0]}, or write config/suites/{asset_types[0]}.yaml"
            if known
            else f"write config/suites/{asset_types[0]}.yaml",
        )
    if len(listing) > 1:
        raise ArgumentInvalidError(
            f"several suites for asset type {words}: {', '.join(listing)}",
            hint=f"--suite {listing[0]}, or name one as suiteId in the catalog's asset types",
        )
    return listing[0]


def judging_suites(
    workspace: Workspace, scope: Scope, asset_types: Sequence[str]
) -> tuple[str, ...]:
    """Return the suites by which a LoRA of these asset types may be judged; one, where it is clear.

    It is that of the first asset type that has one: the one that the catalog names (``suiteId``),
    else the one of its name. Where none has, it may be any that lists one of them.

    Raises:
        RecordInvalidError: When a suite that has to be looked into is not valid.
    """
    named, known = _named_by_catalog(workspace, scope), suite_ids(workspace)
    for asset_type in asset_types:
        if asset_type in named:
            return (named[asset_type],)
        if asset_type in known:
            return (asset_type,)
    return tuple(
        one for one in known
        if set(read_suite(workspace, one).suite.asset_types) & set(asset_types)
    )  # fmt: skip


def with_prompts(suite: Suite, prompts: Sequence[str]) -> Suite:
    """Return the suite with other prompts: for a look, not for the gate, which knows the suite.

    Raises:
        ArgumentInvalidError: When no prompt is left, or one breaks a rule of suites.
    """
    texts = [text.strip() for text in prompts if text.strip()]
    if not texts:
        raise ArgumentInvalidError("no prompt was given", hint='--prompts "a red star|a tree"')
    changed = msgspec.structs.replace(
        suite,
        prompts=tuple(
            SuitePrompt(
                id=f"p{number}", text=text, kind="in_domain" if TRIGGER in text else "no_trigger"
            )
            for number, text in enumerate(texts, start=1)
        ),
    )
    violations = violations_of_suite(changed)
    if violations:
        raise ArgumentInvalidError(f"prompts: {violations[0]}")
    return changed


def seeds_of(suite: Suite, prompt: SuitePrompt) -> tuple[int, ...]:
    """Return the seeds of one prompt: its own, else the suite's."""
    return prompt.seeds or suite.seeds


def takes_caption(prompt: SuitePrompt) -> bool:
    """Return whether a prompt has no text of its own: it asks for a caption that was trained on."""
    return prompt.kind == TRAINING_CAPTION and not prompt.text


def calling_prompts(suite: Suite) -> set[str]:
    """Return the prompts that show what the LoRA does; where none calls it, those that do not.

    Training captions are no part of them: what was learnt by heart would speak for the LoRA.
    """
    calling = {
        one.id
        for one in suite.prompts
        if one.kind != TRAINING_CAPTION and one.id not in silent_prompts(suite)
    }
    return calling or silent_prompts(suite) or {one.id for one in suite.prompts}


def silent_prompts(suite: Suite) -> set[str]:
    """Return the prompts in which nothing of the LoRA should show: they do not call it."""
    return {
        one.id
        for one in suite.prompts
        if one.kind in WITHOUT_TRIGGER or (one.kind == "must_never" and TRIGGER not in one.text)
    }


def rule_words(prompt: SuitePrompt) -> str:
    """Return what a prompt's cells must, or must never, show; empty where it sets no rule."""
    verb = RULES.get(prompt.kind, "")
    return f"{verb} {prompt.what or 'what the suite is for'}" if verb else ""


def rules_of(suite: Suite) -> dict[str, str]:
    """Return what must, or must never, be seen, by prompt."""
    return {one.id: rule_words(one) for one in suite.prompts if rule_words(one)}


def cell_count(suite: Suite) -> int:
    """Return how many cells a grid of the suite has at most, base included."""
    columns = 1 + len([strength for strength in suite.strengths if strength > 0])
    return columns * sum(len(seeds_of(suite, prompt)) for prompt in suite.prompts)


def violations_of_suite(suite: Suite) -> list[Violation]:
    """Return every rule that a suite breaks beyond its schema."""
    found = [
        Violation("$.prompts", f"prompt {name!r} stands twice")
        for name, count in Counter(prompt.id for prompt in suite.prompts).items()
        if count > 1
    ]
    for number, prompt in enumerate(suite.prompts):
        found += _violations_of_prompt(prompt, f"$.prompts[{number}]")
    found += _repeated("$.strengths", suite.strengths)
    found += _repeated("$.seeds", suite.seeds)
    if all(takes_caption(prompt) for prompt in suite.prompts):
        found.append(Violation("$.prompts", "one prompt at least needs a text of its own"))
    if not any(strength > 0 for strength in suite.strengths):
        found.append(Violation("$.strengths", "a strength above 0 is needed; the base is implied"))
    if cell_count(suite) > MAX_CELLS:
        found.append(
            Violation("$", f"{cell_count(suite):,} cells, at most {MAX_CELLS:,} are rendered")
        )
    return found


def _violations_of_prompt(prompt: SuitePrompt, where: str) -> Iterator[Violation]:
    yield from _repeated(f"{where}.seeds", prompt.seeds)
    for field, text in (("text", prompt.text), ("negative", prompt.negative)):
        if _BRACES.search(text.replace(TRIGGER, "")):
            yield Violation(f"{where}.{field}", f"the only placeholder is {TRIGGER}")
    if prompt.kind in WITHOUT_TRIGGER and TRIGGER in prompt.text:
        yield Violation(f"{where}.text", f"a {prompt.kind} prompt must not hold {TRIGGER}")
    if prompt.what and prompt.kind not in RULES:
        yield Violation(f"{where}.what", f"a {prompt.kind} prompt sets no rule; must does")


def _repeated(where: str, values: Sequence[float]) -> list[Violation]:
    return [
        Violation(where, f"{value:g} stands twice")
        for value, count in Counter(values).items()
        if count > 1
    ]


def _named_by_catalog(workspace: Workspace, scope: Scope) -> dict[str, str]:
    named: dict[str, str] = {}
    for place in reversed(workspace.visible(scope)):
        for loaded in workspace.records.all(AssetTypes, place):
            named |= {one.id: one.suite_id for one in loaded.record.asset_types if one.suite_id}
    return named
