"""Says hello in the language of whoever comes in."""
