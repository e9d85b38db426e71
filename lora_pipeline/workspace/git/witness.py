"""What Git bears witness to: who signed a commit, and what the main line held when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import msgspec

from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git.call import call
from lora_pipeline.workspace.git.history import name_in

_ADDRESS = re.compile(r"<([^<>]*)>")


class Signature(msgspec.Struct, frozen=True):
    """What Git says of the signature of a commit.

    Attributes:
        state: ``good``; ``none``; ``bad``; or ``unknown`` where its key is not known here.
        signer: E-mail address of who signed, when it is good.
    """

    state: str
    signer: str = ""


class Version(msgspec.Struct, frozen=True):
    """A content that a file had on the main line.

    Attributes:
        commit: The commit that brought it to the main line.
        before: The commit of the main line before that, or empty for the first.
        blob: The content.
    """

    commit: str
    before: str
    blob: str


def signatures(folder: Path, commits: Iterable[str]) -> dict[str, Signature]:
    """Return what Git says of the signatures of commits.

    A signature is good only when its key is trusted here (GnuPG's trust, or SSH's
    ``gpg.ssh.allowedSignersFile``); Git asks those programs only where there is a signature.
    """
    asked = sorted(set(commits))
    root = git.repository_root(folder)
    if not asked or root is None:
        return {}
    # The wording of the answer is a format of Git's: %G? is one letter, %GS the signer.
    done = call(root, "show", "--no-patch", "--format=%H%x00%G?%x00%GS%x01", *asked, "--")
    if done.status != 0:
        return dict.fromkeys(asked, Signature("unknown"))
    found: dict[str, Signature] = {}
    for line in done.stdout.split("\x01"):
        parts = line.strip("\n").split("\0")
        if len(parts) == 3:
            found[parts[0]] = _signature(parts[1], parts[2])
    return found


def versions_on_mainline(path: Path) -> list[Version]:
    """Return every content that a file had on the main line of the present branch, newest first."""
    root = git.repository_root(path.parent)
    if root is None or git.head(root) is None:
        return []
    done = call(
        root, "log", "--first-parent", "-m", "--format=%x00%H %P", "--raw", "--no-abbrev",
        "--no-renames", "-z", "--", name_in(root, path),
    )  # fmt: skip
    if done.status != 0:
        return []
    found: list[Version] = []
    commit, before = "", ""
    for word in done.stdout.split("\0"):
        text = word.strip("\n")
        if text.startswith(":"):
            found.append(Version(commit, before, text.split()[3]))
        elif re.match(r"[0-9a-f]{40,64}( |$)", text):
            commit, _, parents = text.partition(" ")
            before = parents.partition(" ")[0]
    return found


def contains(folder: Path, commit: str) -> bool:
    """Return whether the present branch contains a commit."""
    return call(folder, "merge-base", "--is-ancestor", commit, "HEAD").status == 0


def people_ever_joined(folder: Path) -> list[frozenset[str]]:
    """Return the addresses that any ``.mailmap`` of the history, or the present one, joined.

    A line that is taken out makes two people of one, so what was joined once stays joined.
    """
    root = git.repository_root(folder)
    if root is None:
        return []
    past = git.past_of(root, [":(top,literal).mailmap"]) or {}
    texts = [
        git.blob_bytes(root, blob).decode("utf-8", "replace")
        for one in past.values()
        for blob in one.blobs
    ]
    present = root / ".mailmap"
    if present.is_file():
        texts.append(present.read_text(encoding="utf-8", errors="replace"))
    lines = {line.partition("#")[0] for text in texts for line in text.splitlines()}
    joined = (frozenset(one.strip() for one in _ADDRESS.findall(line)) for line in sorted(lines))
    return [one for one in joined if len(one) > 1]


def _signature(letter: str, signer: str) -> Signature:
    if letter == "G":
        addresses = _ADDRESS.findall(signer)
        return Signature("good", (addresses[-1] if addresses else signer).strip())
    if letter == "N":
        return Signature("none")
    # E: the key is not here. U: it is, and nobody said that it is whose it says.
    return Signature("unknown" if letter in ("E", "U") else "bad")
