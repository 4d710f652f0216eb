"""The pure half of the gateway: no clocks, no sockets, no threads. Time is always an argument."""
