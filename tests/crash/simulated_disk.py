"""A disk in memory that remembers what was synced, and can be cut off from power at any moment.

Every change is recorded as an operation, together with marks that the test sets. Applied again up to
any point, the operations give the files as they were then; `crash` turns those into a state that a
real disk might be found in after a loss of power: of what was not synced, any part may be there.
"""

from __future__ import annotations

import errno
import os
from posixpath import basename, join

from portask.storage.local.disk import Disk

PAGE = 512
STYLES = ("none", "all", "writes", "pages", "names", "any")
"""What survives of what was not synced: nothing, everything, whole writes, single pages, only names, or a mixture."""


class Inode:
    """One file: what readers see, what is durable, and what happened in between."""

    def __init__(self, data=b""):
        self.data = bytearray(data)
        self.durable = bytes(data)
        self.pending = []

    def apply(self, operation):
        kind, *rest = operation
        apply_to(self.data, kind, *rest)
        self.pending.append(operation)

    def sync(self):
        self.durable = bytes(self.data)
        self.pending = []


def apply_to(data, kind, position, content=b""):
    if kind == "write":
        if len(data) < position:
            data.extend(bytes(position - len(data)))
        data[position : position + len(content)] = content
    elif kind == "truncate":
        del data[position:]
        data.extend(bytes(position - len(data)))
    else:
        data.extend(bytes(max(0, position - len(data))))


class Files:
    """A tree of files. Directories are paths with a table of names each."""

    def __init__(self):
        self.inodes = {}
        self.names = {"/": {}}
        self.durable_names = {"/": {}}
        self.pending_names = []

    def apply(self, operation):
        """Carry out one recorded operation."""
        kind, *rest = operation
        if kind in ("write", "truncate", "reserve"):
            number, *change = rest
            self.inodes[number].apply((kind, *change))
        elif kind == "sync":
            self.inodes[rest[0]].sync()
        elif kind == "sync_directory":
            path = rest[0]
            self.durable_names[path] = dict(self.names[path])
            self.pending_names = [change for change in self.pending_names if change[0] != path]
        elif kind != "mark":
            self._apply_name(kind, *rest)

    def _apply_name(self, kind, path, other=None):
        directory, name = os.path.split(path)
        if kind == "create":
            self.inodes[other] = Inode()
            self._change(directory, {name: other})
        elif kind == "mkdir":
            self._change(directory, {name: "directory"})
            self.names[path] = {}
        elif kind == "rename":
            self._change(directory, {name: None, basename(other): self.names[directory][name]})
        else:
            self._change(directory, {name: None})

    def _change(self, directory, change):
        apply_names(self.names[directory], change)
        self.pending_names.append((directory, change))

    def crash(self, random, style):
        """The files as they may be found when the power comes back."""
        found = Files()
        durable = {path: dict(table) for path, table in self.durable_names.items()}
        for number in self._surviving_names(random, style):
            directory, change = self.pending_names[number]
            apply_names(durable.setdefault(directory, {}), change)
        found._adopt("/", durable, {number: surviving(inode, random, style) for number, inode in self.inodes.items()})
        return found

    def _surviving_names(self, random, style):
        count = len(self.pending_names)
        if style == "none":
            return []
        if style in ("all", "names"):
            return range(count)
        if random.random() < 0.5:
            return range(random.randint(0, count))
        return [number for number in range(count) if random.random() < 0.5]

    def _adopt(self, path, tables, contents):
        table = self.names[path] = {}
        for name, number in tables.get(path, {}).items():
            table[name] = number
            if number == "directory":
                self._adopt(join(path, name), tables, contents)
            else:
                self.inodes[number] = Inode(contents[number])
        self.durable_names[path] = dict(table)

    def copy(self):
        """The same files, not yet synced where these are not: what the death of a process leaves."""
        files = Files()
        files.names = {path: dict(table) for path, table in self.names.items()}
        files.durable_names = {path: dict(table) for path, table in self.durable_names.items()}
        files.pending_names = list(self.pending_names)
        for number, inode in self.inodes.items():
            files.inodes[number] = Inode(inode.data)
            files.inodes[number].durable = inode.durable
            files.inodes[number].pending = list(inode.pending)
        return files


def apply_names(table, change):
    for name, number in change.items():
        if number is None:
            table.pop(name, None)
        else:
            table[name] = number


def surviving(inode, random, style):
    """What is left of a file."""
    if style in ("none", "names") or not inode.pending:
        return inode.durable
    if style == "all":
        return bytes(inode.data)
    if style == "any":
        style = random.choice(("writes", "pages"))
    data = bytearray(inode.durable)
    share = random.random()
    for kind, position, *content in inode.pending:
        if kind != "write":
            if random.random() < share:
                apply_to(data, kind, position)
        elif style == "writes":
            if random.random() < share:
                apply_to(data, kind, position, content[0])
        else:
            for start, end in pages(position, position + len(content[0])):
                if random.random() < share:
                    apply_to(data, kind, start, content[0][start - position : end - position])
    return bytes(data)


def pages(start, end):
    """The pages that a write touches, cut to what it writes."""
    while start < end:
        stop = min(end, (start // PAGE + 1) * PAGE)
        yield start, stop
        start = stop


class SimulatedDisk(Disk):
    """A Disk over Files."""

    def __init__(self, files=None):
        self.files = files or Files()
        self._base = self.files.copy()
        self.operations = []
        self._descriptors = {}
        self._next = 0

    def at(self, count):
        """The files after the first *count* operations."""
        files = self._base.copy()
        for operation in self.operations[:count]:
            files.apply(operation)
        return files

    def mark(self, *what):
        """Record that the test saw something happen."""
        self._do("mark", *what)

    def _do(self, *operation):
        self.files.apply(operation)
        self.operations.append(operation)

    def _find(self, path):
        directory, name = os.path.split(path)
        number = self.files.names.get(directory, {}).get(name)
        if number is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return number

    def _descriptor(self, number):
        self._next += 1
        self._descriptors[self._next] = number
        return self._next

    def open(self, path, create=False):
        if not create:
            return self._descriptor(self._find(path))
        try:
            number = self._find(path)
            self._do("truncate", number, 0)
        except FileNotFoundError:
            number = max(self.files.inodes, default=0) + 1
            self._do("create", path, number)
        return self._descriptor(number)

    def open_lock(self, path):
        return self.open(path, create=not self.exists(path))

    def lock(self, descriptor):
        return True

    def close(self, descriptor):
        del self._descriptors[descriptor]

    @property
    def open_descriptors(self):
        return len(self._descriptors)

    def read(self, descriptor, size, position):
        return bytes(self.files.inodes[self._descriptors[descriptor]].data[position : position + size])

    def write_some(self, descriptor, data, position):
        self._do("write", self._descriptors[descriptor], position, bytes(data))
        return len(data)

    def sync(self, descriptor):
        self._do("sync", self._descriptors[descriptor])

    def truncate(self, descriptor, size):
        self._do("truncate", self._descriptors[descriptor], size)

    def reserve(self, descriptor, size):
        self._do("reserve", self._descriptors[descriptor], size)

    def size(self, path):
        return len(self.files.inodes[self._find(path)].data)

    def exists(self, path):
        directory, name = os.path.split(path)
        return path == "/" or name in self.files.names.get(directory, {})

    def list(self, path):
        return sorted(self.files.names.get(path, ()))

    def make_one_directory(self, path):
        self._do("mkdir", path)

    def sync_directory(self, path):
        self._do("sync_directory", path)

    def rename(self, old, new):
        self._find(old)
        self._do("rename", old, new)

    def remove(self, path):
        self._find(path)
        self._do("unlink", path)

    def remove_directory(self, path):
        if self.files.names[path]:
            raise OSError(errno.ENOTEMPTY, "not empty", path)
        self._do("rmdir", path)

    def free_bytes(self, path):
        return 1 << 40

    def flip(self, path, bit):
        """Damage one bit of a file."""
        inode = self.files.inodes[self._find(path)]
        inode.data[bit // 8] ^= 1 << bit % 8
        inode.sync()

    def paths(self, directory="/"):
        """All files."""
        for name, number in self.files.names[directory].items():
            path = join(directory, name)
            if number == "directory":
                yield from self.paths(path)
            else:
                yield path
