"""Decode one image and bring it to one form; runs in the worker process only.

The form: upright as EXIF says, sRGB, 8 bit, three colour channels, and the transparency as a
plane of its own. Imports Pillow, the standard library and the sniffing of headers, nothing else.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass, field
from typing import IO, Any

from PIL import Image, ImageCms, ImageFile, ImageOps

from lora_pipeline.foundation.images.sniff import too_many_pixels

FORMATS = ("PNG", "JPEG", "WEBP")
_ORIENTATION, _GPS = 0x0112, 0x8825
_ICON_SIDE = 128
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION

Image.MAX_IMAGE_PIXELS = None  # our own ceiling, checked below, knows the settings
ImageFile.LOAD_TRUNCATED_IMAGES = False


class RefusedError(Exception):
    """The image is one that is not read; the text completes "<name> …"."""


@dataclass
class Decoded:
    """An image in the one form, and what it was before.

    Attributes:
        colour: RGB, 8 bit, sRGB, upright.
        alpha: Plane of transparency, or None where every pixel is opaque.
        facts: What the file is.
        notes: What a careful person would want to know.
    """

    colour: Image.Image
    alpha: Image.Image | None
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def on(self, background: str) -> Image.Image:
        """Return the colours laid on a background, ``#RRGGBB``."""
        if self.alpha is None:
            return self.colour
        canvas = Image.new("RGB", self.colour.size, background)
        canvas.paste(self.colour, mask=self.alpha)
        return canvas

    def pixel_sha256(self) -> str:
        """Return the digest of what is seen: size, colours on white, and transparency."""
        digest = hashlib.sha256(b"%d %d\n" % self.colour.size)
        digest.update(self.on("#FFFFFF").tobytes())
        if self.alpha is not None:
            digest.update(self.alpha.tobytes())
        return digest.hexdigest()


def decode(source: str | IO[bytes], *, max_pixels: int) -> Decoded:
    """Return an image in the one form, from its file or from the bytes of it.

    Raises:
        RefusedError: When it is animated, too large or damaged.
        Exception: Whatever Pillow raises on hostile bytes.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a decompression bomb is only a warning to Pillow
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=ResourceWarning)
        with Image.open(source, formats=FORMATS) as checked:
            _require_size(checked.size, max_pixels)
            checked.verify()  # finds what load() accepts: bad checksums, a missing end
        with Image.open(source, formats=FORMATS) as image:
            return _normalised(image)


def _normalised(image: Image.Image) -> Decoded:
    stored_format = "JPEG" if image.format == "MPO" else str(image.format)
    frames, notes = int(getattr(image, "n_frames", 1)), list[str]()
    if frames > 1 and stored_format == "JPEG":
        notes.append(f"holds {frames} pictures; the first one is used")
    elif frames > 1:
        raise RefusedError(f"is animated ({frames} frames)")
    image.load()
    orientation, has_location = _exif(image, notes)
    icc = image.info.get("icc_profile") or b""
    facts = {
        "format": stored_format,
        "mode": image.mode,
        "frames": frames,
        "has_alpha": image.has_transparency_data,
        "exif_orientation": orientation,
        "has_location": has_location,
        "has_text": _has_text(image),
        "icc": "",
    }
    upright = ImageOps.exif_transpose(image) if orientation != 1 else image
    colour, alpha = _split(upright, notes)
    if icc:
        facts["icc"], colour = _to_srgb(colour, icc, notes)
    elif colour.mode == "CMYK":
        notes.append("is CMYK without a colour profile; its colours are a guess")
    colour = colour.convert("RGB") if colour.mode != "RGB" else colour
    return Decoded(colour, alpha, facts | {"width": colour.width, "height": colour.height}, notes)


def _require_size(size: tuple[int, int], max_pixels: int) -> None:
    reason = too_many_pixels(*size, max_pixels)
    if reason:
        raise RefusedError(reason)


def _exif(image: Image.Image, notes: list[str]) -> tuple[int, bool]:
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
        location = bool(exif.get_ifd(_GPS))
    except Exception:  # noqa: BLE001 - EXIF is a hint; broken EXIF is no reason to refuse art
        notes.append("has damaged EXIF data, which is ignored")
        return 1, False
    return (orientation if orientation in range(1, 9) else 1), location


def _has_text(image: Image.Image) -> bool:
    # PNG text chunks hold whole ComfyUI workflows; comments and XMP hold names and software.
    return bool(getattr(image, "text", None)) or bool({"comment", "xmp"} & image.info.keys())


def _split(image: Image.Image, notes: list[str]) -> tuple[Image.Image, Image.Image | None]:
    if image.mode in _SIXTEEN_BIT or image.mode in ("I", "F"):
        if image.has_transparency_data:
            notes.append("has a transparent grey of 16 bits, which is ignored")
        return _eight_bit(image), None
    if not image.has_transparency_data:
        if image.mode in ("P", "1"):
            return image.convert("RGB"), None
        return image, None
    grey = image.mode in ("L", "LA")
    full = image.convert("LA" if grey else "RGBA")
    alpha = full.getchannel("A")
    colour = full.convert("L" if grey else "RGB")
    lowest, _ = alpha.getextrema()
    return colour, None if lowest == 255 else alpha


def _eight_bit(image: Image.Image) -> Image.Image:
    # convert("RGB") would clip 16-bit greys: nearly every picture would turn white.
    if image.mode == "F":
        raise RefusedError("has fractional values, which are not read")
    wide = image.convert("I") if image.mode != "I" else image
    return wide.point(lambda value: value * (1 / 257) + 0.5).convert("L")


def _to_srgb(colour: Image.Image, icc: bytes, notes: list[str]) -> tuple[str, Image.Image]:
    try:
        profile = ImageCms.getOpenProfile(io.BytesIO(icc))
        name = (ImageCms.getProfileDescription(profile) or "").strip()
        space = profile.profile.xcolor_space.strip()
        if space == "RGB" and colour.mode == "L":
            colour = colour.convert("RGB")
        if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != colour.mode:
            notes.append(f"has a colour profile for {space}, which does not fit and is ignored")
            return name, colour
        converted = ImageCms.profileToProfile(
            colour,
            profile,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=_FLAGS,
        )
    except Exception:  # noqa: BLE001 - the profile is data of a stranger; the pixels are there
        notes.append("has a damaged colour profile, which is ignored")
        return "damaged", colour
    return name or "unnamed", converted or colour


def save_png(image: Image.Image, target: str) -> None:
    """Write an RGB image as a PNG that holds nothing but pixels."""
    clean = Image.frombytes("RGB", image.size, image.tobytes())
    clean.save(target, format="PNG", compress_level=3)


def save_mask(decoded: Decoded, target: str) -> None:
    """Write how opaque each pixel is as a grey PNG: white is opaque, black is not seen at all."""
    alpha = decoded.alpha or Image.new("L", decoded.colour.size, 255)
    clean = Image.frombytes("L", alpha.size, alpha.tobytes())
    clean.save(target, format="PNG", compress_level=3)


def save_thumbnail(image: Image.Image, target: str, size: int) -> None:
    """Write a WebP whose longer side has at most ``size`` pixels, without metadata.

    Icons keep every pixel: they are looked at enlarged.
    """
    small = image.copy()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    clean = Image.frombytes("RGB", small.size, small.tobytes())
    icon = max(image.size) <= _ICON_SIDE
    clean.save(target, format="WEBP", lossless=icon, quality=82, method=4)
