"""The child of the renderer ``diffusers``: it holds the models and draws what it is asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lora_pipeline.foundation.answering import serve

if TYPE_CHECKING:
    from lora_pipeline.evaluation.renderers.diffusers.drawing import Drawing


def main() -> int:
    """Answer requests until there are none."""
    return serve(_Worker().answer)


class _Worker:
    """Holds the loaded models between requests."""

    def __init__(self) -> None:
        self._drawing: Drawing | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the reply to one request."""
        steps: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "load": self._load,
            "render": self._render,
        }
        return steps[request["do"]](request)

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        from lora_pipeline.evaluation.renderers.diffusers.drawing import Drawing

        self._drawing = Drawing.load(
            checkpoint=Path(request["checkpoint"]),
            config=Path(request["config"]) if request["config"] else None,
            architecture=request["architecture"],
            weights=[Path(one) for one in request["weights"]],
            device=request["device"],
            threads=request["threads"],
        )
        return {"identity": self._drawing.identity}

    def _render(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._drawing is None:
            raise RuntimeError("nothing is loaded yet")
        self._drawing.draw(request["cell"], request["strengths"], Path(request["target"]))
        return {}


if __name__ == "__main__":
    sys.exit(main())
