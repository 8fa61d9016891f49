"""A real disk whose calls can be made to fail."""

import errno

from portask.storage.local.disk import Disk


class FailingDisk(Disk):
    """Fails the calls named in `failures` on files whose path holds the given part."""

    def __init__(self):
        self.failures = {}
        self.hits = 0
        self._paths = {}

    def fail(self, method, number=errno.EIO, part=""):
        """From now on *method* raises the error *number* where *part* is in the path."""
        self.failures[method] = (number, part)

    def _check(self, method, path):
        number, part = self.failures.get(method, (0, ""))
        if number and part in path:
            self.hits += 1
            raise OSError(number, errno.errorcode[number], path)

    def open(self, path, create=False):
        self._check("create" if create else "open", path)
        descriptor = super().open(path, create)
        self._paths[descriptor] = path
        return descriptor

    def open_lock(self, path):
        self._check("open_lock", path)
        descriptor = super().open_lock(path)
        self._paths[descriptor] = path
        return descriptor

    def lock(self, descriptor):
        self._check("lock", self._paths[descriptor])
        return super().lock(descriptor)

    def close(self, descriptor):
        del self._paths[descriptor]
        super().close(descriptor)

    @property
    def open_files(self):
        return sorted(self._paths.values())

    def read(self, descriptor, size, position):
        self._check("read", self._paths[descriptor])
        return super().read(descriptor, size, position)

    def write_some(self, descriptor, data, position):
        path = self._paths[descriptor]
        if "write half" in self.failures and self.failures["write half"][1] in path:
            if len(data) > 1:
                return super().write_some(descriptor, data[: len(data) // 2], position)
            self._check("write half", path)
        self._check("write", path)
        return super().write_some(descriptor, data, position)

    def sync(self, descriptor):
        self._check("sync", self._paths[descriptor])
        super().sync(descriptor)

    def reserve(self, descriptor, size):
        self._check("reserve", self._paths[descriptor])
        super().reserve(descriptor, size)

    def rename(self, old, new):
        self._check("rename", new)
        super().rename(old, new)
        self._paths = {descriptor: new if path == old else path for descriptor, path in self._paths.items()}

    def remove(self, path):
        self._check("remove", path)
        super().remove(path)

    def sync_directory(self, path):
        self._check("sync_directory", path)
        super().sync_directory(path)
