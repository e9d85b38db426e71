"""Telling people about a run at its start and its end, as the settings want it."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.engine import notify
from lora_pipeline.foundation.events import Event
from lora_pipeline.operations.workspace.notice_ways import Telling, ways_to_tell
from lora_pipeline.training.notice import moment_of, notice_of, wanted
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.root import Workspace


def tell(workspace: Workspace, run: Run) -> None:
    """Tell whoever wants to know at which moment a run is; what fails is a warning, no more."""
    settings = workspace.settings
    chosen = tuple(word.strip() for word in (settings.text("notify.on") or "").split(","))
    moment = moment_of(run)
    if workspace.dry_run or moment is None or not wanted(moment, chosen):
        return
    for name, telling, secrets in _ways(workspace, run, moment):
        failure = notify.attempt(name, telling, secrets)
        if failure is not None:
            workspace.events(Event("warning", "notify", f"nobody was told: {failure}"))


def _ways(workspace: Workspace, run: Run, moment: str) -> Iterator[Telling]:
    notice = notice_of(run, moment, workspace.root.name)
    yield from ways_to_tell(workspace.settings, "notify", notice)
    if workspace.settings.values["notify.desktop"].value:
        title, text = notice["title"], notice["text"]
        yield "notify.desktop", lambda: notify.show_on_desktop(title, text), ()
