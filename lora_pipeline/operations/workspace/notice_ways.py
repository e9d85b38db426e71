"""The ways in which people are told, as the settings name them: a program, an address."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from lora_pipeline.engine import notify
from lora_pipeline.workspace.settings import PIPELINE_FILE, Settings

Telling = tuple[str, Callable[[], None], tuple[str, ...]]


def ways_to_tell(
    settings: Settings,
    area: Literal["notify", "hooks"],
    notice: Mapping[str, Any],
    *,
    timeout_s: float = notify.TIMEOUT_S,
) -> Iterator[Telling]:
    """Yield each way that the settings of an area name: its name, the telling, its secrets.

    Args:
        settings: Hold ``AREA.command``, ``AREA.webhook`` and the names of its variables.
        area: Which settings.
        notice: What is told.
        timeout_s: Longest time of the program.
    """
    command = settings.text(f"{area}.command")
    if command:
        yield (
            f"{area}.command",
            lambda: notify.run_command(command, notice, timeout_s=timeout_s),
            (),
        )
    hidden_address = _secret(settings.text(f"{area}.webhookVariable"))
    address = hidden_address or settings.text(f"{area}.webhook")
    if address:
        # An address that came with Git gets no token of this machine.
        ours = hidden_address or settings.values[f"{area}.webhook"].source != PIPELINE_FILE
        token = _secret(settings.text(f"{area}.tokenVariable")) if ours else ""
        hidden = tuple(one for one in (token, hidden_address) if one)
        yield "webhook", lambda: _post(address, notice, token), hidden


def _post(address: str, notice: Mapping[str, Any], token: str) -> None:
    from lora_pipeline.engine.webhook import post_webhook  # most commands tell nobody

    post_webhook(address, notice, token=token)


def _secret(variable: str | None) -> str:
    return os.environ.get(variable, "") if variable else ""
