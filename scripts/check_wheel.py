"""Build the wheel, install it into an empty environment and use it there.

Proves that schemas, defaults and the demo's files are inside, and that the core works without
any extra or development tool. Exits with 1 and the output of the step that failed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*argv: str, cwd: Path) -> str:
    """Run one step and return its output.

    Raises:
        SystemExit: When it fails.
    """
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        sys.exit(f"$ {' '.join(argv)}\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> None:
    """Build, install and use the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        run(
            sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps",
            "--wheel-dir", str(scratch), str(ROOT), cwd=scratch,
        )  # fmt: skip
        (wheel,) = scratch.glob("*.whl")
        venv.create(scratch / "env", with_pip=True)
        python = str(scratch / "env" / "bin" / "python")
        run(python, "-m", "pip", "install", "--quiet", str(wheel), cwd=scratch)
        lora = str(scratch / "env" / "bin" / "lora")
        run(lora, "--help", cwd=scratch)
        run(lora, "init", "studio", cwd=scratch)
        studio = scratch / "studio"
        run(lora, "project", "create", "neon_city", cwd=studio)
        checked = json.loads(run(lora, "validate", "--json", cwd=studio))
        presets = json.loads(run(lora, "preset", "list", "--json", cwd=studio))
        if not checked["success"] or not presets["data"]["presets"]:
            sys.exit(f"the wheel does not work: {checked} {presets}")
        sys.stdout.write(f"{wheel.name} works in an empty environment\n")


if __name__ == "__main__":
    main()
