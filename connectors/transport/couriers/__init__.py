"""Couriers: one module for each way out. `base` is the contract; `publish` the exactly-once file protocol."""
