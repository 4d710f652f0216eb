"""One module for each door: what it speaks on its socket, over the tables of core/doors."""
