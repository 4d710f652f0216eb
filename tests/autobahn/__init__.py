"""Autobahn's suite of 500 cases against our own server class: see test_conformance.py."""
