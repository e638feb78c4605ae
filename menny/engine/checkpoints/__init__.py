"""Checkpoints: a model's weights from any of its formats to memory, and back to files."""
