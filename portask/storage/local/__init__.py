"""Storage in files of this machine: a journal that takes every round, and segments that keep what lasts."""

from portask.storage.local.options import LocalOptions
from portask.storage.local.store import LocalStorage

__all__ = ["LocalOptions", "LocalStorage"]
