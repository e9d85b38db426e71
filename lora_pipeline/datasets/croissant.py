"""A manifest in Croissant 1.1, the format in which machine-learning data sets are described.

``croissant.json`` describes, ``items.jsonl`` has one line for each image, and the images stand
below ``images/`` where they are handed on. Pure: the same manifest, the same bytes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Any

import msgspec

from lora_pipeline.catalog.rights.license import license_url
from lora_pipeline.datasets.export.layouts import Described, ExportPlan, PlacedImage
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.canonical import canonical_bytes

LAYOUT = "croissant"
DESCRIPTION, ITEMS = "croissant.json", "items.jsonl"
_FILES = "image-files"
_FORMATS = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}
_FORM = (
    "upright, sRGB, 8 bit and three channels, with transparency laid on {}, without metadata "
    "(normalisation {})"
)
_CONFORMS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
# The context of the specification's appendix, as mlcroissant reads it.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "conformsTo": "dct:conformsTo",
    **{
        term: f"cr:{term}"
        for term in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract",
            "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "isArray",
            "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet",
            "references", "regex", "repeated", "replace", "samplingRate", "separator", "source",
            "subField", "transform",
        )
    },
}  # fmt: skip
# Column of items.jsonl: its type and what it says.
_COLUMNS: dict[str, tuple[str, str]] = {
    "sha256": ("sc:Text", "SHA-256 of the image file; also the key of the record."),
    "caption": ("sc:Text", "The caption that training is given with the image."),
    "tags": ("sc:Text", "Tags of the image and of its spec, as group:value."),
    "license": ("sc:Text", "Licence of the image; an SPDX id where there is one."),
    "split": ("sc:Text", "train, or held_out: never trained on."),
    "repeats": ("sc:Integer", "How often one pass of training shows the image."),
    "width": ("sc:Integer", "Displayed width in pixels."),
    "height": ("sc:Integer", "Displayed height in pixels."),
    "size": ("sc:Integer", "Length of the image file in bytes."),
    "assetId": ("sc:Text", "The asset in the repository that the image is of."),
    "author": ("sc:Text", "Who made the image; empty where nobody recorded it."),
    "origin": ("sc:Text", "What the image was taken from; empty where nobody recorded it."),
    "trainingRight": (
        "sc:Text",
        "allowed; unknown: nobody stated it; denied or withdrawn: it must no longer be used.",
    ),
    "consentRecorded": ("sc:Boolean", "Whether it is recorded who consented."),
}


class CroissantOptions(msgspec.Struct, frozen=True):
    """What a person asked for.

    Attributes:
        images: Whether the images are handed on as well.
        url: Page of the data set, which Croissant asks for.
        publisher: Who hands it on.
        withdrawn: Assets that must no longer be used.
    """

    images: bool = False
    url: str = ""
    publisher: str = ""
    withdrawn: frozenset[str] = frozenset()


def plan_croissant(
    manifest: Manifest, described: Sequence[Described], options: CroissantOptions
) -> ExportPlan:
    """Return every file of the export."""
    ordered = sorted(described, key=lambda one: (one.item.sha256, one.item.caption))
    names = _image_names(ordered) if options.images else {}
    rows = [_row(one, names, options) for one in ordered]
    lines = "".join(f"{_json(row)}\n" for row in rows).encode()
    document = _document(manifest, rows, options, lines, sorted(set(names.values())))
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    placed = {names[one.item.sha256]: one.item for one in ordered} if names else {}
    return ExportPlan(
        LAYOUT,
        tuple(PlacedImage(name, placed[name]) for name in sorted(placed)),
        {DESCRIPTION: text.encode(), ITEMS: lines},
    )


def _image_names(described: Sequence[Described]) -> dict[str, str]:
    return {
        one.item.sha256: f"images/{one.item.sha256}{PurePosixPath(one.item.path).suffix.lower()}"
        for one in described
    }


def _row(one: Described, names: Mapping[str, str], options: CroissantOptions) -> dict[str, Any]:
    item, asset = one.item, one.asset
    right = asset.rights.training if asset else "unknown"
    row: dict[str, Any] = {
        "sha256": item.sha256,
        "caption": item.caption,
        "tags": list(item.tags),
        "license": item.license,
        "split": item.split,
        "repeats": item.repeats,
        "width": item.width,
        "height": item.height,
        "size": item.bytes,
        "assetId": item.asset_id,
        "author": asset.provenance.author if asset else "",
        "origin": asset.provenance.source if asset else "",
        "trainingRight": "withdrawn" if item.asset_id in options.withdrawn else right,
        "consentRecorded": bool(asset and asset.rights.consent),
    }
    if names:
        row["file"] = PurePosixPath(names[item.sha256]).name
    return row


def _document(
    manifest: Manifest,
    rows: Sequence[Mapping[str, Any]],
    options: CroissantOptions,
    lines: bytes,
    names: Sequence[str],
) -> dict[str, Any]:
    licenses, authors = _named(rows, "license"), _named(rows, "author")
    url = options.url or manifest.provenance.url
    publisher = {"@type": "sc:Organization", "name": options.publisher}
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(_CONFORMS),
        "name": manifest.id,
        "description": _description(manifest),
        "url": url,
        "license": [license_url(one) or one for one in licenses],
        "creator": [{"@type": "sc:Person", "name": one} for one in authors] or [publisher],
        "publisher": publisher,
        "dateCreated": manifest.created_at[:10],
        "dateModified": manifest.updated_at[:10],
        "datePublished": manifest.updated_at[:10],
        # The content names the version: equal content, equal version.
        "version": f"1.0.0+{manifest.content_hash.removeprefix('sha256:')[:12]}",
        "identifier": manifest.content_hash,
        "keywords": sorted({tag for row in rows for tag in row["tags"]}),
        "citeAs": _citation(manifest, authors or [options.publisher]),
        "usageInfo": {"@type": "sc:CreativeWork", "name": "Rights", "text": _rights(rows)},
        **_responsible(manifest, rows),
        **_provenance(manifest, rows),
        "distribution": _distribution(lines, names),
        "recordSet": [_splits(), _images(manifest, with_images=bool(names))],
    }
    return {key: value for key, value in document.items() if value not in ("", [], ())}


def _description(manifest: Manifest) -> str:
    held_out = sum(item.split == "held_out" for item in manifest.items)
    count = len(manifest.items)
    aside = f", {held_out} of them held out of training" if held_out else ""
    notes = f" {manifest.provenance.notes}" if manifest.provenance.notes else ""
    return f"{count} captioned images for training LoRAs of image generators{aside}.{notes}"


def _citation(manifest: Manifest, authors: Sequence[str]) -> str:
    def plain(text: str) -> str:
        return "".join(character for character in text if character not in "{}\\%\n\r")

    names = " and ".join("{" + plain(one) + "}" for one in authors)
    return (
        f"@misc{{{manifest.id}, title = {{{manifest.id}}}, author = {{{names}}}, "
        f"year = {{{manifest.updated_at[:4]}}}, note = {{{manifest.content_hash}}}}}"
    )


def _rights(rows: Sequence[Mapping[str, Any]]) -> str:
    stated = Counter(str(row["trainingRight"]) for row in rows)
    rest = ", ".join(f"{word} for {stated[word]}" for word in sorted(stated) if word != "allowed")
    return (
        f"Training on the images is stated as allowed for {stated['allowed']} of {len(rows)}"
        + (f" ({rest})" if rest else "")
        + ". Licences stand with each image. An image that is withdrawn must no longer be used."
    )


def _responsible(manifest: Manifest, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    consents = sum(row["consentRecorded"] for row in rows)
    held_out = sum(row["split"] == "held_out" for row in rows)
    look = manifest.normalization
    uses = ["Fine-tuning image generators (LoRA)"]
    masks = " Transparency is also a mask, by which the loss is weighed."
    return {
        "rai:dataCollection": "Approved images, chosen by a recorded rule: "
        + _json(manifest.selection.to_dict()),
        "rai:dataCollectionType": ["Manual Human Curator"],
        "rai:dataCollectionRawData": "; ".join(_named(rows, "origin")),
        "rai:dataPreprocessingProtocol": [
            f"Before training every image is made {_FORM.format(look.background, look.version)}."
            + (masks if look.alpha == "mask" else ""),
            "Held out of training by the digest of the image: "
            + _json(manifest.split_rule.to_dict()),
        ],
        "rai:dataAnnotationProtocol": [
            "Captions are made from tags, specs and catalog words by a recorded rule: "
            + _json(manifest.caption_rule.to_dict())
        ],
        "rai:personalSensitiveInformation": [
            f"A consent is on record for {consents} of {len(rows)} images."
        ],
        "rai:dataUseCases": [*uses, f"Evaluation on {held_out} held-out images"]
        if held_out
        else uses,
        "rai:dataReleaseMaintenancePlan": f"{manifest.content_hash} names this state of the data "
        "set. Images that are withdrawn leave it when it is built again.",
    }


def _provenance(manifest: Manifest, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    stated = [manifest.provenance.source] if manifest.provenance.source else []
    sources = [*_named(rows, "origin"), *stated]
    return {
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": "lora dataset build",
            "prov:endedAtTime": manifest.updated_at,
        },
        "prov:wasAttributedTo": [
            {"@type": "prov:Agent", "prov:label": one} for one in _named(rows, "author")
        ],
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "prov:label": one} for one in dict.fromkeys(sources)
        ],
    }


def _distribution(lines: bytes, names: Sequence[str]) -> list[dict[str, Any]]:
    items = {
        "@type": "cr:FileObject",
        "@id": ITEMS,
        "name": ITEMS,
        "description": "One line for each image, with its digest, caption, licence and split.",
        "contentUrl": ITEMS,
        "contentSize": f"{len(lines)} B",
        "encodingFormat": "application/jsonlines",
        "sha256": sha256(lines).hexdigest(),
    }
    if not names:
        return [items]
    formats = {_FORMATS.get(PurePosixPath(name).suffix, "image/png") for name in names}
    images = {
        "@type": "cr:FileSet",
        "@id": _FILES,
        "name": _FILES,
        "description": "The images as they were imported, each named by its SHA-256.",
        "encodingFormat": sorted(formats),
        "includes": "images/*",
    }
    return [items, images]


def _splits() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "What is trained on, and what is held out to judge by.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "dataType": "sc:URL"},
        ],
        "data": [
            {"splits/name": "train", "splits/url": "cr:TrainingSplit"},
            {"splits/name": "held_out", "splits/url": "cr:TestSplit"},
        ],
    }


def _images(manifest: Manifest, *, with_images: bool) -> dict[str, Any]:
    fields = [_field(name, *said) for name, said in _COLUMNS.items()]
    for field in fields:
        if field["name"] == "tags":
            field |= {"isArray": True, "arrayShape": "-1"}
        if field["name"] == "split":
            field["references"] = {"field": {"@id": "splits/name"}}
    return {
        "@type": "cr:RecordSet",
        "@id": "images",
        "name": "images",
        "description": f"The {len(manifest.items)} images with their captions.",
        "key": {"@id": "images/sha256"},
        "field": [*(_picture_fields() if with_images else []), *fields],
    }


def _picture_fields() -> list[dict[str, Any]]:
    picture = _field("image", "sc:ImageObject", "The image.")
    picture["source"] = {"fileSet": {"@id": _FILES}, "extract": {"fileProperty": "content"}}
    file = _field("file", "sc:Text", "Name of its file below images/.")
    file["source"] = {"fileSet": {"@id": _FILES}, "extract": {"fileProperty": "filename"}}
    file["references"] = {"fileObject": {"@id": ITEMS}, "extract": {"column": "file"}}
    return [picture, file]


def _field(name: str, kind: str, words: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"images/{name}",
        "name": name,
        "description": words,
        "dataType": kind,
        "source": {"fileObject": {"@id": ITEMS}, "extract": {"column": name}},
    }


def _named(rows: Sequence[Mapping[str, Any]], column: str) -> list[str]:
    return sorted({str(row[column]) for row in rows} - {""})


def _json(value: Mapping[str, Any]) -> str:
    return canonical_bytes(dict(value)).decode()
