"""The chat page: the conversation, its messages and the reply being written."""
