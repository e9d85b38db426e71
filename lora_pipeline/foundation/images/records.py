"""What is known of an image: its format, how it looks in numbers, and the one form it is given."""

from __future__ import annotations

import msgspec


class ImageFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is.

    Attributes:
        width: Displayed width in pixels, turned as EXIF says.
        height: Displayed height likewise.
        format: ``PNG``, ``JPEG`` or ``WEBP``, by its bytes.
        mode: Pillow's mode of the stored pixels, such as ``RGBA``, ``L`` or ``I;16``.
        frames: Pictures in the file.
        has_alpha: Whether it can be transparent.
        alpha_used: Whether a pixel is.
        pixel_sha256: Digest of what is seen; equal for equal pixels in other bytes.
        icc: Name of its colour profile, ``damaged``, or empty when it has none.
        exif_orientation: 1 to 8; 1 is upright.
        has_location: Whether its EXIF data says where it was taken.
        has_text: Whether it carries text (comments, prompts, workflows).
        notes: What a careful person would want to know; each completes "<name> …".
    """

    width: int
    height: int
    format: str
    mode: str
    frames: int
    has_alpha: bool
    alpha_used: bool
    pixel_sha256: str
    icc: str
    exif_orientation: int
    has_location: bool
    has_text: bool
    notes: tuple[str, ...] = ()


class ImageMeasures(msgspec.Struct, frozen=True, kw_only=True):
    """What an image looks like in numbers; ``docs/checks.md`` says how each is taken.

    Attributes:
        sha256: Digest of the bytes that were measured.
        width: Displayed width in pixels.
        height: Displayed height.
        pixel_sha256: As ``ImageFacts`` has it.
        location: Whether its EXIF data says where it was taken.
        odd_colours: Whether its colour profile is damaged, missing or does not fit.
        alpha_used: Whether a pixel is transparent.
        jpeg_quality: Quality that a JPEG was saved with, 1 to 100; 0 for other formats.
        visible: Share of the pixels that are seen, 0 to 1.
        darkest: Lowest red, green and blue of what is seen.
        lightest: Highest ones.
        grey: Whether all that is seen is grey.
        border: Pixels of a border of one colour: left, top, right, bottom.
        edge_width: Pixels that the sharpest edges take; 0 where there is no edge.
        blockiness: How much the grid of JPEG shows; about 1 when it does not.
        enlarged: Whole number by which it was enlarged; 1 when that does not show.
        look: 16 by 16 cells of premultiplied RGBA, base64.
        corners: Grey cells of the four corners, base64.
    """

    sha256: str
    width: int
    height: int
    pixel_sha256: str
    location: bool
    odd_colours: bool
    alpha_used: bool
    jpeg_quality: int
    visible: float
    darkest: tuple[int, int, int]
    lightest: tuple[int, int, int]
    grey: bool
    border: tuple[int, int, int, int]
    edge_width: float
    blockiness: float
    enlarged: int
    look: str
    corners: str


class ImageColours(msgspec.Struct, frozen=True, kw_only=True):
    """Which tones and colours an image has: see ``colours``.

    Attributes:
        sha256: Digest of the bytes that were measured.
        edge_width: As ``ImageMeasures`` has it.
        look: As ``ImageMeasures`` has it.
        tones: Shares of the steps of lightness, base64.
        palette: Shares of the steps of hue and chroma in four directions, base64.
    """

    sha256: str
    edge_width: float
    look: str
    tones: str
    palette: str


class NormalisedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that was brought to the one form.

    Attributes:
        width: Pixels.
        height: Pixels.
        alpha_used: Whether transparency was laid on the background.
        pixel_sha256: As ``ImageFacts`` has it for the source.
        notes: As ``ImageFacts`` has them.
    """

    width: int
    height: int
    alpha_used: bool
    pixel_sha256: str
    notes: tuple[str, ...] = ()
