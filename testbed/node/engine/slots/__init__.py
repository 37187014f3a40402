"""A whole model in memory that completes several chats at once, one in each *slot*: continuous batching."""
