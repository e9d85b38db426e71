"""``lora generate``: a test scene with what production uses."""

from __future__ import annotations

from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.cli.spending_report import spent_rows
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.command()
@click.argument("prompt")
@click.option("--lora", default="", metavar="ID", help="The LoRA to draw with.")
@click.option("--asset-type", default="", metavar="TYPE", help="Else all that go together for it.")
@click.option("--checkpoint", default="", metavar="ID", help="With --asset-type: base model used.")
@click.option(
    "--with", "loras", multiple=True, metavar="ID", help="With --asset-type: must be in it."
)
@click.option("--release", default="", metavar="ID", help="For a look: also a candidate.")
@click.option("--strength", type=float, help="Of the one LoRA; else the one in use.")
@click.option("--no-trigger", is_flag=True, help="Leave trigger words out of the prompt.")
@click.option("--negative", default="", metavar="TEXT", help="What it should not show.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the noise.")
@click.option("--steps", type=int, help="Sampling steps; else its grid's, as all below.")
@click.option("--guidance", type=float, help="Guidance scale.")
@click.option("--width", type=int, metavar="N", help="Width in pixels.")
@click.option("--height", type=int, metavar="N", help="Height in pixels.")
@click.option("--sampler", default="", metavar="NAME", help="Sampler.")
@click.option("--renderer", default="", metavar="NAME", help="What draws; else the setting's.")
@click.option("--output", default="", metavar="FILE", help="The PNG; else below generated/.")
@click.option("--yes-upload", is_flag=True, help="Agree to what leaves this machine.")
@scope_option
@writing_options
@click.pass_obj
def generate(
    session: Session,
    prompt: str,
    *,
    lora: str,
    asset_type: str,
    checkpoint: str,
    loras: tuple[str, ...],
    release: str,
    strength: float | None,
    no_trigger: bool,
    negative: str,
    seed: int,
    steps: int | None,
    guidance: float | None,
    width: int | None,
    height: int | None,
    sampler: str,
    renderer: str,
    output: str,
    yes_upload: bool,
    scope: ScopeName,
) -> None:
    """Draw a test scene with what production uses.

    Takes what lora resolve chooses: one LoRA, or with --asset-type all that go together, each at
    its strength, trigger words in front of the prompt. Writes the PNG and beside it a JSON with
    all that made it: prompt, seed, settings, digests of weights and base model, renderer. Asked
    for again it is the same request. Exits with 1 when nothing can be resolved, 3 when no usable
    image came.

    \b
    lora generate "a red star" --lora ui_icons --seed 7
    lora generate "a red star" --asset-type ui_icon
    lora generate "a red star" --lora ui_icons --release r8    a candidate, for a look
    """
    from lora_pipeline.operations.releases.generate import generate_image

    session.run(
        generate_image, _drawn, prompt,
        lora=lora, asset_type=asset_type, checkpoint=checkpoint, loras=loras, release=release,
        strength=strength,
        trigger=not no_trigger, negative=negative, seed=seed, steps=steps, guidance=guidance,
        width=width, height=height, sampler=sampler, renderer=renderer, output=output,
        yes_upload=yes_upload, project=session.project, scope=scope,
    )  # fmt: skip


def _drawn(result: Result) -> Report:
    facts, no = result.data, result.refusal
    if no is not None and "scene" not in facts:
        return Report(f"refused · {no.message}")
    scene = facts["scene"]
    size = f"{scene['width']} x {scene['height']}"
    rows = [
        ("prompt", scene["prompt"]),
        *(("" if number else "with", _used(lora)) for number, lora in enumerate(facts["loras"])),
        ("drawn", f"{size}, {scene['steps']} steps, seed {scene['seed']}, {facts['rendererName']}"),
        ("trace", facts["trace"][:19]),
    ]
    if no is not None:
        return Report(f"asks · {no.message}", rows, lines=[f"  {no.hint}"])
    rows += spent_rows(facts["spent"])
    verb = "would draw" if result.dry_run else "drew"
    return Report(f"{verb} {facts['output']}", rows)


def _used(lora: dict[str, Any]) -> str:
    return f"{lora['loraId']} {lora['releaseId']} at {lora['strength']:g}, {lora['chosen']}"
