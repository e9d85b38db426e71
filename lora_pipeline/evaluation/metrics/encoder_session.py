"""A child of ours that has one encoder loaded; no model ever enters this process."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from lora_pipeline.evaluation.metric_records import Encoder
from lora_pipeline.evaluation.metrics.distances import Floats
from lora_pipeline.foundation.canonical import digest_of, digest_of_bytes
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import EncoderError, ProgramTimedOutError
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.process import Conversation, own_environment, own_program
from lora_pipeline.workspace.root import Workspace

Kind = Literal["clip", "dino", "lpips", "copies"]
SETTING: dict[Kind, str] = {
    "clip": "metrics.clipModel",
    "dino": "metrics.dinoModel",
    "lpips": "metrics.lpipsModel",
    "copies": "metrics.copyModel",
}
WORKER = "lora_pipeline.evaluation.metrics.encoder_worker"
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
_READ = frozenset({".json", ".txt", ".safetensors", ".model"})
_LOG_TAIL = 8192


class PictureFile(msgspec.Struct, frozen=True):
    """A PNG that an encoder looks at; its size is checked before it is decoded."""

    path: Path
    width: int
    height: int

    def to_list(self) -> list[Any]:
        """Return it as a request carries it."""
        return [str(self.path), self.width, self.height]


class EncoderSession:
    """An encoder that is loaded.

    Args:
        child: The running child.
        log: File that takes its standard error.
        timeout_s: Longest time for one answer.
    """

    def __init__(self, child: Conversation, log: Path, timeout_s: float) -> None:
        self._child = child
        self._log = log
        self._timeout_s = timeout_s
        self.encoder = Encoder(name="none", digest="", version="")
        self.size = 0

    def load(self, kind: Kind, path: Path, *, device: str, threads: int) -> None:
        """Load a model and keep what it is.

        Raises:
            EncoderError: When it is none of that kind, or cannot be loaded.
        """
        digest = digest_of_model(path)
        request = {"do": "load", "kind": kind, "path": str(path)}
        reply = self._ask(request | {"device": device, "threads": threads})
        name = f"{reply['name']} {path.name}"
        self.encoder = Encoder(name=name, digest=digest, version=reply["version"])
        self.size = int(reply["size"])

    def images(self, pictures: Sequence[PictureFile], *, mirrored: bool = False) -> Floats:
        """Return one vector for each picture.

        Raises:
            EncoderError: When they cannot be encoded.
        """
        files = [one.to_list() for one in pictures]
        return self._vectors({"do": "images", "files": files, "mirrored": mirrored})

    def texts(self, texts: Sequence[str]) -> Floats:
        """Return one vector for each text.

        Raises:
            EncoderError: When they cannot be encoded.
        """
        return self._vectors({"do": "texts", "texts": list(texts)})

    def distance(self, first: PictureFile, second: PictureFile) -> float:
        """Return how far two pictures of one size are apart.

        Raises:
            EncoderError: When that cannot be told.
        """
        files = [first.to_list(), second.to_list()]
        return float(self._ask({"do": "distance", "files": files})["distance"])

    def _vectors(self, request: dict[str, Any]) -> Floats:
        reply = self._ask(request)
        vectors = np.frombuffer(base64.b64decode(reply["vectors"]), dtype="<f4")
        found: Floats = vectors.reshape(-1, self.size).astype(np.float32)
        if not np.isfinite(found).all():
            raise EncoderError(f"{self.encoder.name} gave values that are no numbers")
        return found

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = self._child.ask(json.dumps(request).encode(), timeout_s=self._timeout_s)
        except ProgramTimedOutError as error:
            raise EncoderError(
                f"the encoder gave no answer within {self._timeout_s:g} s and was stopped",
                hint="raise metrics.timeoutSeconds in config/pipeline.yaml",
            ) from error
        if answer is None:
            raise EncoderError(f"the encoder ended unexpectedly{self._last_words()}")
        reply: dict[str, Any] = json.loads(answer)
        if not reply["ok"]:
            raise EncoderError(reply["error"], hint=f"see {self._log}")
        return reply

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            tail = self._log.read_bytes()[-_LOG_TAIL:].decode("utf-8", "replace")
            lines = [line.strip() for line in tail.splitlines() if line.strip()]
            if lines:
                return f": {lines[-1][:200]}"
        return f" with status {self._child.status()}"


@contextlib.contextmanager
def open_encoder(workspace: Workspace, kind: Kind) -> Iterator[EncoderSession]:
    """Start a child with the encoder that the settings name.

    Raises:
        EncoderError: When none is set, it is not there, or it cannot be loaded.
        ExtraMissingError: When the extra is not installed.
    """
    settings = workspace.settings
    text = settings.text(SETTING[kind])
    if not text:
        raise EncoderError(f"setting {SETTING[kind]} is not set")
    path = (workspace.root / Path(text).expanduser()).resolve()
    if not path.exists():
        raise EncoderError(f"setting {SETTING[kind]}: there is no {path.name} on this machine")
    require_extra("metrics", ("torch", "transformers") if kind in ("clip", "dino") else ("torch",))
    log = workspace.runtime / "logs" / "encoder.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    child = Conversation(own_program(WORKER), environment=own_environment(_OFFLINE), log=log)
    try:
        session = EncoderSession(child, log, settings.number("metrics.timeoutSeconds"))
        session.load(
            kind,
            path,
            device=settings.require_text("metrics.device"),
            threads=settings.integer("metrics.threads"),
        )
        yield session
    finally:
        child.stop()


def digest_of_model(path: Path) -> str:
    """Return the digest of a model: of its file, or of the files of its folder that are read."""
    if path.is_file():
        return f"sha256:{sha256_of_file(path)}"
    files = {
        one.relative_to(path).as_posix(): sha256_of_file(one)
        for one in sorted(path.rglob("*"))
        if one.suffix in _READ and one.is_file()
    }
    return digest_of(files) if files else digest_of_bytes(b"")
