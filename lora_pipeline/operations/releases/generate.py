"""Draw a test scene with the release that production uses, and write down all that made it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_pipeline.evaluation.records import Cell, Evaluation, RendererIdentity, RenderSettings
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.evaluation.renderers.registry import RENDERERS, find_renderer
from lora_pipeline.evaluation.rendering import draw_cell, private_folder
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import ArgumentInvalidError, RendererError, StateError
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.foundation.schemas import require_valid
from lora_pipeline.operations.evaluation.evaluation_cost import estimate_grid, sending_refusal
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Subject,
    find_target,
    render_source,
    subject_of,
)
from lora_pipeline.operations.releases.resolve import resolve_lora, resolve_stack
from lora_pipeline.operations.workspace.output_file import (
    PNG,
    OutputKind,
    require_output,
    require_replaceable,
)
from lora_pipeline.releases.generation import (
    Generation,
    GenerationLora,
    GenerationScene,
    prompt_with_trigger,
    trace_of,
)
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.releases.new_lora import require_strength
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore

BESIDE = OutputKind("a record of an image", ".json", b"{", b'"checkpointDigest"')
_LONGEST_SIDE, _MOST_STEPS, _LARGEST_SEED = 4096, 500, 2**32 - 1
_CELL = "scene"


@dataclass(frozen=True)
class SceneOptions:
    """How a scene is to be drawn; the arguments of ``generate_image``."""

    prompt: str
    negative: str = ""
    lora: str = ""
    asset_type: str = ""
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


@dataclass(frozen=True)
class _Plan:
    """What is drawn, before anything is."""

    subject: Subject
    lora: GenerationLora
    scene: GenerationScene
    trace: str
    cell: Cell


def generate_image(
    workspace: Workspace,
    prompt: str,
    *,
    lora: str = "",
    asset_type: str = "",
    release: str = "",
    strength: float | None = None,
    trigger: bool = True,
    negative: str = "",
    seed: int = 1,
    steps: int | None = None,
    guidance: float | None = None,
    width: int | None = None,
    height: int | None = None,
    sampler: str = "",
    renderer: str = "",
    output: str = "",
    yes_upload: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Draw one image with what ``resolve`` chooses, and write beside it all that made it.

    Sizes, steps and guidance are those of its newest grid, else of the suite. Asked for
    again with the same words it is the same request, and the same image where the renderer is
    the same.

    Args:
        workspace: Where everything is.
        prompt: What to draw; the trigger word is put in front where it is not in it.
        lora: The LoRA; or ``asset_type``.
        asset_type: Draw with the LoRA that the project's policy chooses for it.
        release: A release instead of the one in use, also one that was not promoted: for a look.
        strength: Its strength; else the one in use.
        trigger: Whether the trigger word belongs into the prompt.
        negative: What it should not show.
        seed: Seed of the noise.
        steps: Sampling steps.
        guidance: Guidance scale.
        width: In pixels.
        height: In pixels.
        sampler: Sampler; else the suite's.
        renderer: Name of the renderer; else the setting ``renderers.default``.
        output: The PNG, in the workspace; else below ``generated/``.
        yes_upload: Whether weights and prompt may be sent to a renderer on another machine.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        ArgumentInvalidError: When an option breaks its rule.
        RecordNotFoundError: When LoRA, release, suite or checkpoint do not exist.
        FileMissingError, DigestMismatchError: When weights or base are not here, or are others.
        RendererError: When no usable image came.
        StateError, UnsafePathError: When nothing may be written there.
    """
    options = SceneOptions(
        prompt, negative, lora, asset_type, release, strength, trigger, seed, steps, guidance,
        width, height, sampler, renderer, output, yes_upload, project, scope,
    )  # fmt: skip
    return generate_with(workspace, options, RENDERERS)


def generate_with(workspace: Workspace, options: SceneOptions, registry: Registry) -> Result:
    """Draw with one of the renderers of ``registry``; see ``generate_image``.

    Raises:
        PipelineError: As ``generate_image``.
    """
    _require_sound(options)
    chosen = _chosen(workspace, options)
    if isinstance(chosen, Result):
        return chosen
    name = options.renderer or workspace.settings.require_text("renderers.default")
    renderer = find_renderer(name, registry)
    plan = _planned(workspace, options, chosen)
    target, beside = _targets(workspace, options, plan)
    facts = _facts(workspace, plan, target, beside, name)
    problem = renderer.health(workspace.settings)
    if problem is not None:
        raise RendererError(problem.message, hint=problem.hint)
    estimate = estimate_grid(workspace, renderer, [plan.cell], None)
    refusal = sending_refusal(workspace, plan.subject, estimate, yes_upload=options.yes_upload)
    warnings = _warnings(plan)
    if refusal is not None or workspace.dry_run:
        return Result(
            data=facts | {"estimate": estimate.to_dict()},
            reasoning=refusal.message if refusal else f"Would draw {facts['output']}",
            warnings=warnings,
            written=() if refusal else (facts["output"], facts["record"]),
            dry_run=workspace.dry_run,
            refusal=refusal,
        )
    record, cautions = _drawn(workspace, plan, renderer, target, beside)
    return Result(
        data=facts | {"imageSha256": record.image_sha256, "renderer": record.renderer.to_dict()},
        reasoning=f"Drew {facts['output']} with {plan.lora.lora_id} {plan.lora.release_id}",
        warnings=(*warnings, *cautions, *record.renderer.unproven),
        written=(facts["output"], facts["record"]),
    )


def _require_sound(options: SceneOptions) -> None:
    if not options.prompt.strip():
        raise ArgumentInvalidError("the prompt is empty")
    if bool(options.lora) == bool(options.asset_type):
        raise ArgumentInvalidError("name a LoRA or an asset type", hint="--lora ID")
    if options.release and not options.lora:
        raise ArgumentInvalidError("a release belongs to a LoRA", hint="--lora ID --release ID")
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


def _chosen(workspace: Workspace, options: SceneOptions) -> dict[str, Any] | Result:
    """Return what resolve says, or its refusal."""
    if options.release:
        target = find_target(
            workspace, options.lora, options.release, project=options.project, scope=options.scope
        )
        if target.release.status == "deprecated":
            words = f"{target.words} is deprecated: it must no longer be used"
            return Result(data={}, reasoning=words, dry_run=workspace.dry_run,
                          refusal=Refusal("release_deprecated", words))  # fmt: skip
        state = target.release.status
        return {
            "loraId": options.lora, "releaseId": options.release,
            "strength": target.lora.record.strength_in_use,
            "explanation": {"chosen": f"named, {state}"},
        }  # fmt: skip
    if options.lora:
        found = resolve_lora(workspace, options.lora, project=options.project, scope=options.scope)
        return found if found.refusal else dict(found.data)
    stack = resolve_stack(workspace, asset_type=options.asset_type, project=options.project)
    if stack.refusal:
        return stack
    loras = stack.data["loras"]
    if len(loras) > 1:
        words = f"{len(loras)} LoRAs go together for {options.asset_type}; one is drawn at a time"
        steps = tuple(f"lora generate PROMPT --lora {one['loraId']}" for one in loras)
        return Result(data=dict(stack.data), reasoning=words, suggestions=steps,
                      dry_run=workspace.dry_run,
                      refusal=Refusal("stack_not_drawn", words, steps[0]))  # fmt: skip
    return dict(loras[0])


def _planned(workspace: Workspace, options: SceneOptions, chosen: dict[str, Any]) -> _Plan:
    target = find_target(
        workspace, chosen["loraId"], chosen["releaseId"],
        project=options.project, scope=options.scope,
    )  # fmt: skip
    subject = subject_of(workspace, target, suite_id="", prompts=())
    record, usual = target.lora.record, _usual(workspace, subject)
    lora = GenerationLora(
        lora_id=record.id,
        release_id=target.release.id,
        project_id=target.lora.scope.project_id or "",
        sha256=subject.weights_sha256,
        strength=chosen["strength"] if options.strength is None else options.strength,
        trigger_word=record.trigger_word,
        chosen=chosen["explanation"]["chosen"],
    )
    typed = options.prompt.strip()
    prompt = prompt_with_trigger(typed, record.trigger_word) if options.trigger else typed
    scene = GenerationScene(
        typed=typed,
        prompt=prompt,
        negative=options.negative,
        seed=options.seed,
        width=options.width or usual.width,
        height=options.height or usual.height,
        steps=options.steps or usual.steps,
        guidance=usual.guidance if options.guidance is None else options.guidance,
        sampler=options.sampler or usual.sampler,
    )
    cell = Cell(
        id=_CELL, prompt_id=_CELL, prompt=scene.prompt, negative=scene.negative, seed=scene.seed,
        strength=lora.strength, width=scene.width, height=scene.height, steps=scene.steps,
        guidance=scene.guidance, sampler=scene.sampler,
    )  # fmt: skip
    trace = trace_of(scene, lora, subject.checkpoint.digest)
    return _Plan(subject, lora, scene, trace, cell)


def _usual(workspace: Workspace, subject: Subject) -> RenderSettings:
    """Return how this release was looked at last, else its LoRA, else what the suite says."""
    target = subject.target
    seen = [
        (one.record.release_id == target.release.id, one.record.created_at, one.record.suite.render)
        for one in workspace.records.all(Evaluation, target.lora.scope)
        if one.record.lora_id == target.lora.record_id and one.record.suite is not None
    ]
    if not seen:
        return subject.suite.suite.render
    return max(seen, key=lambda one: one[:2])[2]


def _targets(workspace: Workspace, options: SceneOptions, plan: _Plan) -> tuple[Path, Path]:
    short = plan.trace.removeprefix("sha256:")[:8]
    usual = f"generated/{plan.lora.lora_id}-{plan.lora.release_id}-{plan.scene.seed}-{short}.png"
    target, _ = require_output(workspace, options.output or usual, (PNG,))
    beside = target.with_suffix(".json")
    require_replaceable(beside, workspace.relative(beside), BESIDE)
    return target, beside


def _drawn(
    workspace: Workspace, plan: _Plan, renderer: Renderer, target: Path, beside: Path
) -> tuple[Generation, tuple[str, ...]]:
    source = render_source(workspace, plan.subject, with_base=renderer.loads_base)
    name = f"generate-{plan.trace.removeprefix('sha256:')[:16]}"
    with private_folder(workspace, name) as folder:
        folder.mkdir(parents=True, exist_ok=True)
        store = ObjectStore(folder / "objects")
        try:
            with renderer.open(source, workspace.settings, folder) as session:
                sha256 = draw_cell(session, plan.cell, folder / "scene.png", store)
                identity, cautions = session.identity, tuple(session.cautions)
            picture = store.path(sha256).read_bytes()
        finally:
            shutil.rmtree(folder / "objects", ignore_errors=True)
    record = _record(workspace, plan, identity, target, sha256)
    with disk_refusals():
        target.parent.mkdir(parents=True, exist_ok=True)
        # The image first: a record never names an image that is not there.
        write_atomic(target, picture)
        write_atomic(beside, strict_json.dumps(record.to_dict()))
    if sha256_of_file(target) != sha256:
        raise StateError(f"{workspace.relative(target)} was changed while it was written")
    return record, cautions


def _record(
    workspace: Workspace, plan: _Plan, identity: RendererIdentity, target: Path, sha256: str
) -> Generation:
    record = Generation(
        trace=plan.trace,
        scene=plan.scene,
        lora=plan.lora,
        checkpoint_id=plan.subject.checkpoint.id,
        checkpoint_digest=plan.subject.checkpoint.digest,
        renderer=identity,
        image=target.name,
        image_sha256=sha256,
        created_at=workspace.now(),
        created_by=workspace.actor or "",
    )
    require_valid(record.to_dict(), Generation.schema_name(), target.name)
    return record


def _facts(
    workspace: Workspace, plan: _Plan, target: Path, beside: Path, renderer: str
) -> dict[str, Any]:
    return {
        "output": workspace.relative(target),
        "record": workspace.relative(beside),
        "trace": plan.trace,
        "scene": plan.scene.to_dict(),
        "lora": plan.lora.to_dict(),
        "checkpointId": plan.subject.checkpoint.id,
        "rendererName": renderer,
    }


def _warnings(plan: _Plan) -> tuple[str, ...]:
    release = plan.subject.target.release
    if release.status == "candidate":
        return (f"{release.id} is a candidate: for a look, production does not use it",)
    return ()
