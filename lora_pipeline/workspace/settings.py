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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import strict_json, strict_yaml
from lora_pipeline.foundation.errors import RecordError, SettingsError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.ids import did_you_mean

PIPELINE_FILE = "config/pipeline.yaml"
LOCAL_FILE = "config/local.json"


@dataclass(frozen=True)
class Setting:
    """One thing that can be set.

    Attributes:
        key: Dotted name, as it nests in the files.
        default: Built-in value; its type is the type of the setting (None means text).
        summary: What it is for, with units.
        variable: Environment variable, or None.
        local_only: True when the value belongs to a machine and may not be in Git.
        shared_only: True when the value holds for everybody and may only be in Git.
    """

    key: str
    default: str | int | float | bool | None
    summary: str
    variable: str | None = None
    local_only: bool = False
    shared_only: bool = False


SETTINGS = (
    Setting("project", None, "Project used when --project is left out", "LORA_PROJECT"),
    Setting("identity", None, "Who acts, as an e-mail address; else Git's user.email",
            "LORA_IDENTITY", local_only=True),
    Setting("dataRoot", "data", "Folder of the records, below the workspace", "LORA_DATA_ROOT"),
    Setting("assetsRoot", None, "Folder of images that are referred to in place",
            "LORA_ASSETS_ROOT", local_only=True),
    Setting("paths.modelsRoot", None, "Folder of models (weights of base modelsRoot)",
            "LORA_MODELS_ROOT", local_only=True),
    Setting("paths.checkpointsRoot", None, "Folder of checkpoints", "LORA_CHECKPOINTS_ROOT",
            local_only=True),
    Setting("paths.lorasRoot", None, "Folder of LoRA weights kept outside the store",
            "LORA_LORAS_ROOT", local_only=True),
    Setting("store.root", ".lora/store", "Folder of weights and evaluation images",
            "LORA_STORE_ROOT", local_only=True),
    Setting("store.remote", None, "Where objects are shared: s3://…, az://…, gs://… or file:///…",
            "LORA_STORE_REMOTE"),
    Setting("images.maxPixels", 64_000_000, "Largest image that is decoded, in pixels"),
    Setting("images.maxBytes", 256 * 1024 * 1024, "Largest image file that is read, in bytes"),
    Setting("images.timeoutSeconds", 30.0, "Longest time to decode one image, in seconds"),
    Setting("checks.smallWarning", 1.0,
            "Share of the checkpoint's resolution that the shorter side should have"),
    Setting("checks.smallError", 0.75, "Share of it below which an image is an error"),
    Setting("checks.edgeWidth", 2.5, "Widest of the sharpest edges, in pixels of training"),
    Setting("checks.jpegQuality", 70, "Lowest quality that a JPEG may state, 1 to 100"),
    Setting("checks.blockiness", 2.5, "How much the blocks of JPEG may show; 1 is not at all"),
    Setting("checks.aspectRatio", 3.0, "Longest shape, longer by shorter side"),
    Setting("checks.refusedAspectRatio", 8.0, "Shape beyond which an image is an error"),
    Setting("checks.imbalance", 5.0,
            "How often the most frequent tag of a group may occur for each of the rarest"),
    Setting("lock.timeoutSeconds", 10.0, "Longest wait for another writer, in seconds",
            "LORA_LOCK_TIMEOUT"),
    Setting("trainers.default", "diffusers", "Trainer used when --trainer is left out",
            "LORA_TRAINER"),
    Setting("trainers.idleTimeoutSeconds", 3600.0,
            "Longest silence of a trainer before it is stopped, in seconds; 0 is no limit"),
    Setting("trainers.diffusers.device", "auto", "auto, cpu, cuda or mps", "LORA_DEVICE",
            local_only=True),
    Setting("trainers.diffusers.threads", 0, "CPU threads; 0 lets torch choose",
            "LORA_THREADS", local_only=True),
    Setting("trainers.kohya_ss.home", None, "Checkout of kohya-ss/sd-scripts or kohya_ss",
            "KOHYA_SS_HOME", local_only=True),
    Setting("trainers.kohya_ss.python", None, "Python of the trainer's environment",
            "LORA_KOHYA_PYTHON", local_only=True),
    Setting("trainers.kohya_ss.device", "auto", "auto or cpu", "LORA_KOHYA_DEVICE",
            local_only=True),
    Setting("trainers.kohya_ss.accelerateConfig", None, "YAML file for accelerate launch",
            local_only=True),
    Setting("trainers.kohya_ss.tokenizerCache", None, "Folder of tokenizers for offline runs",
            local_only=True),
    Setting("trainers.mflux.program", None, "Path of mflux-train", "LORA_MFLUX_TRAIN",
            local_only=True),
    Setting("trainers.ai_toolkit.home", None, "Checkout of ostris/ai-toolkit",
            "LORA_AI_TOOLKIT_HOME", local_only=True),
    Setting("trainers.ai_toolkit.python", None, "Python of ai-toolkit's environment",
            local_only=True),
    Setting("trainers.ai_toolkit.device", "auto", "auto or cpu", local_only=True),
    Setting("trainers.ai_toolkit_server.baseUrl", None, "Address of an ai-toolkit server",
            "LORA_AI_TOOLKIT_URL", local_only=True),
    Setting("trainers.ai_toolkit_server.tokenVariable", "AI_TOOLKIT_AUTH",
            "Environment variable that holds the server's token", local_only=True),
    Setting("trainers.ai_toolkit_server.gpu", "0", "GPU of the server: 0, or 0,1",
            local_only=True),
    Setting("trainers.ai_toolkit_server.modelsRoot", None,
            "Folder of base models on the server's machine", local_only=True),
    Setting("trainers.runpod.keyVariable", "RUNPOD_API_KEY",
            "Environment variable that holds RunPod's key"),
    Setting("trainers.runpod.gpuType", "NVIDIA GeForce RTX 4090",
            "GPU of the pod, as RunPod's catalog names it"),
    Setting("trainers.runpod.cloud", "SECURE", "SECURE or COMMUNITY"),
    Setting("trainers.runpod.image", "ostris/aitoolkit:latest",
            "Container image with ai-toolkit's server"),
    Setting("trainers.runpod.diskGb", 80, "Disk of the pod, in GB"),
    Setting("trainers.runpod.networkVolumeId", None,
            "Network volume that is mounted at /workspace"),
    Setting("trainers.runpod.dataCenterId", None, "Data center; that of the network volume"),
    Setting("trainers.runpod.modelsRoot", None, "Folder of base models in the pod"),
    Setting("trainers.runpod.hubSecret", None,
            "Name of a secret kept at RunPod that becomes HF_TOKEN in the pod"),
    Setting("trainers.runpod.maxHours", 8.0, "After so many hours RunPod deletes the pod itself"),
    Setting("trainers.runpod.startMinutes", 20.0,
            "Longest time until the server in the pod answers, in minutes"),
    Setting("trainers.runpod.pricePerHour", 0.0, "What the pod costs, in USD; 0 is not known"),
    Setting("trainers.runpod.secondsPerStep", 2.0, "Time of one image in one step, for estimates"),
    Setting("trainers.runpod.apiUrl", "https://api.runpod.io", "Address of RunPod's interface"),
    Setting("trainers.runpod.proxyUrl", "https://{pod}-8675.proxy.runpod.net",
            "Address of the server in a pod; {pod} stands for its id"),
    Setting("trainers.pollSeconds", 5.0,
            "Shortest time between two questions to a trainer elsewhere, in seconds"),
    Setting("trainers.replicate.baseUrl", "https://api.replicate.com", "Address of Replicate",
            "REPLICATE_BASE_URL", local_only=True),
    Setting("trainers.replicate.tokenVariable", "REPLICATE_API_TOKEN",
            "Environment variable that holds Replicate's token", local_only=True),
    Setting("trainers.replicate.trainer", "ostris/flux-dev-lora-trainer",
            "Trainer at Replicate: owner/name"),
    Setting("trainers.replicate.version", None, "Version of that trainer"),
    Setting("trainers.replicate.destination", None,
            "Private model at Replicate that takes what is trained: owner/name"),
    Setting("trainers.replicate.hardware", "gpu-t4",
            "Hardware of that model when it is made; nothing runs on it here"),
    Setting("trainers.replicate.pricePerSecond", 0.001525,
            "What a second of training costs, in USD; 0 is not known"),
    Setting("trainers.replicate.secondsPerStep", 1.2, "Time of one image in one step"),
    Setting("trainers.fal.baseUrl", "https://queue.fal.run", "Address of fal's queue",
            local_only=True),
    Setting("trainers.fal.storageUrl", "https://rest.fal.ai", "Address of fal's storage",
            local_only=True),
    Setting("trainers.fal.filesUrl", "https://v3.fal.media", "Address that takes uploads",
            local_only=True),
    Setting("trainers.fal.keyVariable", "FAL_KEY", "Environment variable that holds fal's key",
            local_only=True),
    Setting("trainers.fal.endpoint", None,
            "Trainer at fal, where several train a model: fal-ai/…"),
    Setting("trainers.fal.keepDays", 7, "How long uploaded images stay at fal, in days"),
    Setting("trainers.fal.pricePerThousandSteps", 0.0,
            "What a thousand steps cost, in USD; 0 takes the price known of the endpoint"),
    Setting("trainers.fal.secondsPerStep", 0.0, "Time of a step; 0 is not known"),
    Setting("spending.maxPerRun", 10.0,
            "The most that one hosted run may be estimated to cost; 0 lets nothing be spent",
            shared_only=True),
    Setting("spending.maxPerProject", 100.0,
            "The most that all hosted runs of a project may cost together", shared_only=True),
    Setting("spending.currency", "USD", "Currency of the two, as ISO 4217 has it",
            shared_only=True),
    Setting("runs.retries", 3,
            "How often a queued run is tried again after a failure that may pass; 3 at most"),
    Setting("runs.retryWaitSeconds", 30.0,
            "Wait before the second try, in seconds; four times longer before each further one"),
    Setting("runs.keepFreeBytes", 1024**3,
            "What a run must leave free on every disk that it writes to, in bytes"),
    Setting("notify.on", "end,failure",
            "When people are told about a run: start, end, ready, failure, cancelled"),
    Setting("notify.command", None, "Program that is run with a notice as JSON on its input",
            local_only=True),
    Setting("notify.webhook", None, "Address that a notice is sent to as JSON; no secret in it"),
    Setting("notify.webhookVariable", None,
            "Environment variable that holds the webhook's address, where that is a secret",
            local_only=True),
    Setting("notify.tokenVariable", None,
            "Environment variable that holds the bearer token of this machine's webhook",
            local_only=True),
    Setting("notify.desktop", False, "Show a notice on the desktop", local_only=True),
    Setting("renderers.default", "diffusers", "Renderer used when --renderer is left out",
            "LORA_RENDERER"),
    Setting("renderers.timeoutSeconds", 1800.0,
            "Longest time for one cell or for loading the models, in seconds"),
    Setting("renderers.pollSeconds", 1.0,
            "Longest time between two questions to a renderer elsewhere, in seconds"),
    Setting("renderers.comfyui.workflow", None,
            "Workflow that is drawn with, exported in the API format; a path in the workspace"),
    Setting("renderers.comfyui.mapping", None,
            "JSON file that says which inputs of the workflow are prompt, seed, size, …"),
    Setting("renderers.comfyui.checkpoint", None,
            "Name of the base model as ComfyUI lists it, where no workflow is set"),
    Setting("renderers.comfyui.allowedNodes", "",
            "Further nodes that a workflow may use, separated by commas", shared_only=True),
    Setting("renderers.comfyui.modelsRoot", None,
            "ComfyUI's folder of models, as this machine sees it", local_only=True),
    Setting("renderers.comfyui.tokenVariable", "COMFYUI_TOKEN",
            "Environment variable with the token of a proxy before ComfyUI", local_only=True),
    Setting("renderers.a1111.baseUrl", None, "Address of an AUTOMATIC1111 or Forge server",
            "LORA_A1111_URL", local_only=True),
    Setting("renderers.a1111.lorasRoot", None,
            "The server's folder models/Lora, as this machine sees it", local_only=True),
    Setting("renderers.a1111.checkpoint", None,
            "Title of the base model as the server lists it, where its digest does not tell"),
    Setting("renderers.a1111.loginVariable", "A1111_AUTH",
            "Environment variable with user:password of --api-auth", local_only=True),
    Setting("renderers.mflux.program", None,
            "mflux's program that draws; else the one beside mflux-train", local_only=True),
    Setting("renderers.mflux.model", None,
            "mflux's name of the base model, where the checkpoint's name does not tell"),
    Setting("renderers.mflux.quantize", 0, "Bits per weight: 3, 4, 5, 6 or 8; 0 is as they are"),
    Setting("renderers.replicate.model", "black-forest-labs/flux-dev-lora",
            "Model that draws: owner/name, or owner/name:version"),
    Setting("renderers.replicate.loraUrl", None,
            "Where weights can be fetched, with {sha256} in it; else they are uploaded",
            local_only=True),
    Setting("renderers.replicate.pricePerImage", 0.0, "What one image costs; 0 is not known"),
    Setting("renderers.fal.baseUrl", "https://queue.fal.run", "Address of fal's queue",
            local_only=True),
    Setting("renderers.fal.storageUrl", "https://rest.fal.ai", "Address of fal's storage",
            local_only=True),
    Setting("renderers.fal.model", "fal-ai/flux-lora", "Endpoint that draws"),
    Setting("renderers.fal.loraUrl", None,
            "Where weights can be fetched, with {sha256} in it; else they are uploaded",
            local_only=True),
    Setting("renderers.fal.pricePerMegapixel", 0.035, "What one megapixel costs; 0 is not known"),
    Setting("renderers.fal.tokenVariable", "FAL_KEY", "Environment variable with the key",
            local_only=True),
    Setting("gate.policy", "standard", "Gate policy where the project names none",
            shared_only=True),
    Setting("comfyui.baseUrl", None, "Address of a ComfyUI server", local_only=True),
    Setting("comfyui.pythonBin", None, "Python of ComfyUI", local_only=True),
    Setting("comfyui.torchIndexUrl", None, "Package index for ComfyUI's torch", local_only=True),
)  # fmt: skip
_TYPE_WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
_BY_KEY = {setting.key: setting for setting in SETTINGS}
_SECRET_VALUE = re.compile(
    r"\b(hf_|r8_|ghp_|github_pat_|sk-|AKIA)[A-Za-z0-9_-]{8,}|[a-z+]+://[^/\s:@]+:[^/\s@]+@"
)
_SECRET_WORDS = ("token", "apikey", "api_key", "secret", "password")


@dataclass(frozen=True)
class SettingValue:
    """The value in force and where it comes from."""

    setting: Setting
    value: Any
    source: str


@dataclass(frozen=True)
class Settings:
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


def read_settings(root: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """Read all settings of a workspace.

    Raises:
        SettingsError: When a file has an unknown key, a value of the wrong type, a secret, or
            a machine's own value in the file that Git keeps.
    """
    environment = os.environ if environment is None else environment
    shared = _flatten(_read_yaml(root / PIPELINE_FILE), PIPELINE_FILE)
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


def _read_yaml(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = strict_yaml.loads(strict_json.read_bytes(path), PIPELINE_FILE)
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
