"""ai-toolkit on this or another machine, reached through the HTTP interface of its web server.

The server's own token protects less than it seems to: files below ``/api/files`` and
``/api/img`` are open to whoever reaches the port. It belongs behind a tunnel or a firewall.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.loopback import is_loopback
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.hosted.http_client import EXTRA, MODULES, ServiceClient
from lora_pipeline.training.hosted.interface import HostedService, HostedTrainer, expected_output
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest, Upload
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.ai_toolkit import config as ai_toolkit_config
from lora_pipeline.training.trainers.ai_toolkit.api import (
    DATASETS_FOLDER,
    JOB_FILE,
    TRAINING_FOLDER,
    AiToolkitService,
)
from lora_pipeline.training.trainers.ai_toolkit.models import FAMILIES, choose_model
from lora_pipeline.training.trainers.ai_toolkit.trainer import (
    about_the_model,
    merged,
    stated_arch,
)
from lora_pipeline.training.trainers.ai_toolkit.user_file import read_user_file
from lora_pipeline.training.trainers.interface import Problem, TrainingProgress
from lora_pipeline.training.trainers.progress_bar import read_bar
from lora_pipeline.workspace.settings import LOCAL_FILE, Settings

_KEY = "trainers.ai_toolkit_server"
_GPU = re.compile(r"\d+(,\d+)*")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{1,60}")
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_NOWHERE = "http://ai-toolkit.invalid:8675"


class AiToolkitServer(HostedTrainer):
    """The adapter to a running ai-toolkit server; base of those that rent a machine for one.

    Attributes:
        key: Where its settings stand.
        kind: Which of ai-toolkit's processes a job is; its web server follows one kind only.
    """

    key, kind = _KEY, "diffusion_trainer"
    name = "ai_toolkit_server"
    summary = "ai-toolkit's server on this or another machine, over HTTP"
    architectures = FAMILIES
    loads_adapters = True
    extra = EXTRA
    modules: tuple[str, ...] = MODULES

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; the server itself is not asked."""
        base = settings.text(f"{_KEY}.baseUrl")
        where = f"set {_KEY}.baseUrl in {LOCAL_FILE}, such as http://127.0.0.1:8675"
        if base is None:
            yield Problem("no server is named", where)
            return
        parts = urlsplit(base)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            yield Problem(f"{_KEY}.baseUrl is {base!r}, no address", where)
        elif parts.username or parts.password or parts.query or parts.fragment:
            yield Problem(f"{_KEY}.baseUrl holds more than host, port and path", where)
        if not _GPU.fullmatch(_gpu(settings)):
            yield Problem(f"{_KEY}.gpu is {_gpu(settings)!r}", "0, or 0,1 for two of them")
        variable = _variable(settings)
        if not _NAME.fullmatch(variable):
            yield Problem(
                f"{_KEY}.tokenVariable is no name of a variable", "give the name, never the token"
            )
        if not is_loopback(base) and not os.environ.get(variable):
            yield Problem(
                f"the environment variable {variable} does not hold the server's token",
                f"export {variable}=…, the token that the server was started with",
            )

    def version(self, settings: Settings) -> str:  # noqa: ARG002
        """Return ``unknown``: the server does not tell its version."""
        return "unknown"

    def address(self, settings: Settings) -> str:
        """Return the server's address, or one that leads nowhere while none is set."""
        return (settings.text(f"{_KEY}.baseUrl") or _NOWHERE).rstrip("/")

    def service(self, settings: Settings) -> HostedService:
        """Open a connection.

        Raises:
            TrainerUnavailableError: When address, GPU or token are not set here.
            ExtraMissingError: When the extra ``hosted`` is not installed.
        """
        self.require_set_up(settings)
        variable = self.token_variable(settings)
        pause = min(1.0, settings.number("trainers.pollSeconds"))
        client = ServiceClient(
            self.address(settings),
            token=os.environ.get(variable, ""),
            variable=variable,
            first_wait_s=pause,
        )
        return AiToolkitService(client, gpu=_gpu(settings), pause_s=pause)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be sent.

        Raises:
            RecipeInvalidError: When ai-toolkit cannot do what was asked for, or nothing says
                where the base model is at the server.
        """
        theirs = read_user_file(request.config_file)
        model = choose_model(request.checkpoint, stated_arch(theirs))
        ai_toolkit_config.require_trainable(request, model)
        _require_no_masks(request)
        name = self.job_name(request.run_id)
        base, adapter = _models_there(
            request, theirs, self.models_root(settings), self.models_setting
        )
        counts = sorted({image.repeats for image in request.data.images})
        # Names that the server keeps as they are: lower case, digits and underscores.
        data_sets = {times: f"{re.sub('[^a-z0-9]', '_', name)}_{times}x" for times in counts}
        ours = ai_toolkit_config.job_document(
            request,
            model,
            ai_toolkit_config.Places(
                kind=self.kind,
                name=name,
                training_folder=TRAINING_FOLDER,
                base=base,
                adapter=adapter,
                datasets=[
                    {"folder_path": f"{DATASETS_FOLDER}/{data_sets[times]}", "num_repeats": times}
                    for times in counts
                ],
            ),
        )
        document, warnings = merged(
            ours, theirs, request.config_file,
            taken=("model.name_or_path", "model.assistant_lora_path"),
        )  # fmt: skip
        ai_toolkit_config.require_plain_texts(document)
        address = self.address(settings)
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(
                PlannedFile(JOB_FILE, json.dumps(document, indent=2, ensure_ascii=False) + "\n"),
            ),
            argv=(),
            cwd=request.run_folder,
            environment={},
            secrets=(self.token_variable(settings),),
            expected_output=expected_output(request.output_name),
            total_steps=total_steps(request.recipe, request.data.images_per_epoch),
            warnings=(
                *warnings,
                *about_the_model(request, model, adapter is not None),
                *self.about(address, base),
            ),
            service=address,
            uploads=tuple(_uploads(request, data_sets)),
        )

    @property
    def models_setting(self) -> str:
        """Name of the setting that says where base models are."""
        return f"{self.key}.modelsRoot"

    def models_root(self, settings: Settings) -> str:
        """Return where base models are at the server, or an empty text."""
        return settings.text(self.models_setting) or ""

    def token_variable(self, settings: Settings) -> str:
        """Return the name of the environment variable that holds what lets us in."""
        return _variable(settings)

    def about(self, address: str, base: str) -> Iterator[str]:
        """Yield what a careful person wants to know of the place where work would go."""
        yield from _about_the_server(address)
        yield about_the_base(base)

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a line of the job's log tells."""
        return read_bar(line)


AI_TOOLKIT_SERVER = AiToolkitServer()


def _gpu(settings: Settings) -> str:
    return settings.text(f"{_KEY}.gpu") or "0"


def _variable(settings: Settings) -> str:
    return settings.text(f"{_KEY}.tokenVariable") or "AI_TOOLKIT_AUTH"


def _models_there(
    request: TrainingRequest, theirs: dict[str, Any], root: str, setting: str
) -> tuple[str, str | None]:
    """Return where base model and training adapter are at the server; neither is uploaded."""
    stated = theirs.get("model")
    stated = stated if isinstance(stated, dict) else {}
    root = root.rstrip("/\\")
    base = stated.get("name_or_path") or (root and f"{root}/{request.checkpoint.path.name}")
    if not base:
        raise RecipeInvalidError(
            f"nothing says where checkpoint {request.checkpoint.checkpoint_id} is at the server",
            hint=f"set {setting} to the folder there that holds "
            f"{request.checkpoint.path.name}, or --trainer-config FILE with "
            "model: {name_or_path: …}",
        )
    adapter = request.checkpoint.training_adapter
    there = stated.get("assistant_lora_path")
    if adapter is not None and not there:
        if not root:
            raise RecipeInvalidError(
                f"nothing says where the training adapter {adapter.name} is at the server",
                hint=f"set {setting}, or --trainer-config FILE with "
                "model: {assistant_lora_path: …}",
            )
        there = f"{root}/{adapter.name}"
    return str(base), str(there) if there else None


def _require_no_masks(request: TrainingRequest) -> None:
    if request.data.masked:
        raise RecipeInvalidError(
            f"masks are not sent to the server, and dataset {request.data.dataset_id} has them",
            hint=f"lora dataset build {request.data.dataset_id} --alpha background, "
            "or lora train --trainer ai_toolkit",
        )


def about_the_base(base: str) -> str:
    """Return what is not known of a base model that is elsewhere."""
    if _HUB.fullmatch(base):
        return f"the server fetches {base} from the hub: which model that is, is not proven"
    return f"the server's {base} is not compared with the recorded checkpoint"


def _about_the_server(address: str) -> Iterator[str]:
    parts = urlsplit(address)
    if parts.scheme == "http" and not is_loopback(address):
        yield f"{parts.hostname} is reached without encryption: images and token can be read"
    if not is_loopback(address):
        yield "whoever reaches the server's port can fetch what it holds, also without the token"


def _uploads(request: TrainingRequest, data_sets: dict[int, str]) -> Iterator[Upload]:
    for image in request.data.images:
        source, data_set = request.data.folder / image.name, data_sets[image.repeats]
        yield Upload(source, f"{data_set}/{image.name}")
        yield Upload(source.with_suffix(".txt"), f"{data_set}/{source.stem}.txt")
