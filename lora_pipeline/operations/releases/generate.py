"""Draw a test scene with what production uses, and write down all that made it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.evaluation.renderers.registry import RENDERERS, find_renderer
from lora_pipeline.evaluation.rendering import Paying, draw_cell, private_folder
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import RendererError, StateError
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.result import Result
from lora_pipeline.foundation.schemas import require_valid
from lora_pipeline.operations.evaluation.evaluation_cost import estimate_grid, sending_refusal
from lora_pipeline.operations.evaluation.evaluation_subject import lora_file, render_source
from lora_pipeline.operations.evaluation.till import settle_left, till_for, with_spent
from lora_pipeline.operations.releases.scene import SceneOptions, ScenePlan, plan_scene
from lora_pipeline.operations.workspace.output_file import (
    PNG,
    OutputKind,
    require_output,
    require_replaceable,
)
from lora_pipeline.releases.generation import Generation
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore

BESIDE = OutputKind("a record of an image", ".json", b"{", b'"checkpointDigest"')


def generate_image(
    workspace: Workspace,
    prompt: str,
    *,
    lora: str = "",
    asset_type: str = "",
    checkpoint: str = "",
    loras: tuple[str, ...] = (),
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

    For an asset type all LoRAs that go together are drawn with, each at the strength in use.
    Sizes, steps and guidance are those of the newest grid, else of the suite. Asked for again
    with the same words it is the same request, and the same image where the renderer is the same.

    Args:
        workspace: Where everything is.
        prompt: What to draw; trigger words are put in front where they are not in it.
        lora: The LoRA; or ``asset_type``.
        asset_type: Draw with the LoRAs that the project's policy puts together for it.
        checkpoint: With ``asset_type``: the base model, where there are LoRAs for several.
        loras: With ``asset_type``: LoRAs that must be in it.
        release: A release instead of the one in use, also one that was not promoted: for a look.
        strength: Strength of the one LoRA; else the one in use.
        trigger: Whether trigger words belong into the prompt.
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
        RendererError: When no usable image came, or the renderer cannot use several together.
        StateError, UnsafePathError: When nothing may be written there.
    """
    options = SceneOptions(
        prompt=prompt, negative=negative, lora=lora, asset_type=asset_type, checkpoint=checkpoint,
        loras=loras, release=release, strength=strength, trigger=trigger, seed=seed, steps=steps,
        guidance=guidance, width=width, height=height, sampler=sampler, renderer=renderer,
        output=output, yes_upload=yes_upload, project=project, scope=scope,
    )  # fmt: skip
    return generate_with(workspace, options, RENDERERS)


def generate_with(workspace: Workspace, options: SceneOptions, registry: Registry) -> Result:
    """Draw with one of the renderers of ``registry``; see ``generate_image``.

    Raises:
        PipelineError: As ``generate_image``.
    """
    plan = plan_scene(workspace, options)
    if isinstance(plan, Result):
        return plan
    name = options.renderer or workspace.settings.require_text("renderers.default")
    renderer = find_renderer(name, registry)
    target, beside = _targets(workspace, options, plan)
    facts = _facts(workspace, plan, target, beside, name)
    problem = renderer.health(workspace.settings)
    if problem is not None:
        raise RendererError(problem.message, hint=problem.hint)
    estimate = estimate_grid(workspace, renderer, [plan.cell], None, loras=len(plan.loras))
    counted = [] if workspace.dry_run or not estimate.sent_to else settle_left(workspace)
    refusal = sending_refusal(
        workspace, plan.lead, estimate, yes_upload=options.yes_upload, words=plan.words
    )
    if refusal is not None or workspace.dry_run:
        asked = Result(
            data=facts | {"estimate": estimate.to_dict()},
            reasoning=refusal.message if refusal else f"Would draw {facts['output']}",
            warnings=plan.warnings,
            written=() if refusal else (facts["output"], facts["record"]),
            dry_run=workspace.dry_run,
            refusal=refusal,
        )
        return with_spent(asked, None, counted)
    till = till_for(workspace, plan.lead.target, estimate, service=name, purpose="scene")
    record, cautions = _drawn(workspace, plan, renderer, target, beside, paying=till.opened)
    drawn = Result(
        data=facts | {"imageSha256": record.image_sha256, "renderer": record.renderer.to_dict()},
        reasoning=f"Drew {facts['output']} with {plan.words}",
        warnings=(*plan.warnings, *cautions, *record.renderer.unproven),
        written=(facts["output"], facts["record"]),
    )
    return with_spent(drawn, till, counted)


def _targets(workspace: Workspace, options: SceneOptions, plan: ScenePlan) -> tuple[Path, Path]:
    short = plan.trace.removeprefix("sha256:")[:8]
    first = plan.loras[0]
    name = options.asset_type if len(plan.loras) > 1 else f"{first.lora_id}-{first.release_id}"
    usual = f"generated/{name}-{plan.scene.seed}-{short}.png"
    target, _ = require_output(workspace, options.output or usual, (PNG,))
    beside = target.with_suffix(".json")
    require_replaceable(beside, workspace.relative(beside), BESIDE)
    return target, beside


def _drawn(
    workspace: Workspace,
    plan: ScenePlan,
    renderer: Renderer,
    target: Path,
    beside: Path,
    *,
    paying: Paying,
) -> tuple[Generation, tuple[str, ...]]:
    source = render_source(workspace, plan.lead, with_base=renderer.loads_base)
    source = replace(
        source,
        loras=tuple(
            lora_file(workspace, subject, lora.strength)
            for subject, lora in zip(plan.subjects, plan.loras, strict=True)
        ),
    )
    name = f"generate-{plan.trace.removeprefix('sha256:')[:16]}"
    with private_folder(workspace, name) as folder, paying(folder):
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
    workspace: Workspace, plan: ScenePlan, identity: RendererIdentity, target: Path, sha256: str
) -> Generation:
    record = Generation(
        trace=plan.trace,
        scene=plan.scene,
        loras=plan.loras,
        checkpoint_id=plan.lead.checkpoint.id,
        checkpoint_digest=plan.lead.checkpoint.digest,
        renderer=identity,
        image=target.name,
        image_sha256=sha256,
        created_at=workspace.now(),
        created_by=workspace.actor or "",
    )
    require_valid(record.to_dict(), Generation.schema_name(), target.name)
    return record


def _facts(
    workspace: Workspace, plan: ScenePlan, target: Path, beside: Path, renderer: str
) -> dict[str, Any]:
    return {
        "output": workspace.relative(target),
        "record": workspace.relative(beside),
        "trace": plan.trace,
        "scene": plan.scene.to_dict(),
        "loras": [lora.to_dict() for lora in plan.loras],
        "checkpointId": plan.lead.checkpoint.id,
        "rendererName": renderer,
    }
