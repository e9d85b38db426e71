"""Settings: where each value comes from, and which file may hold it.

Order of precedence, strongest first: environment variable, ``config/local.json`` (this
machine, outside Git), ``config/pipeline.yaml`` (the studio, in Git), built-in default. A flag
of a command is stronger than all of them and is handled by that command.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordError, SettingsError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.workspace import kept_yaml
from lora_pipeline.workspace.setting_table import (
    LOCAL_FILE,
    PIPELINE_FILE,
    SETTINGS,
    Setting,
)

__all__ = [
    "LOCAL_FILE", "PIPELINE_FILE", "SETTINGS", "Setting", "SettingValue", "Settings",
    "read_settings",
]  # fmt: skip
_TYPE_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_SECRET_VALUE = re.compile(
    r"\b(hf_|r8_|ghp_|github_pat_|sk-|AKIA)[A-Za-z0-9_-]{8,}|[a-z+]+://[^/\s:@]+:[^/\s@]+@"
)
_SECRET_WORDS = ("token", "apikey", "api_key", "secret", "password")


class SettingValue(msgspec.Struct, frozen=True):
    """The value in force and where it comes from."""

    setting: Setting
    value: Any
    source: str


class Settings(msgspec.Struct, frozen=True):
    """All settings in force, read once."""

    values: Mapping[str, SettingValue]

    def text(self, key: str) -> str | None:
        """Return a text setting, or None when it is not set."""
        value = self.values[key].value
        return None if value is None else str(value)

    def require_text(self, key: str) -> str:
        """Return a text setting that must be set.

        Raises:
            SettingsError: When it is not; the hint says where to set it.
        """
        value = self.text(key)
        if value is None:
            setting = _BY_KEY[key]
            where = LOCAL_FILE if setting.local_only else PIPELINE_FILE
            raise SettingsError(f"setting {key} is not set", hint=f"set {key} in {where}")
        return value

    def integer(self, key: str) -> int:
        """Return an integer setting."""
        return int(self.values[key].value)

    def number(self, key: str) -> float:
        """Return a number setting."""
        return float(self.values[key].value)

    def explain(self) -> list[SettingValue]:
        """Return every setting with its source, in the order of their definition."""
        return [self.values[setting.key] for setting in SETTINGS]


def typed_settings(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return values that came as text in the types of their settings, as files hold them.

    Raises:
        SettingsError: When one is no value of its setting.
    """
    return {key: _parse(_BY_KEY[key], text, "the service") for key, text in texts.items()}


def read_settings(
    root: Path, environment: Mapping[str, str] | None = None, *, keep: bool = False
) -> Settings:
    """Read all settings of a workspace.

    Args:
        root: Its folder.
        environment: Variables that override; those of this process when left out.
        keep: Whether what was parsed may be kept in the workspace for the next command.

    Raises:
        SettingsError: When a file has an unknown key, a value of the wrong type, a secret, or
            a machine's own value in the file that Git keeps.
    """
    environment = os.environ if environment is None else environment
    shared = _flatten(_read_yaml(root, keep=keep), PIPELINE_FILE)
    local = _flatten(_read_local(root / LOCAL_FILE), LOCAL_FILE)
    for key in shared:
        if _BY_KEY[key].local_only:
            raise SettingsError(
                f"{PIPELINE_FILE}: {key} belongs to one machine", hint=f"move it to {LOCAL_FILE}"
            )
    for key in local:
        if _BY_KEY[key].shared_only:
            raise SettingsError(
                f"{LOCAL_FILE}: {key} holds for everybody", hint=f"move it to {PIPELINE_FILE}"
            )
    return Settings(
        {setting.key: _resolve(setting, environment, local, shared) for setting in SETTINGS}
    )


def _resolve(
    setting: Setting,
    environment: Mapping[str, str],
    local: Mapping[str, Any],
    shared: Mapping[str, Any],
) -> SettingValue:
    if setting.variable and environment.get(setting.variable):
        source = f"environment variable {setting.variable}"
        return SettingValue(setting, _parse(setting, environment[setting.variable], source), source)
    for values, source in ((local, LOCAL_FILE), (shared, PIPELINE_FILE)):
        if setting.key in values:
            return SettingValue(setting, values[setting.key], source)
    return SettingValue(setting, setting.default, "default")


def _parse(setting: Setting, text: str, source: str) -> Any:
    try:
        if isinstance(setting.default, bool):
            return {"1": True, "true": True, "0": False, "false": False}[text.lower()]
        value: Any = text
        if isinstance(setting.default, int):
            value = int(text)
        elif isinstance(setting.default, float):
            value = float(text)
    except (ValueError, KeyError) as error:
        raise SettingsError(f"{source}: {text!r} is no value for {setting.key}") from error
    return _require_sound(setting, value, source)


def _check(setting: Setting, value: Any, source: str) -> Any:
    expected = str if setting.default is None else type(setting.default)
    accepted = (int, float) if expected is float else (expected,)
    if not isinstance(value, accepted) or (isinstance(value, bool) and expected is not bool):
        raise SettingsError(
            f"{source}: {setting.key} must be {_TYPE_WORDS[expected]}, got {value!r}"
        )
    return _require_sound(setting, value, source)


def _require_sound(setting: Setting, value: Any, source: str) -> Any:
    if isinstance(value, (int, float)) and not 0 <= value < math.inf:
        raise SettingsError(f"{source}: {setting.key} must not be negative, got {value!r}")
    if setting.key == "dataRoot" and (reason := unsafe_reason(value)):
        raise SettingsError(f"{source}: {setting.key} {value!r} {reason}")
    return value


def _flatten(document: Mapping[str, Any], source: str, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        key = f"{prefix}{name}"
        if "." in name:
            raise SettingsError(f"{source}: write {key} as nested names, without dots")
        if isinstance(value, Mapping):
            flat |= _flatten(value, source, f"{key}.")
        elif key not in _BY_KEY:
            raise _unknown(key, source)
        elif isinstance(value, str) and _SECRET_VALUE.search(value):
            raise _secret(key, source)
        elif value is not None:
            flat[key] = _check(_BY_KEY[key], value, source)
    return flat


def _unknown(key: str, source: str) -> SettingsError:
    if any(word in key.lower() for word in _SECRET_WORDS):
        return _secret(key, source)
    near = did_you_mean(key, _BY_KEY)
    return SettingsError(
        f"{source}: unknown setting {key}",
        hint=f"did you mean {near}?" if near else "lora config explain lists all settings",
    )


def _secret(key: str, source: str) -> SettingsError:
    return SettingsError(
        f"{source}: {key} holds a secret, and secrets never stand in files",
        hint="take it out, give it as an environment variable, and replace it where it was valid",
    )


def _read_yaml(root: Path, *, keep: bool) -> Mapping[str, Any]:
    path = root / PIPELINE_FILE
    if not path.is_file():
        return {}
    try:
        kept = root / ".lora" / "cache" / "settings.json"
        document = kept_yaml.loads(strict_json.read_bytes(path), PIPELINE_FILE, kept, keep=keep)
    except RecordError as error:
        raise SettingsError(error.message, hint=error.hint) from error
    return _require_mapping({} if document is None else document, PIPELINE_FILE)


def _read_local(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = strict_json.loads(strict_json.read_bytes(path), LOCAL_FILE)
    except RecordError as error:
        raise SettingsError(error.message, hint=error.hint) from error
    return _require_mapping(document, LOCAL_FILE)


def _require_mapping(document: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(document, Mapping):
        raise SettingsError(f"{source} must hold names and values")
    return document
