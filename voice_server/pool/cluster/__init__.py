"""The way to workers on other machines. The bridge and membership know Ray; far and depot live on the nodes.

The gateway itself imports nothing of this: its end is `pool/remote.py`.
"""
