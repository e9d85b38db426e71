"""What can be measured on a grid beside its effect, without models and with them."""
