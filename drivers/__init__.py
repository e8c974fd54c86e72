"""Radios and base stations: links, one small module per family, and the simulators."""
