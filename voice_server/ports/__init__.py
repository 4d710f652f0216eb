"""Conversations with the process that started us, through its pipes: the bridges of other runtimes."""
