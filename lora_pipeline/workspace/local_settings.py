"""Writing ``config/local.json``: this machine's own settings, outside Git."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import SettingsError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import LOCAL_FILE


def record_local_settings(workspace: Workspace, values: Mapping[str, Any]) -> list[str]:
    """Set dotted keys in ``config/local.json``, keep all others, and return what was written.

    Nothing is written when every value is there already.

    Raises:
        SettingsError: When the file holds something else where a section must stand.
        LockedError: When another writer holds the workspace.
    """
    path = workspace.root / LOCAL_FILE
    document: Any = strict_json.load(path) if path.is_file() else {}
    before = strict_json.dumps(document)
    for key, value in values.items():
        *parents, last = key.split(".")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise SettingsError(f"{LOCAL_FILE}: {key} cannot be set, its section is a value")
        place[last] = value
    data = strict_json.dumps(document)
    if data == before and path.is_file():
        return []
    changes = Changes(workspace)
    changes.write_file(path, data)
    return changes.apply()
