"""What ``lora train`` says to people."""

from __future__ import annotations

from typing import Any

from lora_pipeline.cli.output import Report, counted, size_text
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.result import Result

_TOLD = ("steps", "epochs", "rank", "alpha", "learningRate", "resolution", "batchSize")
_WORDS = {"learningRate": "lr", "batchSize": "batch"}
_MAX_LINES = 40
_NAMES = 6


def planned(result: Result) -> Report:
    """Say what a trainer would be given."""
    data = result.data
    plan = data["plan"]
    headline = (
        f"{data['loraId']} {data['releaseId']} · {plan['trainer']} would train it "
        f"on {data['datasetId']}, {counted(data['images'], 'image')}"
    )
    rows = [
        *_recipe_rows(data),
        ("length", f"{plan['totalSteps']} steps, {data['looksPerImage']:g} looks at each image"),
        ("time", minutes_told(data["minutes"])),
        ("sizes", _sizes(data["sizes"])),
        ("base", data["checkpointId"]),
        ("images", data["staging"]),
    ]
    if data["alpha"] == "mask":
        rows.append(("loss", f"weighed by {data['staging']}/masks: only what is opaque is learnt"))
    if plan["argv"]:
        rows += [
            ("command", " ".join(_shell(word) for word in plan["argv"])),
            ("in", plan["cwd"]),
            ("environment", "\n".join(f"{key}={one}" for key, one in plan["environment"].items())),
            ("output", f"{data['runFolder']}/{plan['expectedOutput']}"),
        ]
    if plan.get("service"):
        rows += _sending_rows(data)
    if plan["secrets"]:
        rows.append(("secrets", f"{', '.join(plan['secrets'])} (values of this machine)"))
    if plan["trainerVersion"] not in ("", "unknown"):
        rows.append(("version", plan["trainerVersion"]))
    rows.append(("plan", short(data["planDigest"])))
    if "planFile" in data:
        rows.append(("kept in", data["planFile"]))
        return Report(headline, rows)
    return Report(headline, rows, lines=_file_lines(data))


def trained(result: Result) -> Report:
    """Say what training brought."""
    data = result.data
    if result.refusal:
        if "changes" in data:
            return _outdated(result)
        rows = []
        if "uploads" in data:
            agree = result.refusal.code == "upload_not_agreed"
            rows = _sending_rows(data) if agree else _cost_rows(data)
        return Report(f"refused · {result.refusal.message}", rows)
    if "plan" in data:
        return planned(result)
    if "runId" not in data:
        return registered(result)
    headline = f"{data['loraId']} {data['releaseId']} · a candidate"
    headline += (
        ", finished from a run that was killed"
        if data["resumed"]
        else f", trained on {data['datasetId']} with {counted(data['images'], 'image')}"
    )
    loss = f", loss {data['finalLoss']:.4f}" if data["finalLoss"] is not None else ""
    rows = [
        ("trained", f"{data['steps']} steps in {duration(data['seconds'])}{loss}"),
        *_recipe_rows(data),
        ("weights", _weights(data["weights"])),
        ("run", data["runId"]),
    ]
    if data["checkpointsKept"]:
        kept = counted(data["checkpointsKept"], "checkpoint")
        rows.append(("kept", f"{kept} in {data['log']}/output"))
    return Report(headline, rows)


def registered(result: Result) -> Report:
    """Say which weights were registered."""
    data = result.data
    verb = "would be" if result.dry_run else "is"
    rows = [("weights", _weights(data["weights"]))]
    dataset = data["release"].get("training", {}).get("datasetId")
    if dataset:
        rows.append(("dataset", dataset))
    return Report(f"{data['loraId']} {data['releaseId']} · {verb} a candidate", rows)


def _outdated(result: Result) -> Report:
    data = result.data
    rows = [(one["what"], f"{one['planned']}  →  {one['now']}") for one in data["changes"]]
    by = f" by {data['plannedBy']}" if data["plannedBy"] else ""
    headline = (
        f"refused · since {data['planFile']} was made on {data['plannedAt'][:10]}{by}, "
        f"{counted(len(rows), 'thing')} changed"
    )
    return Report(headline, rows)


def minutes_told(minutes: dict[str, Any]) -> str:
    """Return about how long a run takes, or why nobody knows."""
    if minutes["high"] is None:
        return str(minutes["basis"])
    low, high = (duration(minutes[name] * 60) for name in ("low", "high"))
    return f"{low} to {high}, by {minutes['basis']}"


def _sizes(sizes: dict[str, Any]) -> str:
    known = {
        "images": sizes["imageBytes"],
        "base model": sizes["checkpointBytes"],
        "weights, about": sizes["weightsBytes"],
    }
    told = [f"{name} {size_text(size)}" for name, size in known.items() if size]
    return " · ".join(told)


def duration(seconds: float) -> str:
    """Return a time span as people read it."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _sending_rows(data: Any) -> list[tuple[str, str]]:
    uploads = data["uploads"]
    sizes = [one["bytes"] for one in uploads if one["bytes"] is not None]
    size = f", {size_text(sum(sizes))}" if len(sizes) == len(uploads) else ""
    names = [one["name"] for one in uploads]
    if len(names) > _NAMES:
        names = [*names[:_NAMES], f"… {len(names) - _NAMES} more (--json lists every one)"]
    rows = [
        ("goes to", data["service"]),
        ("leaves", f"{counted(len(uploads), 'file')}{size}: images, captions and the job itself"),
        ("", "\n".join(names)),
    ]
    return [*rows, *_cost_rows(data)]


def _cost_rows(data: Any) -> list[tuple[str, str]]:
    expected, spending = data["estimate"], data["spending"]
    unit, rows = expected["currency"], list[tuple[str, str]]()
    if expected["cost"] is None:
        rows.append(("cost", "nobody can say"))
    elif expected["cost"]:
        about = f", about {duration(expected['minutes'] * 60)}" if expected["minutes"] else ""
        so_far = spending["paid"] + spending["open"]
        whole = f"{spending['maxPerProject']:.2f} the project, {so_far:.2f} of it used"
        rows += [
            ("cost", f"about {expected['cost']:.2f} {unit}{about}\n{expected['basis']}"),
            ("caps", f"{spending['maxPerRun']:.2f} {unit} a run, {whole}"),
        ]
    return rows


def _recipe_rows(data: Any) -> list[tuple[str, str]]:
    by_name = {one["name"]: one for one in data["recipe"]}
    told = [by_name[name] for name in _TOLD if by_name[name]["value"] is not None]
    words = " · ".join(_setting(one) for one in told)
    rows = [("recipe", words)]
    changed = [
        f"{one['name']} {one['value']}" for one in data["recipe"]
        if "command line" in one["from"] or one["from"].startswith("file ")
    ]  # fmt: skip
    preset = data.get("preset")
    if preset:
        chosen = ", which fits the base model" if data.get("presetChosen") else ""
        but = f", but {', '.join(changed)}" if changed else ""
        rows.append(("preset", f"{preset}{chosen}{but}"))
    return rows


def _setting(one: dict[str, Any]) -> str:
    value = one["value"]
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    if one["name"] == "resolution":
        return f"{shown} px"
    if one["name"] in ("steps", "epochs"):
        return f"{shown} {one['name']}"
    return f"{_WORDS.get(one['name'], one['name'])} {shown}"


def _weights(weights: dict[str, Any]) -> str:
    words = f"sha256:{weights['sha256'][:12]} · {size_text(weights['bytes'])}"
    if weights.get("rank"):
        words += f" · rank {weights['rank']}, {counted(weights['modules'], 'module')} verified"
    return words


def _file_lines(data: Any) -> list[str]:
    lines: list[str] = []
    for file in data["plan"]["files"]:
        text = file["content"].splitlines()
        lines += ["", f"  {data['runFolder']}/{file['path']}"]
        lines += [f"    {line[:160]}{'…' if len(line) > 160 else ''}" for line in text[:_MAX_LINES]]
        if len(text) > _MAX_LINES:
            lines.append(f"    … {len(text) - _MAX_LINES} more lines (--json shows all)")
    return [*lines, ""] if lines else []


def _shell(word: str) -> str:
    import shlex

    return shlex.quote(word)
