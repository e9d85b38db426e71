"""Run the command line as ``python -m lora_pipeline``."""

from lora_pipeline.cli.main import main

if __name__ == "__main__":
    main()
