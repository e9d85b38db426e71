"""Other assets that hold the same image: what is withdrawn once must not come back as its twin."""

from __future__ import annotations

from collections.abc import Container, Iterator

import msgspec

from lora_pipeline.catalog.records import Asset
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordInvalidError
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


class _Asset(msgspec.Struct, frozen=True):
    id: str
    versions: tuple[_Version, ...] = ()


_DECODER = msgspec.json.Decoder(_Asset)


def assets_with_images(
    workspace: Workspace, scope: Scope, digests: Container[str]
) -> dict[str, str]:
    """Return the assets of a scope that hold one of some images: asset id to its digest.

    The digests are of the bytes, or of the pixels where an asset has that one on record. Only
    they are looked at, so that ten thousand assets take a moment.

    Raises:
        RecordInvalidError: When a record is not JSON at all.
    """
    found: dict[str, str] = {}
    folder = workspace.data_root / scope.folder / FOLDERS[Asset.KIND]
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        try:
            asset = _DECODER.decode(strict_json.read_bytes(path))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RecordInvalidError(
                f"{workspace.relative(path)} is not an asset", hint="lora validate"
            ) from error
        for digest in _digests(asset):
            if digest in digests:
                found.setdefault(asset.id, digest)
    return found


def _digests(asset: _Asset) -> Iterator[str]:
    for version in asset.versions:
        for variant in version.variants:
            for image in (variant.original, variant.alpha):
                yield image.sha256
                yield image.pixel_sha256
