"""The child that looks at pictures: it holds one model and answers what it sees."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_pipeline.foundation.answering import serve

if TYPE_CHECKING:
    from lora_pipeline.evaluation.metrics.encoder_models import Model


def main() -> int:
    """Answer requests until there are none."""
    return serve(_Worker().answer)


class _Worker:
    """Holds the loaded model between requests."""

    def __init__(self) -> None:
        self._loaded: Model | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one request."""
        steps: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "load": self._load,
            "images": self._images,
            "texts": self._texts,
            "distance": self._distance,
        }
        return steps[request["do"]](request)

    @property
    def _model(self) -> Model:
        if self._loaded is None:
            raise RuntimeError("nothing is loaded yet")
        return self._loaded

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        from lora_pipeline.evaluation.metrics.encoder_models import load, versions

        device, threads = request["device"], request["threads"]
        self._loaded = load(request["kind"], Path(request["path"]), device, threads)
        return {
            "name": self._loaded.name,
            "size": self._loaded.size,
            "version": versions(self._loaded.device),
        }

    def _images(self, request: dict[str, Any]) -> dict[str, Any]:
        files = [(Path(path), width, height) for path, width, height in request["files"]]
        return {"vectors": _text(self._model.images(files, mirrored=request["mirrored"]))}

    def _texts(self, request: dict[str, Any]) -> dict[str, Any]:
        return {"vectors": _text(self._model.texts(request["texts"]))}

    def _distance(self, request: dict[str, Any]) -> dict[str, Any]:
        first, second = ((Path(path), wide, high) for path, wide, high in request["files"])
        return {"distance": self._model.distance(first, second)}


def _text(vectors: Any) -> str:
    return base64.b64encode(vectors.astype("<f4").tobytes()).decode("ascii")


if __name__ == "__main__":
    sys.exit(main())
