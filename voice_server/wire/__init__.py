"""What the gateway and its workers say to each other.

Shared with workers that run in foreign virtual environments: standard library and msgpack only, Python 3.9 syntax,
no sockets, no clocks.
"""
