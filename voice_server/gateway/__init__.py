"""The doors: HTTP and WebSocket, one file each, all on the same stream core."""
