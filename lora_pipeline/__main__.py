"""The program: ``lora``, or ``python -m lora_pipeline``."""

import sys

from lora_pipeline.workspace import answers


def main() -> None:
    """Repeat an answer that still holds; otherwise run the command line."""
    if not answers.repeat(sys.argv[1:]):
        from lora_pipeline.cli.main import main as run  # click and all else come with it

        run()


if __name__ == "__main__":
    main()
