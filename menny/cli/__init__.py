"""The commands of `python -m menny`, by what they are for."""
