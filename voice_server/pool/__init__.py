"""Workers: processes that are spawned, watched, replaced, and given sentences to render."""
