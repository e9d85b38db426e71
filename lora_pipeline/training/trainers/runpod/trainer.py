"""RunPod: a pod with ai-toolkit's web server, rented for one job and given back after it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from msgspec.structs import replace

from lora_pipeline.training.hosted.http_client import Manner, ServiceClient
from lora_pipeline.training.hosted.interface import JobEstimate
from lora_pipeline.training.hosted.rented import estimate_rented
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.ai_toolkit.api import AiToolkitService
from lora_pipeline.training.trainers.ai_toolkit.server import AiToolkitServer, about_the_base
from lora_pipeline.training.trainers.interface import Problem
from lora_pipeline.training.trainers.runpod.api import RunPodApi
from lora_pipeline.training.trainers.runpod.pod import PodWishes, RunPodService
from lora_pipeline.workspace.settings import Settings

KEY = "trainers.runpod"
POD_FILE = "pod.json"
_PORT = 8675
_VOLUME = "/workspace"
# What RunPod's ids, images and names are made of; nothing of it can end a text or begin another.
_PLAIN = re.compile(r"[A-Za-z0-9][\w .:/@+-]{0,200}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{1,60}")


class RunPod(AiToolkitServer):
    """The adapter to pods of RunPod."""

    key = KEY
    name = "runpod"
    summary = "ai-toolkit's server in a pod of RunPod's, rented for one run"

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; RunPod itself is not asked."""
        for name in ("apiUrl", "proxyUrl"):
            address = settings.require_text(f"{KEY}.{name}")
            parts = urlsplit(address.replace("{pod}", "pod"))
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
                yield Problem(f"{KEY}.{name} is {address!r}, no address", f"leave {KEY}.{name} out")
        if settings.require_text(f"{KEY}.cloud") not in {"SECURE", "COMMUNITY"}:
            yield Problem(
                f"{KEY}.cloud is {settings.text(f'{KEY}.cloud')!r}", "it is SECURE or COMMUNITY"
            )
        for name in ("image", "gpuType", "networkVolumeId", "dataCenterId", "hubSecret"):
            value = settings.text(f"{KEY}.{name}")
            if value is not None and not _PLAIN.fullmatch(value):
                yield Problem(
                    f"{KEY}.{name} is {value!r}, which RunPod cannot know", "see RunPod's console"
                )
        for name in ("maxHours", "startMinutes", "diskGb"):
            if settings.number(f"{KEY}.{name}") <= 0:
                yield Problem(f"{KEY}.{name} must be more than 0", "leave it out for the default")
        yield from _key_problems(settings.require_text(f"{KEY}.keyVariable"))

    def version(self, settings: Settings) -> str:
        """Return the image that trains."""
        return settings.require_text(f"{KEY}.image")

    def address(self, settings: Settings) -> str:
        """Return RunPod's address."""
        return settings.require_text(f"{KEY}.apiUrl").rstrip("/")

    def token_variable(self, settings: Settings) -> str:
        """Return the name of the environment variable that holds RunPod's key."""
        return settings.require_text(f"{KEY}.keyVariable")

    def about(self, address: str, base: str) -> Iterator[str]:
        """Yield what a careful person wants to know of a pod."""
        yield f"{urlsplit(address).hostname} rents a pod, which is deleted when the run has ended"
        yield "whoever knows the pod's address can fetch what its server holds, without the token"
        yield about_the_base(base)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be rented and sent.

        Raises:
            RecipeInvalidError: When ai-toolkit cannot do what was asked for, or nothing says
                where the base model is in the pod.
        """
        plan = super().prepare(request, settings, version)
        pod = {
            **_wanted(settings),
            "name": self.job_name(request.run_id),
            "terminateAfterHours": settings.number(f"{KEY}.maxHours"),
        }
        text = json.dumps(pod, indent=2, ensure_ascii=False) + "\n"
        return replace(plan, files=(*plan.files, PlannedFile(POD_FILE, text)))

    def estimate(self, plan: Plan, recipe: Recipe, settings: Settings) -> JobEstimate:
        """Return what the pod is expected to cost."""
        work = plan.total_steps * recipe.batch_size * recipe.gradient_accumulation
        return estimate_rented(settings, KEY, work, currency="USD")

    def discover(self, settings: Settings) -> Mapping[str, str]:
        """Ask RunPod what the GPU costs.

        Raises:
            ServiceError: When it cannot be asked, or has no such GPU.
        """
        if settings.number(f"{KEY}.pricePerHour") > 0 or self.health(settings) is not None:
            return {}
        with self.service(settings) as service:
            price = service.price_per_hour()
        return {f"{KEY}.pricePerHour": f"{price:g}"} if price else {}

    def service(self, settings: Settings) -> RunPodService:
        """Open a connection.

        Raises:
            TrainerUnavailableError: When something is not set up here.
            ExtraMissingError: When the extra ``hosted`` is not installed.
        """
        self.require_set_up(settings)
        variable = self.token_variable(settings)
        secret = os.environ[variable]
        pause = min(1.0, settings.number("trainers.pollSeconds"))
        client = ServiceClient(
            self.address(settings),
            token=secret,
            variable=variable,
            manner=Manner(hint=f"see the settings of {KEY}"),
            first_wait_s=pause,
        )
        proxy = settings.require_text(f"{KEY}.proxyUrl")

        def server_of(pod_id: str, name: str) -> AiToolkitService:
            inner = ServiceClient(
                proxy.replace("{pod}", pod_id),
                token=pod_token(secret, name),
                variable=variable,
                first_wait_s=pause,
            )
            return AiToolkitService(inner, gpu="0", pause_s=pause)

        return RunPodService(
            RunPodApi(client),
            PodWishes(
                _wanted(settings),
                settings.number(f"{KEY}.maxHours"),
                settings.number(f"{KEY}.startMinutes"),
            ),
            token_of=lambda name: pod_token(secret, name),
            server_of=server_of,
            pause_s=pause,
        )


RUNPOD = RunPod()


def pod_token(key: str, name: str) -> str:
    """Return what lets us into the pod of a job: follows from our key, and is written nowhere.

    Another machine that has the key finds the pod by its name and gets in; who has the token
    learns nothing of the key.
    """
    return hmac.new(key.encode(), f"lora-pipeline pod {name}".encode(), hashlib.sha256).hexdigest()


def _wanted(settings: Settings) -> dict[str, Any]:
    volume = settings.text(f"{KEY}.networkVolumeId")
    place = settings.text(f"{KEY}.dataCenterId")
    secret = settings.text(f"{KEY}.hubSecret")
    environment = {"NODE_ENV": "production"}
    if secret:
        # RunPod puts its own secret here; the value never passes through us.
        environment["HF_TOKEN"] = f"{{{{ RUNPOD_SECRET_{secret} }}}}"
    if volume:
        environment["HF_HOME"] = f"{_VOLUME}/huggingface"
    return {
        "imageName": settings.require_text(f"{KEY}.image"),
        "gpuTypeId": settings.require_text(f"{KEY}.gpuType"),
        "gpuCount": 1,
        "cloudType": settings.require_text(f"{KEY}.cloud"),
        "containerDiskInGb": int(settings.number(f"{KEY}.diskGb")),
        "ports": f"{_PORT}/http",
        "startSsh": False,
        "volumeMountPath": _VOLUME,
        **({"networkVolumeId": volume} if volume else {}),
        **({"dataCenterId": place} if place else {}),
        "env": [{"key": key, "value": value} for key, value in sorted(environment.items())],
    }


def _key_problems(variable: str) -> Iterator[Problem]:
    if not _VARIABLE.fullmatch(variable):
        yield Problem(f"{KEY}.keyVariable is no name of a variable", "give the name, never the key")
    elif not os.environ.get(variable):
        yield Problem(
            f"the environment variable {variable} does not hold RunPod's key",
            f"export {variable}=…, a key of RunPod's console that may make and delete pods",
        )
