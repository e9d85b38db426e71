"""The child that speaks to a model hub: one JSON job in, one JSON answer out.

The hub's own client runs here and nowhere else: it reads tokens, caches and settings of its own
from the environment, which this child has none of. What was sent is fetched back and compared,
because that a service took a file is no proof that it has it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

TOKEN = "LORA_HUB_TOKEN"  # noqa: S105 - the name of a variable
_BLOCK = 1024 * 1024


def main() -> int:
    """Do the job of standard input."""
    job = json.loads(sys.stdin.buffer.read())
    answer = _tried(job)
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _tried(job: dict[str, Any]) -> dict[str, Any]:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return _published(job)
    except HfHubHTTPError as error:
        return {"failed": "refused", "status": error.response.status_code, "message": str(error)}
    except (httpx2.TransportError, ConnectionError, TimeoutError) as error:
        return {"failed": "unreachable", "message": str(error) or type(error).__name__}
    except (ValueError, KeyError, TypeError, RuntimeError, OSError) as error:
        # The client answers what is no hub with whatever it stumbles over.
        cause = error.__cause__
        words = f"{error}: {cause}" if cause else str(error)
        return {"failed": "unusable", "message": words or type(error).__name__}


def _published(job: dict[str, Any]) -> dict[str, Any]:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=job["endpoint"], token=os.environ[TOKEN])
    repo, files = job["repo"], job["files"]
    info, created = _repository(api, repo, private=job["private"])
    if job["private"] and info.private is not True:
        return {"failed": "public", "message": f"{repo} is not private"}
    commit = api.create_commit(
        repo,
        [CommitOperationAdd(one["name"], one["path"]) for one in files],
        commit_message=job["message"],
        parent_commit=info.sha,  # somebody else's commit in between is not written over
    )
    return {
        "commit": commit.oid,
        "created": created,
        "private": info.private,
        "unchanged": commit.oid == info.sha,
        "wrong": _wrong(api, repo, commit.oid, files, Path(job["folder"])),
    }


def _repository(api: Any, repo: str, *, private: bool) -> tuple[Any, bool]:
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(repo), False
    except RepositoryNotFoundError as error:
        if error.response.status_code != 404:  # it says "not found" for a token that is none
            raise
    api.create_repo(repo, private=private, exist_ok=True)
    return api.model_info(repo), True


def _wrong(
    api: Any, repo: str, revision: str, files: list[dict[str, str]], folder: Path
) -> list[str]:
    """Return the files whose bytes are not there as they were sent."""
    from huggingface_hub.errors import EntryNotFoundError

    found = []
    with tempfile.TemporaryDirectory(dir=folder) as there:
        for one in files:
            try:
                path = api.hf_hub_download(repo, one["name"], revision=revision, local_dir=there)
            except EntryNotFoundError:
                found.append(f"{one['name']} is not there")
                continue
            digest = _sha256(Path(path))
            if digest != one["sha256"]:
                found.append(f"{one['name']} is {digest[:12]} there, sent was {one['sha256'][:12]}")
            Path(path).unlink()
    return found


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
