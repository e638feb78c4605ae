"""Tokenizers: every vocabulary that Mistral models come with, behind one Tokenizer."""
