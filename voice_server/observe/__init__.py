"""What operators see of a server: metrics, traces, and a watch over the event loop."""
