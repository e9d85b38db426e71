"""What ``lora asset`` says to people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lora_pipeline.cli.dataset_impact import impact_rows
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.foundation.result import Result

_SHOWN, _FEW = 12, 4


def imported(result: Result) -> Report:
    """Say what an import brought."""
    data = result.data
    rows: list[tuple[str, str]] = []
    if data["alreadyThere"]:
        rows.append(("there", f"{counted(len(data['alreadyThere']), 'image')} the project has"))
    rows += [
        ("twice", f"{pair['file']} is {pair['sameAs']} again")
        for pair in data["duplicates"][:_SHOWN]
    ]
    if len(data["duplicates"]) > _SHOWN:
        rows.append(("", f"… and {len(data['duplicates']) - _SHOWN} more"))
    rows += _aside(data["leftAside"])
    rows += [
        ("renamed", f"{one['file']} is imported as {one['as']}") for one in data["renamed"][:_FEW]
    ]
    rows += _new_words(data.get("addedWords", {}))
    if result.refusal is not None:
        rows += _refused(data["refused"])
        return Report(f"refused · {result.refusal.message}", rows=rows)
    verb = "would be imported" if result.dry_run else "imported"
    head = f"{data['project']} · {counted(data['imported'], 'image')} {verb} of {data['found']}"
    described = f" · described by {data['metadata']}" if data["metadata"] else ""
    return Report(head + described, rows=rows)


def listed(result: Result, limit: int) -> Report:
    """List assets."""
    data, every = result.data, result.data["assets"]
    if not data["of"]:
        return Report(f"{data['project']} has no assets yet")
    states = " · ".join(f"{number} {status}" for status, number in data["statuses"].items())
    shown = every[:limit] if limit else every
    rows = [
        (
            one["id"],
            one["title"],
            one["assetType"],
            ", ".join(one["tags"]),
            _state(one),
            "★" * one["rating"],
        )
        for one in shown
    ]
    more = (
        [f"… and {len(every) - len(shown)} more (--limit 0 shows all)"]
        if len(shown) < len(every)
        else []
    )
    head = f"{data['project']} · {len(every)} of {data['of']} assets · {states}"
    columns = ("id", "title", "type", "tags", "status", "rating")
    return Report(head, tables=[Table(columns, rows)], lines=more)


def shown(result: Result) -> Report:
    """Show one asset."""
    data = result.data
    summary, asset, version = data["summary"], data["asset"], data["asset"]["versions"][-1]
    provenance = asset.get("provenance", {})
    origin = [
        provenance[key] for key in ("source", "author", "license", "url") if key in provenance
    ]
    rows = [
        ("type", f"{summary['assetType']} · style {summary['style']} · {summary['scenario']}"),
        ("tags", ", ".join(summary["tags"]) or "none"),
        ("status", _reviewed(version)),
    ]
    if version.get("reviewNote"):
        rows.append(("note", version["reviewNote"]))
    if summary["rating"]:
        rows.append(("rating", "★" * summary["rating"]))
    rows.append(("training", "may be trained on" if data["mayTrain"] else data["barredBy"]))
    rows.append(("rights", _rights(asset.get("rights", {}))))
    rows.append(("origin", " · ".join(origin) or "not recorded"))
    if provenance.get("notes"):
        rows.append(("", provenance["notes"]))
    rows += _image(version, summary)
    if data["spec"] and data["spec"]["prompt"]["positive"]:
        rows.append(("prompt", data["spec"]["prompt"]["positive"]))
    return Report(f"{summary['title']} · asset {summary['id']}", rows=rows)


def decided(result: Result) -> Report:
    """Say what a decision changed."""
    data = result.data
    rows: list[tuple[str, str]] = []
    if result.refusal is not None:
        return Report(f"refused · {result.refusal.message}", rows=rows)
    rows += _titles("would change" if result.dry_run else "changed", data["changed"])
    if data["changed"] and data["unchanged"]:
        rows.append(("so already", counted(len(data["unchanged"]), "asset")))
    if data.get("newWords"):
        rows.append(("new words", ", ".join(data["newWords"])))
    return Report(result.reasoning, rows=rows)


def withdrawn(result: Result) -> Report:
    """Say what was withdrawn and what it is part of."""
    done = decided(result)
    return Report(done.headline, rows=[*done.rows, *impact_rows(result.data["impact"])])


def _aside(images: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    reasons: dict[str, list[str]] = {}
    for one in images:
        reasons.setdefault(one["reason"], []).append(one["file"])
    rows = []
    for reason, names in list(reasons.items())[:_FEW]:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        rows.append(("left aside", f"{names[0]}{more}: {reason}"))
    return rows


def _refused(refused: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    rows = [
        ("fail", bad["reason"] + (f" ({bad['hint']})" if bad["hint"] else ""))
        for bad in refused[:_SHOWN]
    ]
    if len(refused) > _SHOWN:
        rows.append(("", f"… and {len(refused) - _SHOWN} more (--json lists all)"))
    return rows


def _new_words(added: dict[str, list[str]]) -> list[tuple[str, str]]:
    every = [word for kind in ("tags", "styles", "scenarios") for word in added.get(kind, ())]
    return [("new words", ", ".join(every))] if every else []


def _titles(label: str, entries: Sequence[dict[str, str]]) -> list[tuple[str, str]]:
    if not entries:
        return []
    names = [entry["title"] for entry in entries[:_FEW]]
    more = f" and {len(entries) - _FEW} more" if len(entries) > _FEW else ""
    return [(label, ", ".join(names) + more)]


def _state(one: dict[str, Any]) -> str:
    return f"{one['status']} · {one['barredBy']}" if one["barredBy"] else str(one["status"])


def _reviewed(version: dict[str, Any]) -> str:
    if "reviewedBy" not in version:
        return str(version["status"])
    return f"{version['status']} by {version['reviewedBy']} at {version['reviewedAt']}"


def _rights(rights: dict[str, str]) -> str:
    words = [f"training {rights.get('training', 'unknown')}"]
    words += [f"{key} {rights[key]}" for key in ("license", "consent") if key in rights]
    words += [f"until {rights['expiresOn']}"] if "expiresOn" in rights else []
    words += [f"withdrawn by {rights['withdrawnBy']}"] if "withdrawnBy" in rights else []
    words += [f"reason {rights['reason']}"] if "reason" in rights else []
    return " · ".join(words)


def _image(version: dict[str, Any], summary: dict[str, Any]) -> list[tuple[str, str]]:
    variant = next(
        (one for one in version["variants"] if one["id"] == version.get("primaryVariantId")),
        version["variants"][0],
    )
    rows = [("image", summary["path"])]
    image = variant.get("original")
    if image:
        alpha = " · transparent" if image.get("hasAlpha") else ""
        size = f"{image['width']} x {image['height']} {image['format']}"
        rows.append(("", f"{size}{alpha} · {size_text(image['bytes'])}"))
        rows.append(("", f"sha256:{image['sha256'][:12]}…"))
    return rows
