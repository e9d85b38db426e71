"""The images of the manifest that a release was trained on, to be compared with its cells."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lora_pipeline.datasets.image_sources import ImageSource, image_sources, read_image
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.workspace.root import Workspace


class TrainingImages(msgspec.Struct, frozen=True):
    """The images that were trained on; held-out ones are none.

    Attributes:
        manifest_hash: Content hash of their manifest.
        background: Colour that their transparency was laid on.
        items: One for each content.
        sources: Where their bytes may be found.
    """

    manifest_hash: str
    background: str
    items: tuple[Item, ...]
    sources: tuple[ImageSource, ...]

    def read(self, item: Item) -> bytes | str:
        """Return the bytes of an image, or why they are not to be had."""
        return read_image(self.sources, item)


class NoTrainingImages(msgspec.Struct, frozen=True):
    """Cells cannot be compared with what was trained on.

    Attributes:
        reason: Why, as people read it.
    """

    reason: str


def training_images(workspace: Workspace, manifest: Manifest) -> TrainingImages | NoTrainingImages:
    """Return the images of a manifest that was trained on."""
    trained = [item for item in manifest.items if item.split == "train"]
    if not trained:
        return NoTrainingImages(f"manifest {manifest.id} has no image that was trained on")
    undigested = [item.path for item in trained if len(item.sha256) != 64]
    if undigested:
        return NoTrainingImages(
            f"manifest {manifest.id} states no digest for {undigested[0]}{_more(undigested)}"
        )
    return TrainingImages(
        manifest_hash=manifest.content_hash,
        background=manifest.normalization.background,
        items=tuple({item.sha256: item for item in reversed(trained)}.values())[::-1],
        sources=image_sources(workspace),
    )


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""
