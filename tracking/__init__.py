"""The ledger: every step of every message as a tracking event, searched and watched live. Knows no connector model."""
