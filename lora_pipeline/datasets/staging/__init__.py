"""The folder that trainers read, and what it is linked from."""
