"""The verbs: plain functions of a workspace and arguments that return a Result."""
