"""Who must look at which records before a pull request is merged: lines for CODEOWNERS. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

BEGIN = "# lora: begin"
END = "# lora: end"
_OWNER = re.compile(r"@[A-Za-z0-9][A-Za-z0-9-]*(/[A-Za-z0-9._-]+)?|[^\s@#]+@[^\s@#]+\.[^\s@#]+")
# What decides which weights production uses, and what is asked before it may.
_PATHS = (
    "/config/gates/",
    "/config/pipeline.yaml",
    "/config/suites/",
    "/{data}/**/catalogs/asset-types.json",
    "/{data}/**/loras/",
    "/{data}/**/project.json",
    "/.github/",
)


def is_owner(name: str) -> bool:
    """Return whether GitHub and GitLab take a name for an owner: @user, @org/team or e-mail."""
    return _OWNER.fullmatch(name) is not None


def with_owners(text: str, owners: Sequence[str], data_root: str) -> str:
    """Return the text of a CODEOWNERS file with our lines, in the place of earlier ones.

    Args:
        text: What stands there.
        owners: Who owns.
        data_root: Folder of the records, from the top of the repository.
    """
    paths = [path.format(data=data_root.strip("/")) for path in _PATHS]
    width = max(map(len, paths))
    lines = [f"{path:<{width}}  {' '.join(owners)}" for path in paths]
    block = "\n".join([BEGIN, *lines, END]) + "\n"
    before, begin, rest = text.partition(f"{BEGIN}\n")
    if not begin:
        gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
        return text + gap + block
    _, _, after = rest.partition(f"{END}\n")
    return before + block + after
