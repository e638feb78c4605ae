"""Models: which there are, how to get one, and how an engine is made of it."""
