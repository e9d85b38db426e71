"""The child that decodes images: one JSON line in, one JSON line out, bounded in all it takes.

Native decoders read bytes of strangers; here they can use up neither the memory nor the time
of the program that asked. Started by ``images.py`` through ``process.Conversation``; ends at
the end of its standard input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from PIL import UnidentifiedImageError

from lora_pipeline.foundation.images import normalise
from lora_pipeline.foundation.images.sniff import data_behind_end, odd_jpeg

_MIB = 1024 * 1024
# Original, rotated, converted, composed and encoded copies at up to four bytes a pixel.
_BYTES_A_PIXEL = 24


def main() -> int:
    """Answer requests until standard input ends."""
    limits_memory = False
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if not limits_memory:
            _limit_memory(request["maxPixels"])
            limits_memory = True
        _limit_time(request["timeoutSeconds"])
        sys.stdout.write(json.dumps(_answer(request)) + "\n")
        sys.stdout.flush()
    return 0


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"ok": True, **_OPERATIONS[request["op"]](request)}
    except normalise.RefusedError as error:
        return {"ok": False, "reason": str(error)}
    except MemoryError:
        return {"ok": False, "reason": "needs more memory to decode than is allowed"}
    except Exception as error:  # noqa: BLE001 - Pillow raises SyntaxError, ValueError, OSError, …
        return {"ok": False, "reason": _reason(error, request["path"])}


def _inspect(request: dict[str, Any]) -> dict[str, Any]:
    decoded = normalise.decode(request["path"], max_pixels=request["maxPixels"])
    notes, facts = decoded.notes, decoded.facts
    if facts["frames"] == 1 and data_behind_end(request["path"], facts["format"]):
        notes.append("has data behind its end, which the copy keeps")
    return {
        "facts": {
            **facts,
            "alpha_used": decoded.alpha is not None,
            "pixel_sha256": decoded.pixel_sha256(),
            "notes": notes,
        }
    }


def _normalise(request: dict[str, Any]) -> dict[str, Any]:
    decoded = normalise.decode(request["path"], max_pixels=request["maxPixels"])
    image = decoded.on(request["background"])
    normalise.save_png(image, request["target"])
    if request["mask"]:
        normalise.save_mask(decoded, request["mask"])
    return {
        "image": {
            "width": image.width,
            "height": image.height,
            "alpha_used": decoded.alpha is not None,
            "pixel_sha256": decoded.pixel_sha256(),
            "notes": decoded.notes,
        }
    }


def _thumbnail(request: dict[str, Any]) -> dict[str, Any]:
    decoded = normalise.decode(request["path"], max_pixels=request["maxPixels"])
    normalise.save_thumbnail(decoded.on(request["background"]), request["target"], request["size"])
    return {}


def _measure(request: dict[str, Any]) -> dict[str, Any]:
    # One thread a child: OpenBLAS would reserve memory for as many as the machine has cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lora_pipeline.foundation.images.measure import measure  # it imports numpy

    return {"measures": measure(request["path"], max_pixels=request["maxPixels"])}


def _colours(request: dict[str, Any]) -> dict[str, Any]:
    measures = _measure(request)  # before numpy is imported here
    from lora_pipeline.foundation.images.colours import colours

    limits = {"max_pixels": request["maxPixels"], "background": request["background"]}
    return measures | {"colours": colours(request["path"], **limits)}


_OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "inspect": _inspect,
    "normalise": _normalise,
    "thumbnail": _thumbnail,
    "measure": _measure,
    "colours": _colours,
}


def _reason(error: Exception, path: str) -> str:
    with contextlib.suppress(OSError):
        if odd := odd_jpeg(path):
            return odd
    if isinstance(error, UnidentifiedImageError):
        return "is damaged: its first bytes are those of an image, and what follows is none"
    words = " ".join(str(error).split())[:200] or type(error).__name__
    if "truncated" in words.lower() or "not processed" in words:
        return f"is truncated ({words})"
    if "decompressed data too large" in words.lower() or "in text chunks" in words:
        return f"carries text or a profile that unpacks to too much ({words})"
    return f"is damaged and cannot be decoded ({words})"


def _limit_memory(max_pixels: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows; systems without it
        import resource

        with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123 - a file of /proc
            present = int(stream.read().split()[0]) * resource.getpagesize()
        ceiling = present + 192 * _MIB + max_pixels * _BYTES_A_PIXEL
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, ceiling))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: float) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        # The soft limit moves with each request: a worker that lost its parent still ends.
        ceiling = int(time.process_time() + seconds) + 2
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (ceiling, hard))


if __name__ == "__main__":
    sys.exit(main())
