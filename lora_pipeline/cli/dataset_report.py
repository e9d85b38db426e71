"""What the commands of ``lora dataset`` say to people."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.result import Result

_NAMED = 6  # words of a setting that are told
_OTHERS = 12  # assets that do not match, in the table of those that are left out


def built(result: Result) -> Report:
    """Say what ``dataset build`` did."""
    data = result.data
    headline = f"{data['datasetId']} · {counted(data['images'], 'image')}"
    if data["matching"] != data["images"]:
        headline += f" from {data['matching']} matching assets"
    if data["heldOut"]:
        headline += f" · {data['heldOut']} held out"
    rows = []
    if data["leftOut"]:
        told = "" if "explained" in data else "   (--explain lists them)"
        rows.append(("left out", " · ".join(map(_reason, data["leftOut"])) + told))
    if data["ruleChanges"]:
        rows.append(("rule", "\n".join(map(_rule_change, data["ruleChanges"]))))
    if data["sinceHead"]:
        rows.append(("since HEAD", _since(data["sinceHead"])))
    rows.append(("content", short(data["contentHash"])))
    if not data["changed"]:
        rows.append(("unchanged", data["path"]))
    if data["staging"] and not data["staging"]["made"]:
        rows.append(("staged", f"{data['staging']['folder']}   (every file verified)"))
    if "explained" not in data:
        return Report(headline, rows)
    if data["notMatching"]:
        rows.append(("no match", " · ".join(map(_reason, data["notMatching"]))))
    tables, lines = _reasons(data["explained"])
    return Report(headline, rows, tables, lines)


def _reasons(explained: list[dict[str, Any]]) -> tuple[list[Table], list[str]]:
    others = [one for one in explained if not one["matches"]]
    told = [one for one in explained if one["matches"]] + others[:_OTHERS]
    table = Table(
        ("asset", "shows", "left out because"),
        [(one["assetId"], one["title"], one["reason"]) for one in told],
    )
    more = len(others) - _OTHERS
    lines = [f"… and {more} more that do not match (--json lists them)"] if more > 0 else []
    return [table] if told else [], lines


def _reason(one: dict[str, Any]) -> str:
    if one["code"] == "duplicate":
        return counted(one["images"], one["summary"])
    return f"{one['images']} {one['summary']}"


def _rule_change(one: dict[str, Any]) -> str:
    return f"{setting_name(one['name'])}: {value_text(one['before'])} → {value_text(one['after'])}"


def setting_name(setting: str) -> str:
    """Return the name of a setting as people say it."""
    # captionRule.triggerWord is "trigger word"
    return re.sub(r"([A-Z])", r" \1", setting.partition(".")[2]).lower()


def value_text(value: Any) -> str:
    """Return the value of a setting as people read it."""
    if isinstance(value, list):
        named = ", ".join(value[:_NAMED]) or "any"
        return named + (f" and {len(value) - _NAMED} more" if len(value) > _NAMED else "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "nothing" if value in (None, "") else str(value)


def _since(since: dict[str, Any]) -> str:
    if since["sameContent"] and not since["came"] + since["went"] + since["changed"]:
        return "nothing changed"
    return str(since["summary"])


def listed(result: Result) -> Report:
    """Say the list of manifests."""
    rows = [
        (
            one["datasetId"],
            one["projectId"] or "shared",
            one["images"],
            one["heldOut"] or "",
            one["triggerWord"],
            one["updatedAt"][:10],
            short(one["contentHash"]).removeprefix("sha256:")
            if one["contentHash"]
            else "no content hash",
        )
        for one in result.data["datasets"]
    ]
    columns = ("dataset", "project", "images", "held out", "trigger", "changed", "content")
    headline = counted(len(rows), "dataset") if rows else "no dataset yet"
    return Report(headline, tables=[Table(columns, rows)] if rows else [])


def shown(limit: int | None) -> Callable[[Result], Report]:
    """Return what shows a manifest with at most ``limit`` images; None shows all."""

    def text(result: Result) -> Report:
        data = result.data
        items = data["items"][:limit]
        rows = [
            (one["assetId"], one["caption"], f"{one['width']}×{one['height']}",  # noqa: RUF001
             one["license"], "held out" if one["split"] == "held_out" else "")
            for one in items
        ]  # fmt: skip
        more = len(data["items"]) - len(items)
        return Report(
            f"{data['datasetId']} · {counted(data['images'], 'image')}"
            + (f" · {data['heldOut']} held out" if data["heldOut"] else ""),
            [
                ("selects", _selection_words(data["selection"])),
                ("captions", _caption_words(data["captionRule"])),
                ("staged", _staged_words(data["normalization"])),
                ("licences", _licences(data["provenanceSummary"])),
                ("content", data["contentHash"] or "no content hash; build it again"),
                ("file", data["path"]),
            ],
            [Table(("asset", "caption", "pixels", "licence", ""), rows)],
            [f"… and {more} more (--all)"] if more else [],
        )

    return text


def _selection_words(selection: dict[str, Any]) -> str:
    parts = [selection["status"], *selection["assetTypes"], *selection["styles"]]
    parts += selection["scenarios"]
    if selection["tags"]:
        joined = " or " if selection["tagMode"] == "any" else " and "
        parts.append(joined.join(selection["tags"]))
    parts += [f"not {tag}" for tag in selection["notTags"]]
    parts += [f"checkpoint {one}" for one in selection["checkpoints"]]
    parts += [_any_of("under", selection.get("licenses", []))]
    if "createdSince" in selection:
        parts.append(f"made since {selection['createdSince'][:10]}")
    if selection["minRating"]:
        parts.append(f"rated {selection['minRating']} or more")
    if "assetIds" in selection:
        parts.append(f"{counted(len(selection['assetIds']), 'listed id')}")
    return " · ".join(part for part in (*parts, *_limit_words(selection)) if part)


def _any_of(word: str, values: list[str]) -> str:
    return f"{word} {' or '.join(values)}" if values else ""


def _limit_words(selection: dict[str, Any]) -> list[str]:
    parts = []
    if "balance" in selection:
        each = f", at most {selection['limitEach']} of each" if "limitEach" in selection else ""
        parts.append(f"even over {selection['balance']}{each}")
    if "limit" in selection:
        parts.append(f"at most {selection['limit']}")
    if selection.get("seed"):
        parts.append(f"seed {selection['seed']}")
    return parts


def _staged_words(rule: dict[str, Any]) -> str:
    words = f"sRGB PNG, transparency on {rule['background']}"
    return f"{words}, and as a mask of the loss" if rule["alpha"] == "mask" else words


def _caption_words(rule: dict[str, Any]) -> str:
    parts = [rule["triggerWord"], rule["prefix"], rule["strategy"]]
    parts += ["tokens" if rule["includePromptTokens"] else "", rule["suffix"]]
    words = " · ".join(part for part in parts if part)
    return f"{words}\n{rule['template']}" if "template" in rule else words


def _licences(summary: dict[str, Any]) -> str:
    counts = summary.get("licenses", [])
    return " · ".join(f"{one['images']} {one['license'] or 'without a licence'}" for one in counts)


def explained(result: Result) -> Report:
    """Say why an asset's caption is what it is, or why it is not in."""
    found = result.data["explained"]
    if not found["included"]:
        title = f" ({found['title']})" if found["title"] else ""
        return Report(
            f"{found['assetId']}{title} is not in {result.data['datasetId']}",
            [("because", found["reason"])],
        )
    rows = [("caption", found["caption"])]
    if found["captionNow"] != found["caption"]:
        rows.append(("now", f"{found['captionNow'] or 'no caption'}   (build again to take it)"))
    words = [
        (one["text"], one["source"], "" if one["used"] else "left out: said before")
        for one in found["words"]
    ]
    return Report(
        f"{found['assetId']} in {result.data['datasetId']}",
        rows,
        [Table(("word", "from", ""), words)],
    )


def verified(result: Result) -> Report:
    """Say what reading everything anew came to."""
    data = result.data
    severities = [one["severity"] for one in data["findings"]]
    if "error" in severities:
        verdict = counted(severities.count("error"), "thing differs", "things differ")
    elif "not_proven" in severities:
        verdict = "not proven"
    else:
        verdict = "holds"
    pointers = data["provenByPointer"]
    rows = [("images", f"{data['images']} read anew" + _by_pointer(pointers))]
    rows.append(("content", short(data["contentHash"]) if data["contentHash"] else "none"))
    labels = {"error": "fail", "not_proven": "not proven"}
    rows += [
        (labels.get(one["severity"], one["severity"]), f"{one['where']}: {one['message']}")
        for one in data["findings"]
    ]
    return Report(f"{data['datasetId']} · {verdict}", rows)


def _by_pointer(count: int) -> str:
    return f", {count} of them proven by their Git LFS pointer" if count else ""


def staged(result: Result) -> Report:
    """Say where the staging is."""
    data = result.data
    headline = f"{data['datasetId']} · {counted(data['images'], 'image')} to train on"
    if data["heldOut"]:
        headline += f" · {data['heldOut']} held out, not in the folder"
    rows = [] if result.written else [("there", f"{data['folder']}   (every file verified)")]
    return Report(headline, rows)
