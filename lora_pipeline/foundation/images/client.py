"""Images: what they are, and one form for all of them. Decoding happens in a child process.

The child is one long-lived worker, bounded in memory and time. One that hangs, dies or runs
out of memory is replaced, and the image that did it is refused.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    FileMissingError,
    ImageRefusedError,
    ProgramTimedOutError,
)
from lora_pipeline.foundation.images.records import (
    ImageColours,
    ImageFacts,
    ImageMeasures,
    NormalisedImage,
)
from lora_pipeline.foundation.images.sniff import (
    EXTENSION_OF,
    HEAD_BYTES,
    Sniffed,
    format_by_name,
    is_lfs_pointer,
    sniff,
    too_many_pixels,
)
from lora_pipeline.foundation.process import Conversation, own_environment, own_program

__all__ = [
    "ImageColours", "ImageFacts", "ImageLimits", "ImageMeasures", "ImageWorker", "NormalisedImage",
    "require_image_file",
]  # fmt: skip
_WORKER = "lora_pipeline.foundation.images.worker"


class ImageLimits(msgspec.Struct, frozen=True):
    """How much one image may cost.

    Attributes:
        max_pixels: Largest width times height.
        max_bytes: Largest file.
        timeout_s: Longest time to decode it.
    """

    max_pixels: int = 64_000_000
    max_bytes: int = 256 * 1024 * 1024
    timeout_s: float = 30.0


class ImageWorker:
    """A child that decodes images, one at a time; use it as a context manager.

    It is started with the first image that needs it. For many images use one a thread, as
    ``engine.images.map_images`` does.

    Args:
        limits: How much one image may cost.
        program: The child's command line, when it is another one than ours.
    """

    def __init__(self, limits: ImageLimits | None = None, *, program: Sequence[str] = ()) -> None:
        self.limits = limits or ImageLimits()
        self._program = tuple(program) or tuple(own_program(_WORKER))
        self._child: Conversation | None = None

    def __enter__(self) -> ImageWorker:
        """Return the worker."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the child."""
        self.close()

    def close(self) -> None:
        """Stop the child; the next image would start another one."""
        if self._child is not None:
            self._child.stop()
            self._child = None

    def inspect(
        self, path: Path, *, name: str | None = None, any_extension: bool = False
    ) -> ImageFacts:
        """Return what an image is; every byte of it was decoded.

        Args:
            path: The file.
            name: What messages call it; its file name when left out.
            any_extension: Whether its name may promise another format than it has.

        Raises:
            FileMissingError: When there is no such file.
            ImageRefusedError: When it cannot be read safely; the message says why.
        """
        request = {"op": "inspect"}
        reply = self._ask(path, name, request, any_extension=any_extension)
        return msgspec.convert(reply["facts"], ImageFacts)

    def measure(self, path: Path, *, name: str | None = None) -> ImageMeasures:
        """Return what an image looks like in numbers, of bytes that were read once.

        Raises:
            FileMissingError: When there is no such file.
            ImageRefusedError: When it cannot be read safely; the message says why.
        """
        reply = self._ask(path, name, {"op": "measure"})
        return msgspec.convert(reply["measures"], ImageMeasures)

    def colours(
        self, path: Path, *, background: str = "#FFFFFF", name: str | None = None
    ) -> ImageColours:
        """Return which tones and colours an image has, with its look and how sharp it is.

        Raises:
            FileMissingError: When there is no such file.
            ImageRefusedError: When it cannot be read safely; the message says why.
        """
        reply = self._ask(path, name, {"op": "colours", "background": background})
        measures = reply["measures"]
        kept = {field: measures[field] for field in ("sha256", "edge_width", "look")}
        return msgspec.convert(kept | reply["colours"], ImageColours)

    def normalise(
        self,
        source: Path,
        target: Path,
        *,
        background: str = "#FFFFFF",
        name: str | None = None,
        mask: Path | None = None,
    ) -> NormalisedImage:
        """Write an image in the one form: upright, sRGB, 8 bit, opaque, a PNG of pixels only.

        The same source and background give the same bytes. ``target`` is whole or not there;
        it is not forced to disk, because it can be made again.

        Args:
            source: The image.
            target: Where it goes.
            background: Colour that transparency is laid on.
            name: What messages call it; its file name when left out.
            mask: Where its transparency goes, when that is wanted: a grey PNG of the same size,
                white where the image is opaque. It is whole when this returns, and only then.

        Raises:
            FileMissingError: When there is no such file.
            ImageRefusedError: When it cannot be read safely; the message says why.
        """
        request = {
            "op": "normalise",
            "background": background,
            "mask": "" if mask is None else str(mask),
        }
        reply = self._write(source, target, name, request)
        return msgspec.convert(reply["image"], NormalisedImage)

    def thumbnail(
        self,
        source: Path,
        target: Path,
        *,
        size: int,
        background: str = "#FFFFFF",
        name: str | None = None,
    ) -> None:
        """Write a WebP whose longer side has at most ``size`` pixels, without metadata.

        Small pictures (up to 128 pixels) lose nothing.

        Raises:
            FileMissingError: When there is no such file.
            ImageRefusedError: When it cannot be read safely; the message says why.
        """
        request = {"op": "thumbnail", "background": background, "size": size}
        self._write(source, target, name, request)

    def _write(
        self, source: Path, target: Path, name: str | None, request: dict[str, Any]
    ) -> dict[str, Any]:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=files.TEMPORARY_PREFIX, dir=target.parent)
        os.close(descriptor)
        try:
            reply = self._ask(source, name, request | {"target": temporary})
            files.install(Path(temporary), target)
        finally:
            Path(temporary).unlink(missing_ok=True)
        return reply

    def _ask(
        self,
        path: Path,
        name: str | None,
        request: dict[str, Any],
        *,
        any_extension: bool = False,
    ) -> dict[str, Any]:
        shown = name or path.name
        _require_readable(path, shown, self.limits, any_extension=any_extension)
        line = json.dumps(
            request
            | {
                "path": str(path),
                "maxPixels": self.limits.max_pixels,
                "timeoutSeconds": self.limits.timeout_s,
            }
        ).encode("ascii")
        reply: dict[str, Any] = json.loads(self._reply(line, shown))
        if not reply["ok"]:
            raise _refused(shown, reply["reason"])
        return reply

    def _reply(self, line: bytes, shown: str) -> bytes:
        # A child may have died for a reason of its own; an image that kills a second, fresh
        # one is what killed it.
        for _ in range(2):
            if self._child is None:
                self._child = Conversation(self._program, environment=own_environment())
            try:
                reply = self._child.ask(line, timeout_s=self.limits.timeout_s)
            except ProgramTimedOutError as error:
                self._child = None
                reason = f"was not decoded within {self.limits.timeout_s:g} s"
                raise _refused(shown, reason) from error
            if reply is not None:
                return reply
            self.close()
        raise _refused(shown, "made the decoder crash")


def require_image_file(
    path: Path, *, name: str | None = None, limits: ImageLimits, any_extension: bool = False
) -> Sniffed:
    """Check what needs no decoder: size, first bytes, extension, stated pixels.

    Raises:
        FileMissingError: When there is no such file.
        ImageRefusedError: When it is no image that is read; the message says what it is.
    """
    return _require_readable(path, name or path.name, limits, any_extension=any_extension)


def _require_readable(
    path: Path, shown: str, limits: ImageLimits, *, any_extension: bool
) -> Sniffed:
    try:
        # A pipe that is called .png would hold us for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _refused(shown, "is no file")
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            head = stream.read(HEAD_BYTES)
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise _refused(shown, f"cannot be read: {error.strerror}") from error
    if size == 0:
        raise _refused(shown, "is empty (0 bytes)")
    if is_lfs_pointer(head):
        raise _refused(
            shown, "is a Git LFS pointer; the image itself is not here", hint="git lfs pull"
        )
    if size > limits.max_bytes:
        raise _refused(
            shown,
            f"has {size:,} bytes, at most {limits.max_bytes:,} are read",
            hint="raise images.maxBytes in config/pipeline.yaml",
        )
    found = sniff(head)
    if not found.format:
        raise _refused(
            shown, f"is {found.what}; PNG, JPEG and WebP are read", hint="export it as PNG"
        )
    if not any_extension:
        _require_extension(found, shown, path)
    reason = too_many_pixels(found.width, found.height, limits.max_pixels)
    if reason:
        raise _refused(shown, reason)
    return found


def _require_extension(found: Sniffed, shown: str, path: Path) -> None:
    promised = format_by_name(path.name)
    if promised and promised != found.format:
        right = path.with_suffix(EXTENSION_OF[found.format]).name
        raise _refused(
            shown, f"is {found.what}, its name says {promised}", hint=f"rename it to {right}"
        )


def _refused(shown: str, reason: str, *, hint: str | None = None) -> ImageRefusedError:
    if hint is None:
        hint = _hint(reason)
    return ImageRefusedError(f"{shown} {reason}", hint=hint)


def _hint(reason: str) -> str | None:
    if "pixels" in reason:
        return "scale it down, or raise images.maxPixels in config/pipeline.yaml"
    if reason.startswith("is animated"):
        return "export the one frame that is meant"
    if reason.startswith("was not decoded within"):
        return "raise images.timeoutSeconds in config/pipeline.yaml if the image is right"
    if reason.startswith(("is truncated", "is damaged", "made the decoder")):
        return "export or copy it again"
    return None
