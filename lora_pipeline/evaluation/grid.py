"""From a suite and a LoRA to the ordered cells of a grid, and the digests that name them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from lora_pipeline.evaluation.records import Cell, Evaluation, Suite, SuitePrompt
from lora_pipeline.evaluation.suites import TRIGGER, seeds_of, suite_digest, takes_caption
from lora_pipeline.foundation.canonical import digest_of

BASE = 0.0
_ID_LENGTH = 16


def plan_cells(
    suite: Suite,
    *,
    trigger_word: str,
    weights_sha256: str,
    checkpoint_digest: str,
    captions: Sequence[str] = (),
) -> tuple[Cell, ...]:
    """Return every cell of a grid, in the order in which it is rendered and shown.

    Prompts stand in the suite's order, then seeds, then strengths from low to high; the base
    (strength 0) is always the first of a prompt and seed. Without a trigger word there is
    nothing to leave out, so ``no_trigger`` prompts are not asked.

    Args:
        suite: The suite.
        trigger_word: That of the LoRA.
        weights_sha256: Its weights.
        checkpoint_digest: What they are used with.
        captions: What the prompts that ask for a training caption get, one after the other; those
            for which none is left are not asked.
    """
    return tuple(
        _planned(
            suite, prompt, text, seed, strength, trigger_word, weights_sha256, checkpoint_digest
        )
        for prompt, text in _asked(suite, trigger_word, captions)
        for seed, strength in _places(suite, prompt)
    )


def cell_id(cell: Cell, *, weights_sha256: str, checkpoint_digest: str) -> str:
    """Return the id of a cell: a short digest of everything that makes its image.

    A base cell does not depend on the weights, so every release shares it.
    """
    parameters: dict[str, Any] = {
        "checkpointDigest": checkpoint_digest,
        "prompt": cell.prompt,
        "negative": cell.negative,
        "seed": cell.seed,
        "strength": cell.strength,
        "width": cell.width,
        "height": cell.height,
        "steps": cell.steps,
        "guidance": cell.guidance,
        "sampler": cell.sampler,
        "weightsSha256": weights_sha256 if cell.strength > BASE else None,
    }
    return digest_of(parameters).removeprefix("sha256:")[:_ID_LENGTH]


def spoken(text: str, trigger_word: str) -> str:
    """Return a prompt as the renderer gets it, with the trigger word in its place.

    A LoRA without a trigger word leaves no gap and no comma behind.
    """
    parts = [part.strip() for part in text.replace(TRIGGER, trigger_word).split(",")]
    return ", ".join(" ".join(part.split()) for part in parts if part)


def strength_words(strength: float) -> str:
    """Return a strength as people read it."""
    return "base" if strength == BASE else f"strength {strength:g}"


def missing_cells(evaluation: Evaluation) -> list[Cell]:
    """Return the cells that have no verified image yet, failed ones included."""
    return [cell for cell in evaluation.cells if cell.status != "done"]


def result_digest(evaluation: Evaluation) -> str:
    """Return the digest of what was rendered: suite, weights, checkpoint, renderer, every cell."""
    return digest_of(
        {
            "suiteDigest": evaluation.suite_digest,
            "weightsSha256": evaluation.weights_sha256,
            "checkpointDigest": evaluation.checkpoint_digest,
            "renderer": evaluation.renderer.to_dict() if evaluation.renderer else None,
            "metrics": evaluation.metrics.to_dict() if evaluation.metrics else None,
            "cells": [cell.to_dict() for cell in evaluation.cells],
        }
    )


def problems_of_grid(evaluation: Evaluation) -> list[str]:
    """Return why an evaluation is not a complete, unchanged grid of its suite; empty when it is.

    Everything is computed from the record alone, so that a build machine without images can
    tell a record that was edited by hand.
    """
    if evaluation.suite is None or not evaluation.cells:
        return ["it holds no rendered grid"]
    problems = list(_inconsistencies(evaluation, evaluation.suite))
    missing = missing_cells(evaluation)
    if missing:
        failed = sum(cell.status == "failed" for cell in missing)
        words = f", {failed} of them failed" if failed else ""
        problems.append(f"{len(missing)} of {len(evaluation.cells)} cells have no image{words}")
    elif evaluation.status != "complete":
        problems.append("every cell is rendered, but it is not marked complete")
    elif evaluation.result_digest != result_digest(evaluation):
        problems.append("its result digest is not that of its cells")
    return problems


def _inconsistencies(evaluation: Evaluation, suite: Suite) -> Iterator[str]:
    if suite_digest(suite) != evaluation.suite_digest:
        yield "its suite was changed after it was rendered"
    found = [(cell.prompt_id, cell.seed, cell.strength) for cell in evaluation.cells]
    if found not in _whole_plans(suite):
        yield "its cells are not those of its suite"
    for cell in evaluation.cells:
        expected = cell_id(
            cell,
            weights_sha256=evaluation.weights_sha256,
            checkpoint_digest=evaluation.checkpoint_digest,
        )
        if cell.id != expected or not _follows(cell, suite):
            yield f"cell {cell.id} is not what its settings say"
        if cell.status == "done" and not cell.image_sha256:
            yield f"cell {cell.id} is done without an image"


def _follows(cell: Cell, suite: Suite) -> bool:
    render = suite.render
    return (cell.width, cell.height, cell.steps, cell.guidance, cell.sampler) == (
        render.width,
        render.height,
        render.steps,
        render.guidance,
        render.sampler,
    )


def _asked(
    suite: Suite, trigger_word: str, captions: Sequence[str]
) -> list[tuple[SuitePrompt, str]]:
    """Return the prompts that are asked of a LoRA, each with what the renderer gets."""
    left = iter(captions)
    asked: list[tuple[SuitePrompt, str]] = []
    for prompt in suite.prompts:
        if takes_caption(prompt):
            asked += [(prompt, caption) for caption in (next(left, ""),) if caption]
        elif trigger_word or prompt.kind != "no_trigger":
            asked.append((prompt, spoken(prompt.text, trigger_word)))
    return asked or [
        (prompt, spoken(prompt.text, trigger_word)) for prompt in suite.prompts if prompt.text
    ]


def _whole_plans(suite: Suite) -> list[list[tuple[str, int, float]]]:
    """Return every order of cells that is whole.

    A record says neither whether the LoRA had a trigger word nor how many captions its manifest
    had to give; the gate, which knows both, plans the cells anew.
    """
    most = sum(takes_caption(prompt) for prompt in suite.prompts)
    return [
        [
            (prompt.id, seed, strength)
            for prompt, _ in _asked(suite, word, ("caption",) * count)
            for seed, strength in _places(suite, prompt)
        ]
        for word in ("trigger", "")
        for count in range(most + 1)
    ]


def _places(suite: Suite, prompt: SuitePrompt) -> Iterator[tuple[int, float]]:
    for seed in seeds_of(suite, prompt):
        for strength in _columns(suite):
            yield seed, strength


def _columns(suite: Suite) -> tuple[float, ...]:
    return (BASE, *sorted(strength for strength in suite.strengths if strength > BASE))


def _planned(
    suite: Suite,
    prompt: SuitePrompt,
    text: str,
    seed: int,
    strength: float,
    trigger_word: str,
    weights_sha256: str,
    checkpoint_digest: str,
) -> Cell:
    cell = Cell(
        id="",
        prompt_id=prompt.id,
        prompt=text,
        negative=spoken(prompt.negative, trigger_word),
        seed=seed,
        strength=strength,
        width=suite.render.width,
        height=suite.render.height,
        steps=suite.render.steps,
        guidance=suite.render.guidance,
        sampler=suite.render.sampler,
    )
    return msgspec.structs.replace(
        cell,
        id=cell_id(cell, weights_sha256=weights_sha256, checkpoint_digest=checkpoint_digest),
    )
