"""Which images a project has already, and in which assets, by their digests."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import Asset
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import JsonInvalidError
from lora_pipeline.workspace.layout import FOLDERS, Scope
from lora_pipeline.workspace.root import Workspace


class _Image(msgspec.Struct, frozen=True, rename="camel"):
    sha256: str = ""
    pixel_sha256: str = ""


class _Variant(msgspec.Struct, frozen=True):
    original: _Image = _Image()
    alpha: _Image = _Image()


class _Version(msgspec.Struct, frozen=True):
    variants: tuple[_Variant, ...] = ()


class _Asset(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    spec_id: str = ""
    versions: tuple[_Version, ...] = ()


_DECODER = msgspec.json.Decoder(_Asset)


class ImageIndex(msgspec.Struct, frozen=True):
    """Which images the assets of a scope hold, and which specs they are results for.

    Attributes:
        assets: Asset id by the SHA-256 of an image's bytes.
        pixels: Asset id by the digest of what is seen, where that was recorded.
        specs: Ids of specs that an asset is a result for.
    """

    assets: dict[str, str] = msgspec.field(default_factory=dict)
    pixels: dict[str, str] = msgspec.field(default_factory=dict)
    specs: set[str] = msgspec.field(default_factory=set)


def read_image_index(workspace: Workspace, scope: Scope) -> ImageIndex:
    """Return which images a scope has.

    Only the digests are looked at, so that ten thousand assets take a moment; whether the
    records are valid is asked by whoever uses them.

    Raises:
        JsonInvalidError: When a record is not JSON at all.
    """
    index = ImageIndex()
    for asset in _assets(workspace, scope):
        index.specs.add(asset.spec_id)
        for image in _images(asset):
            if image.sha256:
                index.assets.setdefault(image.sha256, asset.id)
            if image.pixel_sha256:
                index.pixels.setdefault(image.pixel_sha256, asset.id)
    return index


def assets_with_images(
    workspace: Workspace, scope: Scope, digests: Container[str]
) -> dict[str, str]:
    """Return the assets of a scope that hold one of some images: asset id to its digest.

    What is withdrawn once must not come back as its twin.

    Args:
        workspace: The workspace.
        scope: Whose assets are looked at.
        digests: Digests of the bytes, or of the pixels where an asset has that one on record.

    Raises:
        JsonInvalidError: When a record is not JSON at all.
    """
    found: dict[str, str] = {}
    for asset in _assets(workspace, scope):
        for image in _images(asset):
            for digest in (image.sha256, image.pixel_sha256):
                if digest in digests:
                    found.setdefault(asset.id, digest)
    return found


def images_without_asset(workspace: Workspace, scope: Scope) -> list[Path]:
    """Return the folders of copied images that no asset names: an import was interrupted."""
    home = workspace.data_root / scope.folder
    images, assets = home / "files" / "images", home / FOLDERS[Asset.KIND]
    folders = sorted(images.iterdir()) if images.is_dir() else []
    return [
        path for path in folders if path.is_dir() and not (assets / f"{path.name}.json").is_file()
    ]


def _assets(workspace: Workspace, scope: Scope) -> Iterator[_Asset]:
    folder = workspace.data_root / scope.folder / FOLDERS[Asset.KIND]
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            yield _DECODER.decode(strict_json.read_bytes(path))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise JsonInvalidError(
                f"{workspace.relative(path)} is not a valid asset: {error}", hint="lora validate"
            ) from error


def _images(asset: _Asset) -> Iterator[_Image]:
    for version in asset.versions:
        for variant in version.variants:
            yield variant.original
            yield variant.alpha
