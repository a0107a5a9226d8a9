"""Shipped fakes and conformance suites: what a plugin of your own is tested with."""
