"""The sidebar: chats, model, persona, guardrail, moderation, memory and sampling."""
