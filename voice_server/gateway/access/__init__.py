"""Who may come in: whose token, from which pages, under which name of this server, and over TLS."""
