"""Reads: what the pages show, as frozen values. Nothing here writes; nothing counts or scans without a bound."""
