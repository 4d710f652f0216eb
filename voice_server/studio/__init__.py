"""Where recordings are decoded and cleaned: a process for each, which knows nothing of the gateway."""
