"""Measurements of the engine: speed, memory, agreement and perplexity."""
