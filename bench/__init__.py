"""Drivers that measure what the broker reaches on this machine; `python -m bench --help` says how."""
