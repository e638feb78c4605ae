"""Chats as files: JSON and Markdown, ChatGPT's export, and the archive of everything."""
