"""What holds for every test: no configuration of the person who runs it leaks in."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _nobody_in_particular(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        for name in list(os.environ):
            if name.startswith(("LORA_", "GIT_")) or name in {"COLUMNS", "KOHYA_SS_HOME"}:
                patch.delenv(name)
        yield
