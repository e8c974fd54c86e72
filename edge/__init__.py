"""The daemon: what a store sells at which price, what its labels show, and how HQ, shelf and lanes agree on it."""

__version__ = "0.1.0"
