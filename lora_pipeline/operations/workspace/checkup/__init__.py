"""What ``lora doctor`` looks at beyond the machine and the state of the workspace."""
