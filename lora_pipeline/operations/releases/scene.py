"""A test scene before it is drawn: which LoRAs, which words, which settings."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec

from lora_pipeline.evaluation.records import Cell, Evaluation, RenderSettings
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Subject,
    find_target,
    subject_of,
)
from lora_pipeline.operations.releases.resolve import resolve_lora, resolve_stack
from lora_pipeline.releases.generation import (
    GenerationLora,
    GenerationScene,
    prompt_with_triggers,
    trace_of,
)
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.releases.new_lora import require_strength
from lora_pipeline.workspace.root import Workspace

_LONGEST_SIDE, _MOST_STEPS, _LARGEST_SEED = 4096, 500, 2**32 - 1
_CELL = "scene"


class SceneOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a scene is to be drawn; the arguments of ``generate_image``."""

    prompt: str
    negative: str = ""
    lora: str = ""
    asset_type: str = ""
    checkpoint: str = ""
    loras: tuple[str, ...] = ()
    release: str = ""
    strength: float | None = None
    trigger: bool = True
    seed: int = 1
    steps: int | None = None
    guidance: float | None = None
    width: int | None = None
    height: int | None = None
    sampler: str = ""
    renderer: str = ""
    output: str = ""
    yes_upload: bool = False
    project: str | None = None
    scope: ScopeName = "project"


class ScenePlan(msgspec.Struct, frozen=True):
    """What is drawn, before anything is.

    Attributes:
        subjects: The releases, in the order in which they are applied.
        loras: The same as the record holds them.
        scene: What is asked of the renderer.
        trace: Digest of what is asked for.
        cell: The one image.
        warnings: What everybody must read.
    """

    subjects: tuple[Subject, ...]
    loras: tuple[GenerationLora, ...]
    scene: GenerationScene
    trace: str
    cell: Cell
    warnings: tuple[str, ...]

    @property
    def lead(self) -> Subject:
        """The LoRA whose project, base and settings hold: the first that is not shared."""
        own = (one for one in self.subjects if one.target.lora.scope.project_id)
        return next(own, self.subjects[0])

    @property
    def words(self) -> str:
        """The releases, as commands take them."""
        return " and ".join(subject.target.words for subject in self.subjects)


def plan_scene(workspace: Workspace, options: SceneOptions) -> ScenePlan | Result:
    """Return what is drawn, or why nothing is.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
        RecordNotFoundError: When LoRA, release, suite or checkpoint do not exist.
    """
    _require_sound(options)
    resolved = _resolved(workspace, options)
    if resolved.refusal:
        return resolved
    uses = resolved.data["loras"]
    if options.strength is not None and len(uses) > 1:
        raise ArgumentInvalidError(
            f"a strength belongs to one LoRA, and {len(uses)} go together",
            hint=f"lora activate {uses[0]['loraId']} --strength N sets it for production",
        )
    subjects = tuple(_subject(workspace, options, use) for use in uses)
    mixed = _of_several_bases(subjects, options.asset_type)
    if mixed is not None:
        return Result(
            data=dict(resolved.data),
            reasoning=mixed.message,
            dry_run=workspace.dry_run,
            refusal=mixed,
        )
    return _planned(workspace, options, subjects, resolved)


def _require_sound(options: SceneOptions) -> None:
    if not options.prompt.strip():
        raise ArgumentInvalidError(
            "the prompt is empty", hint='lora generate "a red heart" --lora ID'
        )
    if bool(options.lora) == bool(options.asset_type):
        raise ArgumentInvalidError("name a LoRA or an asset type", hint="--lora ID")
    if options.release and not options.lora:
        raise ArgumentInvalidError("a release belongs to a LoRA", hint="--lora ID --release ID")
    if (options.loras or options.checkpoint) and not options.asset_type:
        raise ArgumentInvalidError(
            "LoRAs go together for an asset type", hint="--asset-type TYPE --with ID"
        )
    if options.strength is not None:
        require_strength(options.strength)
    limits = (
        ("seed", options.seed, 0, _LARGEST_SEED),
        ("steps", options.steps, 1, _MOST_STEPS),
        ("width", options.width, 8, _LONGEST_SIDE),
        ("height", options.height, 8, _LONGEST_SIDE),
        ("guidance", options.guidance, 0, 100),
    )
    for name, value, least, most in limits:
        if value is not None and not least <= value <= most:
            raise ArgumentInvalidError(f"{name} must be {least} to {most}, got {value:g}")


def _resolved(workspace: Workspace, options: SceneOptions) -> Result:
    """Return what resolve says; ``loras`` are in its data unless it refuses."""
    if options.asset_type:
        return resolve_stack(
            workspace,
            asset_type=options.asset_type,
            checkpoint=options.checkpoint,
            loras=options.loras,
            project=options.project,
        )
    if options.release:
        return _named(workspace, options)
    found = resolve_lora(workspace, options.lora, project=options.project, scope=options.scope)
    if found.refusal:
        return found
    return Result(data={"loras": [found.data]}, reasoning="", warnings=found.warnings)


def _named(workspace: Workspace, options: SceneOptions) -> Result:
    """Return a release that was named, also one that was not promoted: for a look."""
    target = find_target(
        workspace, options.lora, options.release, project=options.project, scope=options.scope
    )
    lora, status = target.lora.record, target.release.status
    if status == "deprecated":
        words = f"{target.words} is deprecated: it must no longer be used"
        return Result(data={}, reasoning=words, dry_run=workspace.dry_run,
                      refusal=Refusal("release_deprecated", words))  # fmt: skip
    use = {
        "loraId": options.lora, "releaseId": options.release, "scope": lora.scope,
        "strength": lora.strength_in_use, "explanation": {"chosen": f"named, {status}"},
    }  # fmt: skip
    look = f"{options.release} is a candidate: for a look, production does not use it"
    return Result(
        data={"loras": [use]}, reasoning="", warnings=(look,) if status == "candidate" else ()
    )


def _subject(workspace: Workspace, options: SceneOptions, use: dict[str, Any]) -> Subject:
    scope = cast("Literal['project', 'baseline']", use["scope"])
    target = find_target(
        workspace, use["loraId"], use["releaseId"], project=options.project, scope=scope
    )
    return subject_of(workspace, target, suite_id="", prompts=())


def _of_several_bases(subjects: tuple[Subject, ...], asset_type: str) -> Refusal | None:
    bases = list(dict.fromkeys(subject.checkpoint.id for subject in subjects))
    if len(bases) == 1:
        return None
    each = ", ".join(
        f"{subject.target.lora.record_id} is for {subject.checkpoint.id}" for subject in subjects
    )
    return Refusal(
        "several_bases",
        f"the LoRAs for {asset_type} are for {len(bases)} base models: {each}",
        f"the same command with --checkpoint {bases[0]}",
    )


def _planned(
    workspace: Workspace, options: SceneOptions, subjects: tuple[Subject, ...], resolved: Result
) -> ScenePlan:
    loras = tuple(
        _as_recorded(subject, use, options.strength)
        for subject, use in zip(subjects, resolved.data["loras"], strict=True)
    )
    typed = options.prompt.strip()
    words = [lora.trigger_word for lora in loras] if options.trigger else []
    usual = _usual(workspace, subjects)
    scene = GenerationScene(
        typed=typed,
        prompt=prompt_with_triggers(typed, words) if options.trigger else typed,
        negative=options.negative,
        seed=options.seed,
        width=options.width or usual.width,
        height=options.height or usual.height,
        steps=options.steps or usual.steps,
        guidance=usual.guidance if options.guidance is None else options.guidance,
        sampler=options.sampler or usual.sampler,
    )
    # Each LoRA has its own strength, so the cell's is 1.
    cell = Cell(
        id=_CELL, prompt_id=_CELL, prompt=scene.prompt, negative=scene.negative, seed=scene.seed,
        strength=1.0, width=scene.width, height=scene.height, steps=scene.steps,
        guidance=scene.guidance, sampler=scene.sampler,
    )  # fmt: skip
    trace = trace_of(scene, loras, subjects[0].checkpoint.digest)
    return ScenePlan(subjects, loras, scene, trace, cell, tuple(resolved.warnings))


def _as_recorded(subject: Subject, use: dict[str, Any], strength: float | None) -> GenerationLora:
    record = subject.target.lora.record
    return GenerationLora(
        lora_id=record.id,
        release_id=subject.target.release.id,
        project_id=subject.target.lora.scope.project_id or "",
        sha256=subject.weights_sha256,
        strength=use["strength"] if strength is None else strength,
        trigger_word=record.trigger_word,
        chosen=use["explanation"]["chosen"],
    )


def _usual(workspace: Workspace, subjects: tuple[Subject, ...]) -> RenderSettings:
    """Return how one of the releases was looked at last, else its LoRA, else the suite's words.

    The project's own LoRA speaks before a shared one.
    """
    ordered = sorted(subjects, key=lambda one: not one.target.lora.scope.project_id)
    for subject in ordered:
        target = subject.target
        seen = [
            (record.release_id == target.release.id, record.created_at, record.suite.render)
            for loaded in workspace.records.all(Evaluation, target.lora.scope)
            for record in (loaded.record,)
            if record.lora_id == target.lora.record_id and record.suite is not None
        ]
        if seen:
            return max(seen, key=lambda one: one[:2])[2]
    return ordered[0].suite.suite.render
