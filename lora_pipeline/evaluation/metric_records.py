"""What measuring a grid came to, beside the effect; each value says what it rests on.

A value stands beside the base's at equal prompt and seed, because alone it says little: other
prompts and other encoders have other levels. What could not be computed is absent and named,
with the reason, in ``EvaluationMetrics.not_proven``.
"""

from __future__ import annotations

from lora_pipeline.foundation.record import Part


class Encoder(Part, frozen=True, kw_only=True):
    """Which model looked; values compare only where all three are the same.

    Attributes:
        name: Its kind and the name of its folder or file.
        digest: Digest of its files.
        version: The libraries that ran it, with their versions, and the device.
    """

    name: str
    digest: str
    version: str


class Compared(Part, frozen=True, kw_only=True):
    """A value of the LoRA's cells beside that of their base cells.

    Means over the prompts that call the LoRA, at the highest strength. The interval is that of
    the difference: 95 %, by a bootstrap that draws prompts.

    Attributes:
        lora: Mean over the LoRA's cells.
        base: Mean over the base cells of the same prompts and seeds.
        difference: Mean of the differences, LoRA less base.
        low: Lower end of its interval; absent with one prompt.
        high: Upper end.
        pairs: How many differences there are.
        prompts: From how many prompts they come.
    """

    lora: float
    base: float
    difference: float
    low: float | None = None
    high: float | None = None
    pairs: int
    prompts: int


class Encoded(Compared, frozen=True, kw_only=True):
    """A value that a model gave.

    Attributes:
        encoder: Which one.
    """

    encoder: Encoder


class NearestImage(Part, frozen=True, kw_only=True):
    """The cell that is most like an image of the manifest, and that image.

    Attributes:
        similarity: How alike they are: 1 is the same picture.
        cell_id: The cell.
        asset_id: The asset that the image is a variant of.
        image_sha256: The image.
        mirrored: Whether the image is alike when it is mirrored.
        base: The highest similarity that a base cell has, which never saw the images.
        cells: How many cells of the LoRA were compared.
        images: With how many images each.
    """

    similarity: float
    cell_id: str
    asset_id: str
    image_sha256: str = ""
    mirrored: bool = False
    base: float | None = None
    cells: int
    images: int


class LookAlike(NearestImage, frozen=True, kw_only=True):
    """The nearest image by a perceptual hash: the picture in 16 by 16 cells.

    Attributes:
        same: How many cells show the same picture as an image: recompressed, resized, cropped.
    """

    same: int = 0


class CopyCheck(NearestImage, frozen=True, kw_only=True):
    """The nearest image by a copy descriptor.

    Attributes:
        worth_a_look: How many cells have a similarity of 0.5 and more.
        encoder: Which model.
    """

    worth_a_look: int = 0
    encoder: Encoder
