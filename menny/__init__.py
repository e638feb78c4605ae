"""Menny: a private chatbot with a persona, run on your own machine by an own MLX engine for the Mistral family."""

__version__ = "0.1.0"
