"""A model on several machines: a pipeline of stages over a ring."""
