"""The embedded trainer: diffusers and peft, in a child process of our own environment."""
