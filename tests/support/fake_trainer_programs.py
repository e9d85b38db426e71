"""Checkouts and environments of foreign trainers, small and offline, but real programs.

``make_sd_scripts`` and ``make_mflux`` build what ``lora setup`` would have installed: an
environment with its own Python, and programs in it that behave as the originals do
(``programs/``). Nothing of them is imported by the tests.
"""

from __future__ import annotations

import shutil
import venv
from dataclasses import dataclass
from pathlib import Path

from lora_pipeline.training.trainers.ai_toolkit.home import MODULES as TOOLKIT_MODULES
from lora_pipeline.training.trainers.kohya.home import MODULES

_PROGRAMS = Path(__file__).with_name("programs")
_SCRIPTS = (
    "train_network.py", "sdxl_train_network.py", "sd3_train_network.py", "flux_train_network.py",
    "lumina_train_network.py", "hunyuan_image_train_network.py", "anima_train_network.py",
)  # fmt: skip
_TOKENIZERS = ("openai_clip-vit-large-patch14", "laion_CLIP-ViT-bigG-14-laion2B-39B-b160k")


@dataclass(frozen=True)
class SdScripts:
    """A checkout of sd-scripts with an environment.

    Attributes:
        home: The checkout.
        python: Python of its environment.
        tokenizers: Folder for ``trainers.kohya_ss.tokenizerCache``.
    """

    home: Path
    python: Path
    tokenizers: Path

    def fail_with(self, mode: str) -> None:
        """Make every script fail in one of the ways that it knows."""
        (self.home / "fail-with").write_text(mode, encoding="utf-8")


@dataclass(frozen=True)
class Mflux:
    """An environment with mflux-train.

    Attributes:
        program: The executable.
    """

    program: Path

    def fail_with(self, mode: str) -> None:
        """Make the program fail in one of the ways that it knows."""
        (self.program.parent / "fail-with").write_text(mode, encoding="utf-8")


def make_sd_scripts(folder: Path, *, modules: tuple[str, ...] = MODULES) -> SdScripts:
    """Build a checkout of sd-scripts with an environment that holds ``modules``."""
    home = make_checkout(folder)
    packages = make_environment(home / "venv")
    for name in modules:
        (packages / name).mkdir()
        (packages / name / "__init__.py").touch()
    if "accelerate" in modules:
        commands = packages / "accelerate" / "commands"
        commands.mkdir()
        (commands / "__init__.py").touch()
        shutil.copyfile(_PROGRAMS / "accelerate_launch.py", commands / "launch.py")
    tokenizers = folder / "tokenizers"
    for name in _TOKENIZERS:
        (tokenizers / name).mkdir(parents=True)
    return SdScripts(home, home / "venv" / "bin" / "python", tokenizers)


def make_checkout(folder: Path) -> Path:
    """Build a checkout of sd-scripts without an environment."""
    home = folder / "sd-scripts"
    (home / "library").mkdir(parents=True)
    (home / "networks").mkdir()
    for name in _SCRIPTS:
        shutil.copyfile(_PROGRAMS / "sd_scripts.py", home / name)
    (home / "requirements.txt").write_text("", encoding="utf-8")
    return home


def make_ai_toolkit(folder: Path) -> Path:
    """Build a checkout of ai-toolkit with an environment that finds what it imports."""
    home = folder / "ai-toolkit"
    (home / "toolkit").mkdir(parents=True)
    (home / "toolkit" / "config_modules.py").touch()
    (home / "run.py").touch()
    (home / "version.py").write_text('VERSION = "0.12.26"\n', encoding="utf-8")
    (home / "requirements.txt").touch()
    packages = make_environment(home / "venv")
    for name in TOOLKIT_MODULES:
        (packages / name).mkdir()
        (packages / name / "__init__.py").touch()
    return home


def make_mflux(folder: Path, *, version: str = "0.24.0") -> Mflux:
    """Build an environment with mflux-train of a version."""
    packages = make_environment(folder / "venv")
    about = packages / f"mflux-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: mflux\nVersion: {version}\n", encoding="utf-8"
    )
    program = folder / "venv" / "bin" / "mflux-train"
    source = (_PROGRAMS / "mflux_train.py").read_text(encoding="utf-8")
    program.write_text(f"#!{program.parent / 'python'}\n{source}", encoding="utf-8")
    program.chmod(0o755)
    return Mflux(program)


def make_environment(folder: Path) -> Path:
    """Make a virtual environment without pip and return its folder of packages."""
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    return packages
