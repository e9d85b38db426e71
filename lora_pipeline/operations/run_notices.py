"""Telling people about a run at its start and its end, as the settings want it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from lora_pipeline.engine import notify
from lora_pipeline.foundation.events import Event
from lora_pipeline.training.notice import moment_of, notice_of, wanted
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import PIPELINE_FILE

_Telling = tuple[str, Callable[[], None], tuple[str, ...]]


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


def _ways(workspace: Workspace, run: Run, moment: str) -> Iterator[_Telling]:
    settings = workspace.settings
    notice = notice_of(run, moment, workspace.root.name)
    command = settings.text("notify.command")
    if command:
        yield "notify.command", lambda: notify.run_command(command, notice), ()
    hidden_address = _secret(settings.text("notify.webhookVariable"))
    address = hidden_address or settings.text("notify.webhook")
    if address:
        # An address that came with Git gets no token of this machine.
        ours = hidden_address or settings.values["notify.webhook"].source != PIPELINE_FILE
        token = _secret(settings.text("notify.tokenVariable")) if ours else ""
        hidden = tuple(one for one in (token, hidden_address) if one)
        yield "webhook", lambda: notify.post_webhook(address, notice, token=token), hidden
    if settings.values["notify.desktop"].value:
        title, text = notice["title"], notice["text"]
        yield "notify.desktop", lambda: notify.show_on_desktop(title, text), ()


def _secret(variable: str | None) -> str:
    return os.environ.get(variable, "") if variable else ""
