"""A renderer of each kind with something to draw: base, LoRA, settings and the server behind."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from safetensors.numpy import save_file

from lora_pipeline.evaluation.renderers.a1111.renderer import A1111Renderer
from lora_pipeline.evaluation.renderers.comfyui.renderer import ComfyUiRenderer
from lora_pipeline.evaluation.renderers.connection import Waiting
from lora_pipeline.evaluation.renderers.hosted.fal import FalRenderer
from lora_pipeline.evaluation.renderers.hosted.renderer import HostedRenderer
from lora_pipeline.evaluation.renderers.hosted.replicate import ReplicateRenderer
from lora_pipeline.evaluation.renderers.interface import LoraFile, Renderer, RenderSource
from lora_pipeline.evaluation.renderers.mflux.renderer import MfluxRenderer
from lora_pipeline.evaluation.renderers.probing import Probe
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.workspace.settings import Settings, read_settings
from tests.support.fake_a1111 import FakeA1111
from tests.support.fake_comfyui import FakeComfyUi
from tests.support.fake_hosted_drawing import TOKEN, FakeFal, FakeReplicate
from tests.support.fake_trainer_programs import make_mflux
from tests.support.faulty_server import running

BASE_BYTES = b"these bytes stand for a base model"
SMALL_PROBE = Probe(side=64)
HOSTED_PROBE = Probe(side=64, tolerance=0.01)
_PROGRAMS = Path(__file__).with_name("programs")
TOKEN_VARIABLE = "LORA_TEST_DRAWING_TOKEN"


@dataclass
class Naps:
    """A clock that runs only while somebody waits, so that no test waits for real.

    Attributes:
        now: Seconds since the beginning.
        at: What happens once a moment has passed.
    """

    now: float = 0.0
    at: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for moment, act in list(self.at):
            if self.now >= moment:
                self.at.remove((moment, act))
                act()

    def waiting(self) -> Waiting:
        """Return how a renderer waits by this clock."""
        return Waiting(sleep=self.sleep, clock=lambda: self.now)


@dataclass
class Case:
    """A renderer with something to draw.

    Attributes:
        renderer: The renderer.
        source: Base and LoRA.
        settings: Of a workspace.
        folder: The session's.
        beside: Weights of another LoRA for the same base.
        server: What it talks to.
        naps: Its clock.
    """

    renderer: Renderer
    source: RenderSource
    settings: Settings
    folder: Path
    beside: Path
    server: Any = None
    naps: Naps = field(default_factory=Naps)

    def stacked(self, *strengths: float) -> RenderSource:
        """Return the source with both LoRAs, each at its strength."""
        files = (self.source.loras[0].path, self.beside)
        loras = [lora_file(path, used) for path, used in zip(files, strengths, strict=True)]
        return replace(self.source, loras=tuple(loras))


def lora_file(weights: Path, strength: float = 1.0) -> LoraFile:
    """Return the weights as they are given to a renderer."""
    return LoraFile(weights, sha256_of_file(weights), strength)


def write_sd15_lora(
    path: Path, *, text_encoder: bool = False, foreign: bool = False, seed: int = 5
) -> Path:
    """Write a small LoRA for SD 1.5 in the names of sd-scripts."""
    random = np.random.default_rng(seed)
    modules = [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q", 320, 320),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, 320),
    ]
    if text_encoder:
        modules.append(("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768, 768))
    if foreign:
        modules.append(("lora_unet_foreign_block_0_attn1_to_q", 320, 320))
    tensors = {}
    for name, inputs, outputs in modules:
        tensors[f"{name}.lora_down.weight"] = random.normal(size=(2, inputs)).astype(np.float32)
        tensors[f"{name}.lora_up.weight"] = random.normal(size=(outputs, 2)).astype(np.float32)
        tensors[f"{name}.alpha"] = np.array(2.0, dtype=np.float32)
    save_file(tensors, path)
    return path


def make_source(folder: Path, weights: Path, architecture: str = "sd15") -> RenderSource:
    """Return what is evaluated, with a base that is a single file."""
    base = folder / "base64.safetensors"
    base.write_bytes(BASE_BYTES)
    return RenderSource(
        base, architecture, (lora_file(weights),), checkpoint_id="base64",
        base_digests=(hashlib.sha256(BASE_BYTES).hexdigest(),), root=folder,
    )  # fmt: skip


def settings_with(
    root: Path, local: dict[str, Any], shared: dict[str, Any] | None = None
) -> Settings:
    """Return settings as files of a workspace would give them."""
    (root / "config").mkdir(exist_ok=True)
    (root / "config" / "local.json").write_text(json.dumps(_nested(local)))
    (root / "config" / "pipeline.yaml").write_text(json.dumps(_nested(shared or {})))
    return read_settings(root, {"LORA_DEVICE": "cpu", "LORA_THREADS": "1"})


def _other(folder: Path) -> Path:
    return write_sd15_lora(folder / "beside", text_encoder=True, seed=6)


@contextlib.contextmanager
def comfyui_case(folder: Path, **shared: Any) -> Iterator[Case]:
    """Return ComfyUI with its models in a folder that is seen from here."""
    models = folder / "ComfyUI" / "models"
    for name in ("checkpoints", "loras", "diffusion_models"):
        (models / name).mkdir(parents=True)
    source = make_source(folder, write_sd15_lora(folder / "weights"))
    (models / "checkpoints" / "base64.safetensors").write_bytes(BASE_BYTES)
    server = FakeComfyUi(models=models, output=folder / "ComfyUI" / "output")
    naps = Naps()
    session = folder / "session"
    session.mkdir()
    with running(server):
        settings = settings_with(
            folder,
            {
                "comfyui.baseUrl": server.address,
                "renderers.comfyui.modelsRoot": str(models),
            },
            shared,
        )
        renderer = ComfyUiRenderer(waiting=naps.waiting(), probe=SMALL_PROBE)
        yield Case(renderer, source, settings, session, _other(folder), server, naps)


@contextlib.contextmanager
def a1111_case(folder: Path, **shared: Any) -> Iterator[Case]:
    """Return AUTOMATIC1111 with its folder of LoRAs seen from here."""
    loras = folder / "webui" / "Lora"
    loras.mkdir(parents=True)
    source = make_source(folder, write_sd15_lora(folder / "weights"))
    server = FakeA1111(loras=loras, base_sha256=source.base_digests[0])
    naps = Naps()
    session = folder / "session"
    session.mkdir()
    with running(server):
        local = {
            "renderers.a1111.baseUrl": server.address,
            "renderers.a1111.lorasRoot": str(loras),
        }
        settings = settings_with(folder, local, shared)
        renderer = A1111Renderer(waiting=naps.waiting(), probe=SMALL_PROBE)
        yield Case(renderer, source, settings, session, _other(folder), server, naps)


@contextlib.contextmanager
def replicate_case(folder: Path, **shared: Any) -> Iterator[Case]:
    """Return Replicate; the token is in the environment for the time of the block."""
    server = FakeReplicate()
    local = {"trainers.replicate.tokenVariable": TOKEN_VARIABLE}
    renderer = ReplicateRenderer(probe=HOSTED_PROBE)
    with _hosted(folder, server, renderer, local, ("trainers.replicate.baseUrl",), shared) as case:
        yield case


@contextlib.contextmanager
def fal_case(folder: Path, **shared: Any) -> Iterator[Case]:
    """Return fal; the key is in the environment for the time of the block."""
    server = FakeFal()
    local = {"trainers.fal.keyVariable": TOKEN_VARIABLE}
    keys = ("trainers.fal.baseUrl", "trainers.fal.storageUrl")
    with _hosted(folder, server, FalRenderer(probe=HOSTED_PROBE), local, keys, shared) as case:
        yield case


@contextlib.contextmanager
def _hosted(
    folder: Path,
    server: FakeReplicate | FakeFal,
    renderer: HostedRenderer,
    local: dict[str, Any],
    address_keys: tuple[str, ...],
    shared: dict[str, Any],
) -> Iterator[Case]:
    source = make_source(folder, write_sd15_lora(folder / "weights"))
    naps = Naps()
    renderer.waiting = naps.waiting()
    session = folder / "session"
    session.mkdir()
    with running(server), pytest.MonkeyPatch.context() as environment:
        environment.setenv(TOKEN_VARIABLE, TOKEN)
        settings = settings_with(
            folder, local | dict.fromkeys(address_keys, server.address), shared
        )
        yield Case(renderer, source, settings, session, _other(folder), server, naps)


@contextlib.contextmanager
def mflux_case(folder: Path, **shared: Any) -> Iterator[Case]:
    """Return mflux in an environment of its own, with a program that draws."""
    mflux = make_mflux(folder)
    python = mflux.program.parent / "python"
    draws = (_PROGRAMS / "mflux_generate.py").read_text(encoding="utf-8")
    for name in ("mflux-generate", "mflux-generate-z-image"):
        program = mflux.program.with_name(name)
        program.write_text(f"#!{python}\n{draws}", encoding="utf-8")
        program.chmod(0o755)
    checkpoint = folder / "flux1-dev"
    checkpoint.mkdir()
    weights = write_flux_lora(folder / "weights")
    source = RenderSource(
        checkpoint, "flux1", (lora_file(weights),), checkpoint_id="flux1-dev", root=folder,
    )  # fmt: skip
    session = folder / "session"
    session.mkdir()
    settings = settings_with(folder, {"trainers.mflux.program": str(mflux.program)}, shared)
    beside = write_flux_lora(folder / "beside", seed=6)
    yield Case(MfluxRenderer(probe=SMALL_PROBE), source, settings, session, beside, mflux)


def write_flux_lora(path: Path, *, seed: int = 5) -> Path:
    """Write a small LoRA for FLUX.1 in the names of diffusers."""
    random = np.random.default_rng(seed)
    tensors = {}
    for block in range(3):
        name = f"transformer.single_transformer_blocks.{block}.attn.to_q"
        tensors[f"{name}.lora_A.weight"] = random.normal(size=(2, 3072)).astype(np.float32)
        tensors[f"{name}.lora_B.weight"] = random.normal(size=(3072, 2)).astype(np.float32)
    save_file(tensors, path)
    return path


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for key, value in flat.items():
        place = document
        *names, last = key.split(".")
        for name in names:
            place = place.setdefault(name, {})
        place[last] = value
    return document
