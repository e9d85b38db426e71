"""What a child may see of our environment, and how a module of ours runs in one."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent.parent
# Tokens and keys are not in it: a trainer that needs one gets it by name.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child: the allow-list, UTF-8, and ``extra``."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}
    return environment | dict(extra or {})


def own_program(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package in a child.

    ``-P`` keeps the current folder out of the module search: it may be a workspace, and what
    stands in a workspace is data, never code.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def own_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for ``own_program``: the child finds this very package."""
    roots = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return child_environment({"PYTHONPATH": os.pathsep.join(roots)} | dict(extra or {}))
