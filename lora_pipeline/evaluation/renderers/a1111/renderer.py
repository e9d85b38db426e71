"""The renderer ``a1111``: a server of AUTOMATIC1111 or Forge, started with ``--api``."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.a1111.answer import Asking, answer_of
from lora_pipeline.evaluation.renderers.connection import (
    HASTE,
    Patience,
    Waiting,
    as_renderer_errors,
    connected,
    require_mapping,
    token_of,
)
from lora_pipeline.evaluation.renderers.drawing_session import LONGEST_DOWN_S, DrawingSession
from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource, Strengths
from lora_pipeline.evaluation.renderers.lora_file import CheckedLora, checked_loras, place_lora
from lora_pipeline.evaluation.renderers.own_server import OwnServerRenderer
from lora_pipeline.evaluation.renderers.pictures import pixels_of
from lora_pipeline.evaluation.renderers.probing import prove_effect
from lora_pipeline.evaluation.renderers.session_log import SessionLog
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import RendererError, ServiceUnreachableError
from lora_pipeline.training.hosted.http_client import AnsweredNoError, ServiceClient
from lora_pipeline.workspace.settings import LOCAL_FILE, Settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

# Changes when the same cell is asked for in another way.
_REVISION = 1
_ADDRESS = "renderers.a1111.baseUrl"
# Options of the server that change pictures and that a request does not set.
_OPTIONS = (
    "sd_vae", "upcast_attn", "cross_attention_optimization", "token_merging_ratio", "emphasis",
    "comma_padding_backtrack", "eta_ddim", "eta_ancestral", "s_churn", "s_noise", "s_min_uncond",
    "sdxl_crop_left", "sdxl_crop_top", "always_discard_next_to_last_sigma",
    "forge_preset", "forge_additional_modules", "forge_unet_storage_dtype",
)  # fmt: skip
_FORGE = "forge_additional_modules"
_TRIES = 2


@dataclass
class A1111Renderer(OwnServerRenderer):
    """Draws with a server of AUTOMATIC1111 or Forge."""

    name: str = "a1111"
    summary: str = "an AUTOMATIC1111 or Forge server, started with --api"
    address_key: str = _ADDRESS
    example: str = "http://127.0.0.1:7860"

    def found(self, settings: Settings) -> str:
        """Return which server answers.

        Raises:
            RendererError: When none does.
        """
        with as_renderer_errors(), self._client(settings, HASTE, answer_s=10.0) as client:
            program = "Forge" if _FORGE in _options(client) else "AUTOMATIC1111"
            return f"{program} at {client.base}"

    @contextlib.contextmanager
    def open(
        self, source: RenderSource, settings: Settings, folder: Path
    ) -> Iterator[A1111Session]:
        """Return a session whose base and LoRAs were checked.

        Raises:
            RendererError: When something of it is not as it must be.
        """
        loras = checked_loras(source)
        limit_s = settings.number("renderers.timeoutSeconds")
        with (
            SessionLog(folder) as log,
            as_renderer_errors(),
            self._client(settings, self.waiting, answer_s=limit_s) as client,
        ):
            options = _options(client)
            model = _model(client, settings, source)
            for lora in loras:
                log(f"LoRA {lora.name}: {lora.proof}")
                _have_lora(client, settings, source, lora)
            forge = _FORGE in options
            if source.architecture.startswith("flux") and not forge:
                raise RendererError("AUTOMATIC1111 does not draw FLUX; Forge does")
            session = A1111Session(
                source=source,
                client=client,
                asking=Asking(
                    model=model,
                    base_digests=source.base_digests,
                    loras=loras,
                    distilled=source.architecture.startswith("flux"),
                    samplers=frozenset(_names(client, "/sdapi/v1/samplers", "name")),
                ),
                patience=lambda: Patience(
                    self.waiting, settings.number("renderers.pollSeconds"), LONGEST_DOWN_S
                ),
                unproven=_unproven(settings),
            )
            prove_effect(session.draw, self.probe, len(loras))
            session.identity = _identity(session, options, forge=forge, client=client)
            yield session

    @contextlib.contextmanager
    def _client(
        self, settings: Settings, waiting: Waiting, *, answer_s: float
    ) -> Iterator[ServiceClient]:
        key = "renderers.a1111.loginVariable"
        login = token_of(settings, key)
        with connected(
            settings.require_text(self.address_key),
            waiting,
            token=base64.b64encode(login.encode()).decode() if login else "",
            variable=settings.require_text(key),
            scheme="Basic",
            answer_s=answer_s,
        ) as client:
            yield client


@dataclass
class A1111Session(DrawingSession):
    """A server that has the base and the LoRAs.

    Attributes:
        source: What is drawn with.
        client: Speaks to it.
        asking: What is asked for.
        patience: Makes a new measure of waiting.
        unproven: What could not be proven, in words.
        identity: What draws, and on what.
        told: What the server said of the last picture.
    """

    source: RenderSource
    client: ServiceClient
    asking: Asking
    patience: Any
    unproven: tuple[str, ...]
    identity: RendererIdentity = field(
        default_factory=lambda: RendererIdentity(name="a1111", version="", fingerprint="")
    )
    told: Mapping[str, str] = field(default_factory=dict)
    alive: bool = True
    cautions: tuple[str, ...] = ()

    def draw(self, cell: CellRequest, strengths: Strengths) -> Pixels:
        """Return the pixels of a cell, each LoRA at its strength; without any for the base.

        Raises:
            RendererError: When no picture came, or not the one that was asked for.
            ImageRefusedError: When it has another size, or is none.
        """
        body = self.asking.request(cell, strengths)
        with as_renderer_errors():
            answer = self._asked(body)
        data, self.told = answer_of(require_mapping(answer, self.client.base, "txt2img"))
        self.asking.require_told(self.told, cell, strengths)
        return pixels_of(data, cell)

    def _asked(self, body: Mapping[str, Any]) -> Any:
        for left in reversed(range(_TRIES)):
            try:
                return self.client.act("POST", "/sdapi/v1/txt2img", body)
            except ServiceUnreachableError:
                # Drawing twice costs a moment, so once it is back it is asked again.
                self._wait_for_it()
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _wait_for_it(self) -> None:
        patience = self.patience()
        while True:
            try:
                self.client.read("/sdapi/v1/options")
            except ServiceUnreachableError:
                if patience.over:
                    self.alive = False
                    raise
                patience.wait()
            else:
                return


def _options(client: ServiceClient) -> dict[str, Any]:
    try:
        answer = client.read("/sdapi/v1/options")
    except AnsweredNoError as error:
        if error.status != 404:
            raise
        raise RendererError(
            f"{client.base} does not offer its interface", hint="start it with --api"
        ) from error
    options = require_mapping(answer, client.base, "/sdapi/v1/options")
    if "sd_model_checkpoint" not in options:
        raise RendererError(
            f"{client.base} does not answer as AUTOMATIC1111 or Forge does",
            hint=f"set {_ADDRESS} to the address of its web page",
        )
    return options


def _names(client: ServiceClient, path: str, key: str) -> list[str]:
    return [str(row[key]) for row in _rows(client, path) if key in row]


def _rows(client: ServiceClient, path: str) -> list[dict[str, Any]]:
    answer = client.read(path)
    return [row for row in answer if isinstance(row, dict)] if isinstance(answer, list) else []


def _model(client: ServiceClient, settings: Settings, source: RenderSource) -> str:
    """Return the title of the base model, by its digest, else as it is told."""
    rows = _rows(client, "/sdapi/v1/sd-models")
    named = settings.text("renderers.a1111.checkpoint")
    for row in rows:
        title, sha256 = str(row.get("title", "")), str(row.get("sha256") or "").lower()
        if named in {title, row.get("model_name")} or (not named and sha256 in source.base_digests):
            return title
    file_name = source.checkpoint_path.name
    for row in rows:
        if not named and PureWindowsPath(str(row.get("filename", ""))).name == file_name:
            return str(row.get("title"))
    what = f"no model {named}" if named else f"no model that is checkpoint {source.checkpoint_id}"
    raise RendererError(
        f"{client.base} lists {what}",
        hint="put the file into its models/Stable-diffusion, or set renderers.a1111.checkpoint",
    )


def _have_lora(
    client: ServiceClient, settings: Settings, source: RenderSource, lora: CheckedLora
) -> None:
    root = settings.text("renderers.a1111.lorasRoot")
    if root:
        place_lora(lora, source.root / Path(root).expanduser())
        client.act("POST", "/sdapi/v1/refresh-loras", {})
    if lora.stem in _names(client, "/sdapi/v1/loras", "name"):
        return
    if root:
        raise RendererError(
            f"{client.base} does not list {lora.stem}, which is in {root}",
            hint="renderers.a1111.lorasRoot must be the folder models/Lora of this server",
        )
    raise RendererError(
        f"{client.base} does not have {lora.name}",
        hint=f"set renderers.a1111.lorasRoot in {LOCAL_FILE}, or copy {lora.path} to its "
        f"models/Lora/{lora.name}",
    )


def _unproven(settings: Settings) -> tuple[str, ...]:
    if settings.text("renderers.a1111.lorasRoot"):
        return ()
    return ("the LoRA's bytes on the server: only the digest that it tells was compared",)


def _identity(
    session: A1111Session, options: Mapping[str, Any], *, forge: bool, client: ServiceClient
) -> RendererIdentity:
    told = session.told
    version = told.get("Version") or "unknown"
    cuda = _memory(client).get("cuda")
    device = "cuda" if isinstance(cuda, dict) and "error" not in cuda else "cpu"
    details = {
        "program": "forge" if forge else "a1111",
        "version": version,
        "modelHash": told.get("Model hash", ""),
        "sampler": told.get("Sampler", ""),
        "schedule": told.get("Schedule type", ""),
        "device": device,
        "options": {name: options[name] for name in _OPTIONS if name in options},
        "revision": _REVISION,
    }
    return RendererIdentity(
        name="a1111",
        version=version,
        fingerprint=digest_of(details),
        device=device,
        details=details,
        unproven=session.unproven,
    )


def _memory(client: ServiceClient) -> dict[str, Any]:
    try:
        answer = client.read("/sdapi/v1/memory")
    except AnsweredNoError:
        return {}
    return answer if isinstance(answer, dict) else {}
