"""One client's conversation: text to sentences, sentences to renders, renders to ordered events. No HTTP types."""
