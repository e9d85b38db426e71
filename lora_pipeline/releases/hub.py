"""Sending files to a repository of a model hub, and proving that they are there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import process
from lora_pipeline.foundation.child_environment import own_environment, own_program
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    IntegrityError,
    PipelineError,
    ServiceError,
    ServiceRefusedError,
    ServiceUnreachableError,
    SettingsError,
    StateError,
)
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.loopback import is_confidential
from lora_pipeline.foundation.redaction import redacted
from lora_pipeline.releases.hub_worker import TOKEN
from lora_pipeline.workspace.settings import Settings

_WORKER = "lora_pipeline.releases.hub_worker"
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_LONGEST = 300
_MOVED = (409, 412)


class Sent(msgspec.Struct, frozen=True):
    """A file that leaves.

    Attributes:
        name: Its path in the repository.
        path: Where it is.
        sha256: Its digest.
    """

    name: str
    path: Path
    sha256: str


class Published(msgspec.Struct, frozen=True):
    """What became of it.

    Attributes:
        commit: The commit that holds it.
        created: Whether the repository was made for it.
        private: Whether the repository is private.
        unchanged: Whether everything was there already.
    """

    commit: str
    created: bool
    private: bool
    unchanged: bool


def require_repository_name(repo: str) -> str:
    """Return the name of a repository, ``ORG/NAME``.

    Raises:
        ArgumentInvalidError: When it is none.
    """
    if not _REPOSITORY.fullmatch(repo) or ".." in repo or "--" in repo:
        raise ArgumentInvalidError(f"{repo!r} is no repository", hint="--repo ORG/NAME")
    return repo


def hub_address(settings: Settings) -> str:
    """Return the address of the hub.

    Raises:
        SettingsError: When the token would travel in clear text.
    """
    address = (settings.text("publish.endpoint") or "").rstrip("/")
    if not is_confidential(address):
        raise SettingsError(
            f"publish.endpoint is {address!r}: an https:// address (http:// on this machine alone)"
        )
    return address


def publish_files(
    settings: Settings,
    repo: str,
    files: Sequence[Sent],
    *,
    message: str,
    folder: Path,
    public: bool,
) -> Published:
    """Send files in one commit and compare what is there afterwards; again, it completes it.

    Args:
        settings: Tell address, token and patience.
        repo: ``ORG/NAME``; made when it is not there.
        files: What is sent.
        message: Subject of the commit.
        folder: Takes what is fetched back, for as long as it is compared.
        public: Whether others may read it; else nothing is sent to a repository that is not
            private.

    Raises:
        ExtraMissingError: When the extra is not installed.
        SettingsError: When there is no token.
        ServiceError: When the hub does not do it; what was sent already is not sent again.
        StateError: When the repository is public, or somebody else changed it meanwhile.
        IntegrityError: When other bytes are there than were sent.
    """
    require_extra("publish", ("huggingface_hub",))
    address, token = hub_address(settings), _token(settings)
    job = {
        "endpoint": address,
        "repo": repo,
        "files": [{"name": one.name, "path": str(one.path), "sha256": one.sha256} for one in files],
        "message": message,
        "folder": str(folder),
        "private": not public,
    }
    done = process.run(
        own_program(_WORKER),
        # No cache, token or switch of the client's own: only what stands here.
        environment=own_environment(
            {
                TOKEN: token,
                "HF_HOME": str(folder / "hub"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
                "HF_HUB_DISABLE_UPDATE_CHECK": "1",
                # One way to send, which is the one that is tested, whatever is installed.
                "HF_HUB_DISABLE_XET": "1",
            }
        ),
        timeout_s=settings.number("publish.timeoutSeconds"),
        stdin=json.dumps(job).encode(),
    )
    answer = _answer(done)
    if "failed" in answer:
        raise _failure(answer, repo, address, token)
    if answer["wrong"]:
        raise IntegrityError(
            f"{repo} does not hold what was sent: {answer['wrong'][0]}",
            hint="look at the repository; the same command sends it again",
        )
    return Published(
        answer["commit"], answer["created"], bool(answer["private"]), answer["unchanged"]
    )


def _token(settings: Settings) -> str:
    variable = settings.text("publish.tokenVariable") or ""
    token = os.environ.get(variable, "").strip() if variable else ""
    if not token:
        raise SettingsError(
            f"the environment variable {variable or 'publish.tokenVariable'} holds no token",
            hint=f"export {variable or 'HF_TOKEN'}=… (a token that may write to the repository)",
        )
    return token


def _answer(done: process.Completed) -> dict[str, Any]:
    try:
        found = json.loads(done.output.decode("utf-8", "replace").strip().splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        found = {"failed": "unusable", "message": f"the client ended: {last[0]}"}
    return found if isinstance(found, dict) else {"failed": "unusable", "message": "no answer"}


def _failure(answer: dict[str, Any], repo: str, address: str, token: str) -> PipelineError:
    words = redacted(" ".join(str(answer["message"]).split())[:_LONGEST], (token,))
    kind, status = answer["failed"], answer.get("status", 0)
    if kind == "public":
        return StateError(
            f"{repo} is not private; nothing was sent",
            hint="name a private repository, or say --public",
        )
    if kind == "unreachable" or status == 429 or status >= 500:
        return ServiceUnreachableError(
            f"{address} gave no usable answer: {words}", hint="the same command goes on"
        )
    if status in _MOVED:
        return StateError(
            f"{repo} was changed by somebody else meanwhile", hint="the same command tries again"
        )
    if status in (401, 403, 404):
        return ServiceRefusedError(
            f"{address} does not let this token write to {repo} ({status}): {words}",
            hint="check the token and the name of the repository",
        )
    if kind == "refused":
        return ServiceRefusedError(f"{address} refused ({status}): {words}")
    return ServiceError(f"{address} did not answer as a hub does: {words}")
