"""Which images a project has already, by the digest of their bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import Asset
from lora_pipeline.foundation.errors import JsonInvalidError
from lora_pipeline.workspace.layout import FOLDERS, Scope
from lora_pipeline.workspace.root import Workspace


class _Image(msgspec.Struct, frozen=True):
    sha256: str = ""


class _Variant(msgspec.Struct, frozen=True):
    original: _Image = _Image()
    alpha: _Image = _Image()


class _Version(msgspec.Struct, frozen=True):
    variants: tuple[_Variant, ...] = ()


class _Asset(msgspec.Struct, frozen=True):
    id: str
    versions: tuple[_Version, ...] = ()


_DECODER = msgspec.json.Decoder(_Asset)


def known_images(workspace: Workspace, scope: Scope) -> dict[str, str]:
    """Return the images of a scope: SHA-256 of the bytes to the id of the asset.

    Only the digests are looked at, so that ten thousand assets take a moment; whether the
    records are valid is asked by whoever uses them.

    Raises:
        JsonInvalidError: When a record is not JSON at all.
    """
    known: dict[str, str] = {}
    folder = workspace.data_root / scope.folder / FOLDERS[Asset.KIND]
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        asset = _read(workspace, path)
        for version in asset.versions:
            for variant in version.variants:
                for image in (variant.original, variant.alpha):
                    if image.sha256:
                        known.setdefault(image.sha256, asset.id)
    return known


def images_without_asset(workspace: Workspace, scope: Scope) -> list[Path]:
    """Return the folders of copied images that no asset names: an import was interrupted."""
    home = workspace.data_root / scope.folder
    images, assets = home / "files" / "images", home / FOLDERS[Asset.KIND]
    folders = sorted(images.iterdir()) if images.is_dir() else []
    return [
        path for path in folders if path.is_dir() and not (assets / f"{path.name}.json").is_file()
    ]


def _read(workspace: Workspace, path: Path) -> _Asset:
    try:
        return _DECODER.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise JsonInvalidError(
            f"{workspace.relative(path)} is not a valid asset: {error}", hint="lora validate"
        ) from error
