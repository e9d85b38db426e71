"""Recipes, plans and trainers: how a dataset manifest becomes LoRA weights."""
