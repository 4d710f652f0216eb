"""Who speaks when: the playout-deadline scheduler and its parts."""
