"""What people read about runs."""

from __future__ import annotations

import json
from typing import Any

from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.spending_report import cost_cell, total_rows
from lora_pipeline.cli.train_report import duration, minutes_told, trained
from lora_pipeline.foundation.result import Result


def listed(result: Result) -> Report:
    """Say which runs there are."""
    rows = result.data["runs"]
    costs = result.data["costs"]
    if not rows:
        return Report("no runs", total_rows(costs))
    head = ("run", "lora", "release", "state", "steps", "loss", "took", "by", "started")
    table = Table(
        (*head, "cost") if costs else head,
        [(*_line(row), cost_cell(row["cost"])) if costs else _line(row) for row in rows],
    )
    return Report(counted(len(rows), "run"), total_rows(costs), tables=[table])


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    state = f"{row['state']} ({row['error']})" if row["error"] else row["state"]
    return (
        row["runId"],
        row["loraId"],
        row["releaseId"],
        state,
        f"{row['stepsDone']}/{row['stepsPlanned']}",
        _loss(row["finalLoss"]),
        _took(row["seconds"]),
        row["requestedBy"],
        row["createdAt"],
    )


def shown(result: Result) -> Report:
    """Say everything about a run."""
    data, record = result.data, result.data["run"]
    rows = [
        ("lora", f"{data['loraId']} {data['releaseId']}"),
        ("trainer", _trainer(data["trainer"], record.get("trainerVersion", ""))),
        ("dataset", f"{data['datasetId']}  {record['manifestHash'][:19]}…"),
        ("base", f"{record['checkpointId']}  {record['checkpointDigest'][:19]}…"),
        ("steps", f"{data['stepsDone']} of {data['stepsPlanned']}{_with_loss(data)}"),
    ]
    rows += _times(data, record)
    if data["cost"]:
        rows.append(("cost", _cost_told(record["cost"])))
    if record.get("externalJobId"):
        rows.append(("job", record["externalJobId"]))
    if data["requestedBy"]:
        rows.append(("by", data["requestedBy"]))
    error = record.get("error")
    if error:
        rows.append(("error", f"{error['message']}  [{error['code']}]"))
        if error.get("hint"):
            rows.append(("advice", error["hint"]))
    rows += [("weights", _output(one)) for one in record.get("outputs", [])]
    rows += [("warning", one) for one in record.get("warnings", [])]
    rows.append(("recipe", _recipe(record["recipe"])))
    if data["folder"]:
        rows.append(("folder", data["folder"]))
    return Report(f"run {data['runId']} · {data['state']}", rows)


def _times(data: Any, record: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if record.get("startedAt"):
        rows.append(("time", f"{record['startedAt']}  {_took(data['seconds'])}".rstrip()))
    if data["secondsLeft"]:
        rows.append(("left", f"about {duration(data['secondsLeft'])}"))
    if data["waits"]:
        rows.append(("waits", _waits(data["waits"])))
    tries = record.get("attempts", [])
    if len(tries) > 1:
        rows.append(("tries", "\n".join(_try(one) for one in tries)))
    return rows


def logged(result: Result) -> Report:
    """Say what a run printed."""
    data = result.data
    if "events" in data:  # for programs, also without --json
        return Report("\n".join(json.dumps(one, ensure_ascii=False) for one in data["events"]))
    lines = [f"  {line}" for line in data["lines"]]
    count, every = len(lines), data["linesInAll"]
    more = f", the last {count} of {every} lines" if count < every else ""
    return Report(f"{data['path']}{more}", lines=lines)


def said(result: Result) -> Report:
    """Say what became of a run."""
    return Report(f"run {result.data['runId']} · {result.data['state']}")


def resumed(result: Result) -> Report:
    """Say what taking up a run brought."""
    if "recipe" in result.data:
        return trained(result)
    data = result.data
    if data.get("state") == "queued":
        return queued(result)
    return Report(f"{data['loraId']} {data['releaseId']} · a candidate, from run {data['runId']}")


def queued(result: Result) -> Report:
    """Say that a run waits, and for how many others."""
    if result.refusal or result.dry_run:
        return trained(result)
    data = result.data
    ahead = data["ahead"]
    place = f"after {counted(ahead, 'other run')}" if ahead else "next in the queue"
    rows = [("run", data["runId"])]
    if "steps" in data:
        rows.append(("trains", f"{data['steps']} steps on {data['datasetId']}, {data['trainer']}"))
        rows.append(("takes", minutes_told(data["minutes"])))
    return Report(f"{data['loraId']} {data['releaseId']} · queued, {place}", rows)


def stands(result: Result) -> Report:
    """Say what state a LoRA is in."""
    data, run = result.data, result.data["run"]
    rows = []
    if run is not None:
        loss = _with_loss(run)
        done = f"step {run['stepsDone']} of {run['stepsPlanned']}{loss}"
        words = {"training": done, "queued": _place(data["place"])}.get(data["state"], done)
        rows.append(("run", f"{run['runId']}  {run['releaseId']}  {words}"))
        if run["secondsLeft"]:
            rows.append(("left", f"about {duration(run['secondsLeft'])}"))
    if data["error"]:
        rows.append(("error", f"{data['error']['message']}  [{data['error']['code']}]"))
        if data["error"].get("hint"):
            rows.append(("advice", data["error"]["hint"]))
    counts = " · ".join(f"{count} {state}" for state, count in data["releases"].items())
    if counts:
        rows.append(("releases", f"{counts}  newest {data['newest']}"))
    active = data["active"] or "nothing"
    off = "" if data["enabled"] else ", switched off"
    rows.append(("active", f"{active}{off}"))
    return Report(f"{data['loraId']} · {data['state']}", rows)


def _place(place: int | None) -> str:
    return {None: "waits for a worker", 1: "next in the queue"}.get(
        place, f"number {place} in the queue"
    )


def _waits(waits: dict[str, Any]) -> str:
    later = f", not before {waits['notBefore']}" if waits["notBefore"] else ""
    return f"{_place(waits['place'])}{later}"


def _try(one: dict[str, Any]) -> str:
    ended = one.get("error") or ("ready" if one.get("endedAt") else "under way")
    return f"{one['number']}  {one['startedAt']}  {ended}"


def _recipe(recipe: dict[str, Any]) -> str:
    told = [f"{name} {value}" for name, value in recipe.items() if value not in (None, [], False)]
    lines = [" · ".join(told[start : start + 6]) for start in range(0, len(told), 6)]
    return "\n".join(lines)


def _output(one: dict[str, Any]) -> str:
    step = f"  step {one['step']}" if one.get("step") is not None else "  final"
    return f"sha256:{one['sha256'][:12]}{step}  {one['name']}"


def _cost_told(cost: dict[str, Any]) -> str:
    unit = cost.get("currency", "USD")
    lines = [f"{cost.get('estimate', 0):.2f} {unit} estimated  {cost.get('estimateBasis', '')}"]
    if "actual" in cost:
        lines.insert(0, f"{cost['actual']:.2f} {unit} paid  {cost.get('actualBasis', '')}")
    return "\n".join(line.rstrip() for line in lines)


def _trainer(name: str, version: str) -> str:
    return version if version.startswith(name) else f"{name}  {version}".rstrip()


def _with_loss(data: Any) -> str:
    return f", loss {_loss(data['finalLoss'])}" if data["finalLoss"] is not None else ""


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _took(seconds: float) -> str:
    return duration(seconds) if seconds else ""
