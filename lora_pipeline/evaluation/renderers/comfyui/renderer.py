"""The renderer ``comfyui``: a server of the user's, and a workflow that the user drew with it.

Nothing that it says is proof. The LoRA goes there under the digest of its bytes, its keys are
compared before, three probes show that it is in use, and the server's log is read for what it
could not load.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

import msgspec

from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.evaluation.renderers.comfyui.base import Models, plain_workflow, prove_base
from lora_pipeline.evaluation.renderers.comfyui.graph import (
    LORA_LOADERS,
    Graph,
    needed_for,
    read_workflow,
    require_allowed,
)
from lora_pipeline.evaluation.renderers.comfyui.request import (
    FOLDER,
    LoraNode,
    Workflow,
    loader_for,
)
from lora_pipeline.evaluation.renderers.comfyui.roles import (
    Roles,
    find_roles,
    output_of,
    read_mapping,
)
from lora_pipeline.evaluation.renderers.comfyui.server import ComfyServer
from lora_pipeline.evaluation.renderers.comfyui.session import ComfySession
from lora_pipeline.evaluation.renderers.connection import (
    HASTE,
    Patience,
    Waiting,
    as_renderer_errors,
    connected,
    token_of,
)
from lora_pipeline.evaluation.renderers.interface import RenderSource
from lora_pipeline.evaluation.renderers.lora_file import CheckedLora, checked_loras, place_lora
from lora_pipeline.evaluation.renderers.own_server import OwnServerRenderer
from lora_pipeline.evaluation.renderers.probing import prove_effect
from lora_pipeline.evaluation.renderers.session_log import SessionLog
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.workspace.settings import LOCAL_FILE, Settings

# Changes when the same cell is asked for in another way.
_REVISION = 1
# Arguments of the server that say where it stands, and change no pixel.
_PLACES = ("--port", "--listen", "--output", "--input", "--temp", "--user", "--base", "--extra",
           "--auto-launch", "--log", "--verbose", "--database", "--front", "--tls", "--cors",
           "--enable-cors", "--max-upload", "--comfy-api", "--disable-auto")  # fmt: skip
_PLAIN = ("sd15", "sdxl")
_OPEN = (
    "this ComfyUI listens on every address and asks nobody who they are: whoever reaches it reads "
    "the prompts and can draw"
)
_NOT_LOADED, _NOT_APPLIED = "lora key not loaded: ", "ERROR lora "


@dataclass
class ComfyUiRenderer(OwnServerRenderer):
    """Draws with a ComfyUI server."""

    name: str = "comfyui"
    summary: str = "a ComfyUI server with a workflow of yours"
    address_key: str = "comfyui.baseUrl"
    example: str = "http://127.0.0.1:8188"

    def found(self, settings: Settings) -> str:
        """Return which server answers.

        Raises:
            RendererError: When none does.
        """
        with as_renderer_errors(), self._server(settings, HASTE, answer_s=10.0) as server:
            stats = server.stats()
        return f"ComfyUI {stats['system']['comfyui_version']} at {server.address}"

    @contextlib.contextmanager
    def open(
        self, source: RenderSource, settings: Settings, folder: Path
    ) -> Iterator[ComfySession]:
        """Return a session whose workflow, base and LoRAs were checked.

        Raises:
            RendererError: When something of it is not as it must be.
        """
        loras = checked_loras(source)
        with (
            SessionLog(folder) as log,
            as_renderer_errors(),
            self._server(settings, self.waiting) as server,
        ):
            for lora in loras:
                log(f"LoRA {lora.name}: {lora.proof}")
            stats = server.stats()
            opening = _Opening(server, settings, source, loras)
            workflow, models = opening.prepared()
            identity = _identity(stats, workflow, models, opening)
            limit_s = settings.number("renderers.timeoutSeconds")
            every_s = settings.number("renderers.pollSeconds")
            session = ComfySession(
                source=source,
                server=server,
                workflow=workflow,
                identity=identity,
                fingerprint=lambda: (
                    _identity(server.stats(), workflow, models, opening).fingerprint
                ),
                patience=lambda limit: Patience(self.waiting, every_s, limit),
                limit_s=limit_s,
                folder=folder,
                log=log,
                cautions=_cautions(stats),
            )
            before = frozenset(server.log())
            prove_effect(session.draw, self.probe, len(loras))
            _require_all_loaded(server, before, loras)
            yield session

    @contextlib.contextmanager
    def _server(
        self, settings: Settings, waiting: Waiting, *, answer_s: float = 60.0
    ) -> Iterator[ComfyServer]:
        key = "renderers.comfyui.tokenVariable"
        with connected(
            settings.require_text(self.address_key),
            waiting,
            token=token_of(settings, key),
            variable=settings.require_text(key),
            answer_s=answer_s,
        ) as client:
            yield ComfyServer(client)


class _Opening(msgspec.Struct, frozen=True):
    """What has to be checked before anything is drawn."""

    server: ComfyServer
    settings: Settings
    source: RenderSource
    loras: tuple[CheckedLora, ...]

    def prepared(self) -> tuple[Workflow, Models]:
        """Return the workflow that draws cells, and the models in it."""
        mapping_path = self._path("renderers.comfyui.mapping")
        mapping = read_mapping(mapping_path) if mapping_path else {}
        whole = self._graph()
        graph = needed_for(whole, output_of(whole, mapping))
        kinds = {node["class_type"] for node in graph.values()} | {*LORA_LOADERS, "SaveImage"}
        info = {kind: self.server.node(kind) for kind in sorted(kinds)}
        require_allowed(graph, info, self._further())
        roles = find_roles(graph, info, mapping)
        models = prove_base(_without(graph, roles), self.source, self.models_root)
        nodes = tuple(
            LoraNode(
                loader_for(roles, text_encoders=lora.changes_text_encoders), self._lora_name(lora)
            )
            for lora in self.loras
        )
        return Workflow(graph, info, roles, nodes), models

    @property
    def models_root(self) -> Path | None:
        """ComfyUI's folder of models, as this machine sees it."""
        return self._path("renderers.comfyui.modelsRoot")

    def _graph(self) -> Graph:
        path = self._path("renderers.comfyui.workflow")
        if path is not None:
            return read_workflow(path)
        if self.source.architecture not in _PLAIN:
            raise RendererError(
                f"{self.source.architecture or 'this checkpoint'} is drawn with a workflow of "
                "yours, and none is set",
                hint="export it in the API format, and set renderers.comfyui.workflow",
            )
        named = self.settings.text("renderers.comfyui.checkpoint")
        own = self.source.checkpoint_path.name
        listed = self.server.files("checkpoints")
        for name in listed:
            if name == named or (not named and PureWindowsPath(name).name == own):
                return plain_workflow(name)
        raise RendererError(
            f"{self.server.address} lists no checkpoint {named or own}",
            hint="set renderers.comfyui.checkpoint to the name in its list, or set a workflow",
        )

    def _lora_name(self, lora: CheckedLora) -> str:
        """Return the LoRA as the server lists it, after putting it there where that is possible."""
        root = self.models_root
        if root is not None:
            loras = root / "loras"
            if not loras.is_dir():
                raise RendererError(
                    f"{loras} is no folder",
                    hint="set renderers.comfyui.modelsRoot to ComfyUI's folder models",
                )
            (loras / FOLDER).mkdir(exist_ok=True)
            place_lora(lora, loras / FOLDER)
        wanted = f"{FOLDER}/{lora.name}"
        for name in self.server.files("loras"):
            if name.replace("\\", "/") == wanted:  # it lists with its system's separators
                self._require_length(name, lora)
                return name
        if root is not None:
            raise RendererError(
                f"{self.server.address} does not list {wanted}, which is in {root / 'loras'}",
                hint="renderers.comfyui.modelsRoot must be the folder that this server reads",
            )
        raise RendererError(
            f"{self.server.address} does not have {wanted}",
            hint=f"set renderers.comfyui.modelsRoot in {LOCAL_FILE}, or copy {lora.path} "
            f"there as models/loras/{wanted}",
        )

    def _require_length(self, name: str, lora: CheckedLora) -> None:
        told = self.server.sizes("loras").get(name)
        if told is not None and told != lora.report.bytes:
            raise RendererError(
                f"{name} has {told} bytes on the server, and {lora.report.bytes} here",
                hint="remove it there; it was not copied whole",
            )

    def _further(self) -> frozenset[str]:
        text = self.settings.text("renderers.comfyui.allowedNodes") or ""
        return frozenset(part.strip() for part in text.split(",") if part.strip())

    def _path(self, key: str) -> Path | None:
        text = self.settings.text(key)
        return self.source.root / Path(text).expanduser() if text else None


def _without(graph: Graph, roles: Roles) -> Graph:
    """Return a graph without the LoRA loader that stands for ours."""
    return {node_id: node for node_id, node in graph.items() if node_id != roles.marked}


def _identity(
    stats: dict[str, Any], workflow: Workflow, models: Models, opening: _Opening
) -> RendererIdentity:
    system = stats["system"]
    devices = [one for one in stats.get("devices") or [] if isinstance(one, dict)]
    version = str(system["comfyui_version"])
    details = {
        "comfyui": version,
        "torch": str(system.get("pytorch_version", "")),
        "python": str(system.get("python_version", "")).partition(" ")[0],
        "system": str(system.get("os", "")),
        "devices": [str(one.get("name", "")) for one in devices],
        "flags": _flags(system.get("argv")),
        "workflow": workflow.digest,
        "models": dict(sorted(models.digests.items())),
        "revision": _REVISION,
    }
    unproven = []
    if not models.proven:
        unproven.append("which base model ComfyUI draws with: its models cannot be read from here")
    if opening.models_root is None:
        unproven.append("the LoRA's bytes on the server: only its name and length were compared")
    return RendererIdentity(
        name="comfyui",
        version=version,
        fingerprint=digest_of(details),
        device=str(devices[0].get("type", "")) if devices else "",
        details=details,
        unproven=tuple(unproven),
    )


def _flags(argv: Any) -> list[str]:
    """Return the server's arguments that may change a picture, without paths and addresses."""
    words = [str(one) for one in argv] if isinstance(argv, list) else []
    return sorted(
        word.partition("=")[0]
        for word in words
        if word.startswith("--") and not word.startswith(_PLACES)
    )


def _cautions(stats: dict[str, Any]) -> tuple[str, ...]:
    argv = [str(one) for one in stats["system"].get("argv") or []]
    for number, word in enumerate(argv):
        if word.startswith("--listen"):
            address = word.partition("=")[2] or (argv[number + 1 : number + 2] or [""])[0]
            if not address or address.startswith("-") or "0.0.0.0" in address:  # noqa: S104
                return (_OPEN,)
    return ()


def _require_all_loaded(
    server: ComfyServer, before: frozenset[str], loras: Sequence[CheckedLora]
) -> None:
    """Read the server's log for tensors of ours that it could not load."""
    keys = frozenset[str]().union(*(lora.keys for lora in loras))
    left: dict[str, None] = {}
    for line in server.log():
        if line in before:
            continue
        for words in (_NOT_LOADED, _NOT_APPLIED):
            _, told, rest = line.partition(words)
            name = rest.split()[0] if rest.split() else ""
            if told and _is_ours(name, keys):
                left[name] = None
    if left:
        raise RendererError(
            f"ComfyUI could not load {len(left)} of the LoRA's tensors, the first is "
            f"{next(iter(left))}",
            hint="it was made for another base, or this ComfyUI does not know its spelling",
        )


def _is_ours(name: str, keys: frozenset[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for key in keys)
