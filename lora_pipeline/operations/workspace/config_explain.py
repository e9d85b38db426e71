"""Which settings are in force, and where each value comes from."""

from __future__ import annotations

from typing import Any

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import LOCAL_FILE, PIPELINE_FILE, Setting, SettingValue


def explain_config(workspace: Workspace, key: str | None = None) -> Result:
    """Explain every setting: its value, where that comes from, and where it can be set.

    Args:
        workspace: Whose settings.
        key: One setting, such as ``trainers.default``, or the beginning of several, such as
            ``trainers``; all of them when left out.

    Raises:
        ArgumentInvalidError: When there is no such setting; the hint names a near one.
    """
    every = workspace.settings.explain()
    chosen = [one for one in every if key is None or _is_meant(one.setting.key, key)]
    if not chosen:
        near = did_you_mean(str(key), [one.setting.key for one in every])
        raise ArgumentInvalidError(
            f"no setting {key!r}",
            hint=f"did you mean {near}?" if near else "lora config explain",
        )
    changed = sum(1 for one in chosen if one.source != "default")
    return Result(
        data={"settings": [_explained(one) for one in chosen]},
        reasoning=f"{changed} of {len(chosen)} settings differ from their default",
    )


def _is_meant(known: str, asked: str) -> bool:
    return known == asked or known.startswith(f"{asked}.")


def _explained(value: SettingValue) -> dict[str, Any]:
    setting = value.setting
    return {
        "key": setting.key,
        "value": value.value,
        "source": value.source,
        "default": setting.default,
        "summary": setting.summary,
        "variable": setting.variable or "",
        "files": _files(setting),
    }


def _files(setting: Setting) -> list[str]:
    """Return where it may stand, the strongest place first."""
    places = ((LOCAL_FILE, setting.shared_only), (PIPELINE_FILE, setting.local_only))
    return [path for path, forbidden in places if not forbidden]
