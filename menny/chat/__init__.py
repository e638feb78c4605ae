"""A conversation, and the way from a user's text to a stored, streamed reply."""
