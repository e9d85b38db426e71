"""A model hub as it documents itself, in a thread on loopback, that can be told to misbehave.

Repositories with commits, the question how a file is to be sent, Git LFS's batch API, commits as
lines of JSON, and files at a commit. Beside the faults of every service it can keep other bytes
than it was sent.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from tests.support.fake_web_service import Asked, FakeWebService

TOKEN = "hf_secret_of_the_test"
_LFS = (".safetensors", ".webp", ".png")
_Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Repository:
    """One repository: its files at each commit, the newest last."""

    private: bool
    commits: list[tuple[str, dict[str, bytes]]] = field(default_factory=list)

    def add(self, files: dict[str, bytes]) -> str:
        """Add a commit of all files and return its id."""
        text = f"{len(self.commits)}" + "".join(sorted(files))
        oid = hashlib.sha1(text.encode()).hexdigest()
        self.commits.append((oid, files))
        return oid

    @property
    def head(self) -> tuple[str, dict[str, bytes]]:
        return self.commits[-1]


@dataclass
class FakeHub(FakeWebService):
    """The hub.

    Attributes:
        repositories: By ``ORG/NAME``.
        objects: What was uploaded, by the digest that it was announced with.
        spoils: Ending of the files that it keeps other bytes of.
        forgets: Ending of the files that it does not commit.
        exposes: Whether it makes public what was asked for as private.
        moves: Whether somebody else commits before every commit.
    """

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    spoils: str = ""
    forgets: str = ""
    exposes: bool = False
    moves: bool = False

    def make(self, name: str, *, private: bool) -> Repository:
        """Make a repository with its first commit."""
        repository = self.repositories[name] = Repository(private)
        repository.add({".gitattributes": b""})
        return repository

    def files(self, name: str) -> dict[str, bytes]:
        """Return what a repository holds now."""
        return self.repositories[name].head[1]

    def answer(self, asked: Asked) -> _Answer:
        if asked.path.startswith("/upload/"):
            return self._upload(asked)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        if asked.path == "/api/repos/create":
            return self._create(asked.body)
        if asked.path == "/api/validate-yaml":
            return 200, {"warnings": [], "errors": []}
        return self._in_repository(asked)

    def _create(self, wishes: dict[str, Any]) -> _Answer:
        name = f"{wishes['organization']}/{wishes['name']}"
        if name in self.repositories:
            return 409, {"error": "You already created this model repo"}
        wanted = wishes.get("visibility") == "private" or wishes.get("private") is True
        self.make(name, private=wanted and not self.exposes)
        return 200, {"url": f"{self.address}/{name}"}

    def _in_repository(self, asked: Asked) -> _Answer:
        for pattern, method in self._routes():
            found = re.fullmatch(pattern, asked.path)
            if found:
                repository = self.repositories.get(found["repo"])
                if repository is None:
                    head = {"X-Error-Code": "RepoNotFound"}
                    return 404, {"error": "Repository not found"}, head
                return method(repository, asked, found)  # type: ignore[no-any-return]
        return 404, {"error": f"no such address {asked.path}"}

    def _routes(self) -> list[tuple[str, Any]]:
        repo = r"(?P<repo>[^/]+/[^/]+)"
        return [
            (rf"/api/models/{repo}(?:/revision/main)?", self._info),
            (rf"/api/models/{repo}/preupload/(?P<rev>.+)", self._preupload),
            (rf"/api/models/{repo}/commit/(?P<rev>.+)", self._commit),
            (rf"/{repo}\.git/info/lfs/objects/batch", self._batch),
            (rf"/{repo}/resolve/(?P<rev>[^/]+)/(?P<path>.+)", self._resolve),
        ]

    def _info(self, repository: Repository, _: Asked, found: re.Match[str]) -> _Answer:
        return 200, {
            "id": found["repo"],
            "sha": repository.head[0],
            "private": repository.private,
            "tags": [],
            "siblings": [{"rfilename": name} for name in repository.head[1]],
        }

    def _preupload(self, repository: Repository, asked: Asked, _: re.Match[str]) -> _Answer:
        present = repository.head[1]
        return 200, {
            "files": [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(_LFS) else "regular",
                    "shouldIgnore": False,
                    "oid": _oid(one["path"], present.get(one["path"])),
                }
                for one in asked.body["files"]
            ]
        }

    def _batch(self, _: Repository, asked: Asked, __: re.Match[str]) -> _Answer:
        objects = [
            {"oid": one["oid"], "size": one["size"]}
            | (
                {}
                if one["oid"] in self.objects
                else {"actions": {"upload": {"href": f"{self.address}/upload/{one['oid']}"}}}
            )
            for one in asked.body["objects"]
        ]
        return 200, {"transfer": "basic", "objects": objects}

    def _upload(self, asked: Asked) -> _Answer:
        self.objects[asked.path.removeprefix("/upload/")] = asked.body
        return 200, None

    def _commit(self, repository: Repository, asked: Asked, found: re.Match[str]) -> _Answer:
        header, *lines = asked.body
        if self.moves:
            repository.add({**repository.head[1], "theirs.txt": b"1"})
        if header["value"].get("parentCommit", repository.head[0]) != repository.head[0]:
            return 412, {"error": "A commit has happened since. Please refresh and try again."}
        files = dict(repository.head[1])
        for line in lines:
            value = line["value"]
            data = (
                base64.b64decode(value["content"])
                if line["key"] == "file"
                else self.objects[value["oid"]]
            )
            if self.spoils and value["path"].endswith(self.spoils):
                data = data[:-1] + bytes([data[-1] ^ 1])
            if not (self.forgets and value["path"].endswith(self.forgets)):
                files[value["path"]] = data
        oid = repository.add(files)
        address = f"{self.address}/{found['repo']}/commit/{oid}"
        return 200, {"commitUrl": address, "commitOid": oid}

    def _resolve(self, repository: Repository, _: Asked, found: re.Match[str]) -> _Answer:
        held = dict(repository.commits).get(found["rev"], {})
        if found["path"] not in held:
            head = {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": found["rev"]}
            return 404, {"error": "Entry not found"}, head
        data = held[found["path"]]
        etag = hashlib.sha256(data).hexdigest()
        return 200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": found["rev"]}


def _oid(path: str, data: bytes | None) -> str | None:
    if data is None:
        return None
    if path.endswith(_LFS):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
