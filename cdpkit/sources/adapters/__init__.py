"""Adapters: the contracts of known sets of exports."""
