"""The model card of a release, in the form of Hugging Face: made from records alone. Pure.

The same records give the same bytes. Words of other people stand in code spans, where they hold
no markup; the front matter is written by the YAML library.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from lora_pipeline.evaluation.records import Cell, Evaluation, EvaluationMetrics
from lora_pipeline.evaluation.suites import calling_prompts
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.markdown import code, table
from lora_pipeline.releases.card_facts import CardFacts
from lora_pipeline.releases.evidence.facts import TrainedManifest
from lora_pipeline.releases.evidence.people import person_of

MARK = "# Made by lora release card"
_MOST_IMAGES = 4
# SPDX names that Hugging Face knows; any other licence is "other", with its name.
_HUB_LICENSES = frozenset(
    {"apache-2.0", "mit", "openrail", "openrail++", "creativeml-openrail-m", "cc0-1.0",
     "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "bsd-3-clause"}
)  # fmt: skip
_METRICS = {
    "effect_mean": "mean effect at full strength, with the trigger word",
    "effect_min": "smallest effect of one image",
    "effect_without_trigger": "mean effect without the trigger word",
    "monotone": "more strength changes more",
    "constant_cells": "images of one colour",
    "duplicate_cells": "images that show the same as another",
}


class CardForm(msgspec.Struct, frozen=True):
    """Where a card will stand, which decides what it shows and names.

    Attributes:
        sheet: Path of the contact sheet, as seen from the card; empty where there is none.
        images: Folder of single images beside the card; empty where there are none.
        weights: File name of the weights beside the card, or empty.
        weights_sha256: Digest of that file.
        repository: Its repository at Hugging Face, or empty.
        people: Whether people are named; they are not where a card leaves the studio.
    """

    sheet: str = ""
    images: str = ""
    weights: str = ""
    weights_sha256: str = ""
    repository: str = ""
    people: bool = True


def card_text(facts: CardFacts, form: CardForm) -> str:
    """Return the card: UTF-8, LF, a final newline."""
    import yaml  # imported late: start-up is part of the product

    front = yaml.safe_dump(
        front_matter(facts, form), sort_keys=False, allow_unicode=True, width=10_000
    )
    lora = facts.lora
    lines = [
        "---", f"{MARK} {lora.id} {facts.release.id}; edits are found by --check", front.rstrip(),
        "---", "",
        f"# {code(lora.name)} {facts.release.id}", "",
        *([code(lora.description), ""] if lora.description else []),
        *(["<Gallery />", ""] if form.images else []),
        *table(("", ""), _head(facts)), "",
        *_use(facts, form),
        "## How it was trained", "", *_training(facts, form), "",
        "## What it was trained on", "", *_data(facts, form), "",
        "## Evaluation", "", *_evaluation(facts.evaluation, form), "",
        "## Gate", "", *_gate(facts, form), "",
        "## Limits", "", *(f"- {one}" for one in _limits(facts, form)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def front_matter(facts: CardFacts, form: CardForm) -> dict[str, Any]:
    """Return the fields that Hugging Face reads."""
    lora = facts.lora
    matter: dict[str, Any] = {}
    if facts.hub_base:
        matter |= {"base_model": facts.hub_base, "base_model_relation": "adapter"}
    matter |= _license(facts)
    if lora.trigger_word:
        matter["instance_prompt"] = lora.trigger_word
    matter["library_name"] = "diffusers"
    matter["pipeline_tag"] = "text-to-image"
    matter["tags"] = ["text-to-image", "diffusers", "lora", "template:sd-lora", "lora-pipeline"]
    widget = [
        {"text": cell.prompt}
        | ({"output": {"url": f"{form.images}/example-{number}.png"}} if form.images else {})
        for number, cell in enumerate(example_cells(facts), start=1)
    ]
    if widget:
        matter["widget"] = widget
    return matter


def example_cells(facts: CardFacts) -> list[Cell]:
    """Return the images that stand for a release: full strength, one of each calling prompt."""
    grid = facts.evaluation
    if grid is None or grid.suite is None:
        return []
    never = {one.id for one in grid.suite.prompts if one.kind == "must_never"}
    calling = calling_prompts(grid.suite) - never
    full = max((cell.strength for cell in grid.cells), default=0.0)
    found: dict[str, Cell] = {}
    for cell in grid.cells:
        if cell.strength == full and cell.status == "done" and cell.prompt_id in calling:
            found.setdefault(cell.prompt_id, cell)
    return list(found.values())[:_MOST_IMAGES]


def licenses_of_images(facts: CardFacts) -> list[tuple[str, int]]:
    """Return each licence of the images with their number, the most frequent first."""
    if not isinstance(facts.trained, TrainedManifest):
        return []
    counted = Counter(item.license for item in facts.trained.manifest.items)
    return sorted(counted.items(), key=lambda one: (-one[1], one[0]))


def _license(facts: CardFacts) -> dict[str, str]:
    """Return the licence fields: a name that is known only where everything stands under it."""
    base = facts.checkpoint.license
    every = {base.id if base else ""} | {name for name, _ in licenses_of_images(facts)}
    one = next(iter(every)).lower() if len(every) == 1 else ""
    if one in _HUB_LICENSES and isinstance(facts.trained, TrainedManifest):
        return {"license": one}
    told = {"license": "other", "license_name": "see-licences-of-base-model-and-images"}
    return told | ({"license_link": base.url} if base and base.url else {})


def _head(facts: CardFacts) -> Iterator[tuple[str, str]]:
    lora, base = facts.lora, facts.checkpoint
    yield "trigger word", code(lora.trigger_word) if lora.trigger_word else "none"
    reviewed = (
        sorted({cell.strength for cell in facts.evaluation.cells} - {0.0})
        if (facts.evaluation)
        else []
    )
    shown = f", looked at with {', '.join(f'{one:g}' for one in reviewed)}" if reviewed else ""
    yield "strength", f"{lora.strength_in_use:g}{shown}"
    family = f" ({base.architecture})" if base.architecture else ""
    yield "base model", f"{code(facts.hub_base or base.name)}{family}"
    if lora.asset_types:
        yield "for", ", ".join(map(code, lora.asset_types))
    yield "status", f"**{_status(facts)}**"
    yield "licence of the base model", code(base.license.id if base.license else "not recorded")


def _status(facts: CardFacts) -> str:
    if facts.emergency:
        return "active in an emergency, without the gate"
    return f"{facts.release.status}, active" if facts.active else facts.release.status


def _use(facts: CardFacts, form: CardForm) -> list[str]:
    if not form.weights:
        return []
    named = 'adapter_name="lora"'
    trigger = f"{facts.lora.trigger_word}, " if facts.lora.trigger_word else ""
    return [
        "## Use", "",
        "```python",
        f'pipeline.load_lora_weights({form.repository!r}, weight_name={form.weights!r}, {named})',
        f'pipeline.set_adapters(["lora"], adapter_weights=[{facts.lora.strength_in_use:g}])',
        f"image = pipeline({trigger + '…'!r}).images[0]",
        "```", "",
    ]  # fmt: skip


def _training(facts: CardFacts, form: CardForm) -> list[str]:
    told, weights, run = facts.release.training, facts.release.weights, facts.run
    version = str(told.get("trainerVersion", ""))
    trainer = f"{told.get('trainer') or 'not recorded'} {version}".strip()
    rows = [("made", facts.release.created_at[:10]), ("trainer", code(trainer))]
    if form.people:
        rows.insert(1, ("by", code(facts.release.created_by)))
    recipe = told.get("recipe")
    if isinstance(recipe, dict):
        hidden = ("samplePrompts",)  # what a studio tries is nobody's business
        words = [key if value is True else f"{key} {value}"
                 for key, value in sorted(recipe.items())
                 if value and key not in hidden]  # fmt: skip
        rows.append(("recipe", code(" · ".join(words))))
    if run and run.steps_done:
        rows.append(("steps", f"{run.steps_done} of {run.steps_planned}"))
    if run and run.final_loss is not None:
        rows.append(("last loss", f"{run.final_loss:.4f}"))
    if told.get("checkpointDigest"):
        rows.append(("base model's digest", code(str(told["checkpointDigest"]))))
    if form.weights_sha256:
        rows.append(("sha256 of the file", code(form.weights_sha256)))
    if weights:
        rows.append(("sha256 of the weights", code(weights.sha256)))
        rows.append(("sha256 of the tensors", code(weights.tensor_sha256)))
    return table(("", ""), rows)


def _data(facts: CardFacts, form: CardForm) -> list[str]:
    if not isinstance(facts.trained, TrainedManifest):
        return [f"Not told: {facts.trained.reason}."]
    manifest = facts.trained.manifest
    held = sum(item.split != "train" for item in manifest.items)
    images = f"{len(manifest.items)}" + (f", {held} of them held out of training" if held else "")
    rows = [("images", images), ("manifest", code(manifest.content_hash))]
    if form.people:
        rows.insert(0, ("dataset", code(manifest.id)))
    rows += [
        ("licence", f"{code(name) if name else 'none recorded'}: {number}")
        for name, number in licenses_of_images(facts)
    ]
    return table(("", ""), rows)


def _evaluation(grid: Evaluation | None, form: CardForm) -> list[str]:
    if grid is None:
        return ["None: nobody looked at what it draws."]
    drawn = sum(cell.status == "done" for cell in grid.cells)
    renderer = grid.renderer
    rows = [
        ("suite", f"{code(grid.suite_id)}, {code(grid.suite_digest)}"),
        ("images", f"{drawn} of {len(grid.cells)}"),
        ("drawn by", code(f"{renderer.name} {renderer.version}") if renderer else "not recorded"),
        *_measured(grid.metrics),
        ("result", code(grid.result_digest or "not complete")),
    ]
    lines = table(("", ""), rows)
    if form.sheet:
        lines += ["", f"![contact sheet: base and LoRA at equal seeds]({form.sheet})"]
    return lines


def _measured(metrics: EvaluationMetrics | None) -> Iterator[tuple[str, str]]:
    if metrics is None:
        return
    for name, words in _METRICS.items():
        value = getattr(metrics, name)
        if value is not None:
            yield words, _value(value)
    for strength, effect in sorted(metrics.effect_by_strength.items(), key=lambda one: one[0]):
        yield f"mean effect at strength {strength}", _value(effect)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _gate(facts: CardFacts, form: CardForm) -> list[str]:
    entry = facts.entry
    lines = []
    if facts.emergency:
        lines.append("- **It was made active in an emergency, without the gate.**")
    if entry is None or entry.evidence is None:
        return [*lines, f"- No promotion is recorded: it is a {facts.release.status}."]
    verb = "Promoted" if entry.event == "promoted" else "Went back to it"
    by = f" by {code(entry.by)}" if form.people else ""
    bound = entry.evidence
    lines.append(
        f"- {verb} on {entry.at[:10]}{by}, under the policy {code(bound.policy_id)} "
        f"({short(bound.policy_digest)})."
    )
    lines += _verdicts(facts, form)
    lines += [
        f"- Set aside until {one.until[:10]}: {code(one.condition)}"
        + (f", {code(one.reason)}" if form.people else "")
        for one in facts.waivers
    ]
    if bound.blind_digests:
        lines.append(f"- {len(bound.blind_digests)} blind comparisons counted.")
    lines.append(
        "- This is what was recorded then. What the gate says now: "
        f"`lora release show {facts.lora.id} {facts.release.id}`."
    )
    return lines


def _verdicts(facts: CardFacts, form: CardForm) -> list[str]:
    if not form.people:
        people = len({person_of(one.reviewer) for one in facts.reviews})
        return [f"- Approved by {people} {'person' if people == 1 else 'people'}."]
    return [
        f"- {code(one.verdict)} by {code(one.reviewer)} on {one.created_at[:10]}, "
        f"{one.cells_seen} of {one.cells_total} images seen"
        + (f": {code(one.comment)}" if one.comment else "")
        for one in facts.reviews
    ]


def _limits(facts: CardFacts, form: CardForm) -> list[str]:
    base, grid = facts.checkpoint, facts.evaluation
    told = [f"It works with {code(facts.hub_base or base.name)} and models made from it."]
    commercial = base.license.commercial_loras if base.license else "unknown"
    told.append(
        {
            "yes": "LoRAs of the base model may be used commercially.",
            "no": "LoRAs of the base model may **not** be used commercially.",
        }.get(
            commercial, "Whether LoRAs of the base model may be used commercially is not recorded."
        )
    )
    unknown = dict(licenses_of_images(facts)).get("", 0)
    if unknown:
        told.append(f"{unknown} images have no recorded licence.")
    if facts.withdrawn:
        told.append(f"**{len(facts.withdrawn)} images were withdrawn after it was trained.**")
    if facts.release.status == "deprecated":
        told.append("**It is deprecated and must no longer be used.**")
    told += _seen(grid)
    if form.people and facts.release.notes:
        told.append(f"Notes: {code(facts.release.notes)}")
    return told


def _seen(grid: Evaluation | None) -> Sequence[str]:
    if grid is None or grid.suite is None:
        return ["It was not evaluated."]
    render = grid.suite.render
    size = f"{render.width} by {render.height} pixels"
    prompts = f"{len(grid.suite.prompts)} prompts and {_seeds(grid)}"
    told = [f"It was looked at with {prompts} at {size}, and nowhere else."]
    if grid.renderer and grid.renderer.unproven:
        told.append(f"The renderer took on trust: {code(', '.join(grid.renderer.unproven))}.")
    return told


def _seeds(grid: Evaluation) -> str:
    number = len({cell.seed for cell in grid.cells})
    return f"{number} {'seed' if number == 1 else 'seeds'}"
