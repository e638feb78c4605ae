"""Moderation: guardrails that every persona heeds, self-reflection that judges, and measures of both."""
