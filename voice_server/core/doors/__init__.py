"""One table per door: client message in, event; event, message out."""
