"""Text: tokens to sentences, what is spoken of them, and when."""
