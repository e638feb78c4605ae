"""The same Engine over an OpenAI-compatible server."""
