"""Decoders: for one version of a message, the source of one flat function from bytes to values.

Neighbouring fixed fields, and the length of what follows them, are read by one call of `struct`. The
function works on one buffer and a position. Lengths and counts are checked against `end` before anything
is made of them; that fixed fields lie before `end` needs no check of their own: each read either raises or
moves the position on, and the position is checked last. A Fetch request for 15 partitions takes 5 to 7 us.
"""

from __future__ import annotations

from struct import Struct, calcsize, unpack_from
from struct import error as StructError
from typing import TYPE_CHECKING, Any

from handlers.wire import reading
from handlers.wire.declaration import in_runs
from handlers.wire.source import Source
from handlers.wire.types import COUNT_CODE, TYPES, Bit, Counted, Fixed, Table
from handlers.wire.values import default_source
from portask.errors import ProtocolError
from portask.field_table import decode_table

if TYPE_CHECKING:
    from handlers.wire.declaration import Field, Structure
    from handlers.wire.values import Value

MAX_ELEMENTS = 1 << 17
"""Most elements in all arrays of a message together. One can be three bytes on the wire and 200 in memory, so
without a bound a frame of 100 MB would fill gigabytes."""
CONTINUED = 0x80
"""The bit of a varint's byte that says that another follows."""


def build_decoder(structure: Structure, version: int, *, is_flexible: bool, classes: dict[str, type[Value]]) -> Any:
    """The decoder of *version*: `(buffer, position, end) -> (value, position)`. It raises ProtocolError only."""
    decoder = _Decoder(structure.name, version, is_flexible, classes)
    source = decoder.source
    with source.block("def decode(buffer, position, end)"):
        source.line(f"room = {MAX_ELEMENTS}")
        with source.block("try"):
            decoder.structure(structure, "message")
            decoder.flush()
            with source.block("if position > end"):
                source.line("raise IndexError")
        with source.block("except (IndexError, StructError) as error"):
            source.line(f'raise ProtocolError("{structure.name} version {version} is cut short") from error')
        with source.block("except UnicodeDecodeError as error"):
            source.line(f'raise ProtocolError("a string of {structure.name} is not UTF-8") from error')
        source.line("return message, position")
    return source.build("decode")


class _Decoder:
    def __init__(self, title: str, version: int, is_flexible: bool, classes: dict[str, type[Value]]) -> None:
        self.version = version
        self.is_flexible = is_flexible
        self.source = Source(f"{title} version {version} decoder")
        self.source.constants.update(classes)
        self.source.constants.update(
            new=object.__new__,
            unpack_from=unpack_from,
            decode_table=decode_table,
            ProtocolError=ProtocolError,
            StructError=StructError,
            read_varint=reading.read_varint,
            read_tag_count=reading.read_tag_count,
            read_tag=reading.read_tag,
            skip_tags=reading.skip_tags,
            wrong_length=reading.wrong_length,
            wrong_count=reading.wrong_count,
        )
        self._pending: list[tuple[str, str]] = []

    # -- fixed fields -----------------------------------------------------------------------------

    def flush(self) -> None:
        """Read the fixed fields that are waiting, all in one call."""
        if not self._pending:
            return
        codes = "".join(code for code, _ in self._pending)
        targets = ", ".join(target for _, target in self._pending)
        comma = "," if len(self._pending) == 1 else ""
        unpack = self.source.constant("unpack", codes, Struct(">" + codes).unpack_from)
        self.source.line(f"{targets}{comma} = {unpack}(buffer, position)")
        self.source.line(f"position += {calcsize('>' + codes)}")
        self._pending.clear()

    def _read_size(self, code: str, *, is_compact: bool) -> None:
        """Read a length or count into `size`, -1 for null."""
        self._read_number("B" if is_compact else code)
        if is_compact:
            with self.source.block(f"if size >= {CONTINUED}"):
                self.source.line("size, position = read_varint(buffer, position - 1)")
            self.source.line("size -= 1")

    def _read_number(self, code: str) -> None:
        """Read a number into `size`, together with the fixed fields before it."""
        if code == "B" and not self._pending:
            self.source.line("size = buffer[position]")
            self.source.line("position += 1")
        else:
            self._pending.append((code, "size"))
            self.flush()

    # -- structures -------------------------------------------------------------------------------

    def structure(self, structure: Structure, variable: str) -> None:
        """Read a structure into a new value, kept in *variable*."""
        self.source.line(f"{variable} = new({structure.name})")
        body = structure.fields_of(self.version)
        tagged = structure.tagged_fields_of(self.version)
        absent: dict[str, list[Field]] = {}
        for field in structure.fields:
            if field not in body:
                absent.setdefault(default_source(field), []).append(field)
        for default, fields in absent.items():
            if default in ("[]", "{}"):
                for field in fields:
                    self.source.line(f"{variable}.{field.name} = {default}")
            else:
                self.source.line(" = ".join([*(f"{variable}.{field.name}" for field in fields), default]))
        for run in in_runs(body):
            if isinstance(TYPES.get(run[0].type), Bit):
                self._bits(run, variable)
            else:
                self._field(run[0], f"{variable}.{run[0].name}")
        if self.is_flexible:
            self._tags(tagged, variable)

    def _bits(self, fields: list[Field], variable: str) -> None:
        self._read_number("B")
        for index, field in enumerate(fields):
            self.source.line(f"{variable}.{field.name} = size & {1 << index} != 0")

    def _field(self, field: Field, target: str) -> None:
        is_nullable = field.is_nullable(self.version)
        if field.is_array:
            self._array(field, target, is_nullable=is_nullable)
        elif field.structure is not None:
            self._nested(field.structure, target, is_nullable=is_nullable)
        else:
            kind = TYPES[field.type]
            if isinstance(kind, Fixed):
                self._pending.append((kind.code, target))
            elif isinstance(kind, Table):
                self.flush()
                self.source.line(f"{target}, position = decode_table(buffer, position)")
            else:
                assert isinstance(kind, Counted)
                is_compact = self.is_flexible and not field.is_plain
                self._counted(kind, field.name, target, is_nullable=is_nullable, is_compact=is_compact)

    def _nested(self, structure: Structure, target: str, *, is_nullable: bool) -> None:
        variable = self.source.name("value")
        if not is_nullable:
            self.structure(structure, variable)
            self.source.line(f"{target} = {variable}")
            return
        # A byte says whether a nullable structure is there: -1 for null, KIP-893.
        self._pending.append(("b", "size"))
        self.flush()
        with self.source.block("if size < 0"):
            self.source.line(f"{target} = None")
        with self.source.block("else"):
            self.structure(structure, variable)
            self.flush()
            self.source.line(f"{target} = {variable}")

    def _counted(self, kind: Counted, name: str, target: str, *, is_nullable: bool, is_compact: bool) -> None:
        self._read_size(kind.code, is_compact=is_compact)
        source = self.source
        too_long = f" or size > {kind.max_length}" if is_compact else ""
        if is_nullable:
            with source.block("if size == -1"):
                source.line(f"{target} = None")
            with source.block("else"):
                self._take(kind, name, target, too_long)
        else:
            self._take(kind, name, target, too_long)

    def _take(self, kind: Counted, name: str, target: str, too_long: str) -> None:
        source = self.source
        source.line("stop = position + size")
        with source.block(f"if not position <= stop <= end{too_long}"):
            source.line(f'raise wrong_length("{name}", size, end - position)')
        source.line(f"{target} = {kind.decode}")
        source.line("position = stop")

    # -- arrays -----------------------------------------------------------------------------------

    def _array(self, field: Field, target: str, *, is_nullable: bool) -> None:
        self._read_size(COUNT_CODE, is_compact=self.is_flexible)
        source = self.source
        if is_nullable:
            with source.block("if size == -1"):
                source.line(f"{target} = None")
            with source.block("else"):
                self._elements(field, target)
        else:
            self._elements(field, target)

    def _elements(self, field: Field, target: str) -> None:
        source = self.source
        smallest = self._smallest_element(field)
        if smallest == 0:
            raise ValueError(f"{field.name}: elements without bytes have no bound")
        with source.block(f"if not 0 <= size * {smallest} <= end - position or size > room"):
            source.line(f'raise wrong_count("{field.name}", size, end - position)')
        source.line("room -= size")
        kind = TYPES.get(field.type)
        if isinstance(kind, Fixed):
            if kind.repeats:
                source.line(f'{target} = list(unpack_from(f">{{size}}{kind.code}", buffer, position))')
            else:
                source.line(f"stop = position + size * {smallest}")
                source.line(
                    f"{target} = [bytes(buffer[at : at + {smallest}]) for at in range(position, stop, {smallest})]"
                )
            source.line(f"position += size * {smallest}")
            return
        items = source.name("items")
        item = source.name("item")
        source.line(f"{target} = {items} = []")
        with source.block("for _ in range(size)"):
            if field.structure is not None:
                self.structure(field.structure, item)
                self.flush()
            else:
                assert isinstance(kind, Counted)
                self._counted(kind, field.name, item, is_nullable=False, is_compact=self.is_flexible)
            source.line(f"{items}.append({item})")

    def _smallest_element(self, field: Field) -> int:
        if field.structure is not None:
            return self._smallest_structure(field.structure)
        kind = TYPES[field.type]
        if isinstance(kind, Fixed):
            return kind.size_bytes
        # Bits count for nothing here, which errs on the safe side.
        return 1 if self.is_flexible and isinstance(kind, Counted) else calcsize(">" + kind.code)

    def _smallest_structure(self, structure: Structure) -> int:
        return self.is_flexible + sum(self._smallest_field(field) for field in structure.fields_of(self.version))

    def _smallest_field(self, field: Field) -> int:
        if field.is_array:
            return 1 if self.is_flexible else calcsize(">" + COUNT_CODE)
        if field.structure is not None and field.is_nullable(self.version):
            return 1
        return self._smallest_element(field)

    # -- tagged fields ----------------------------------------------------------------------------

    def _tags(self, fields: list[Field], variable: str) -> None:
        source = self.source
        # Most structures have none: a byte of zero.
        self._read_number("B")
        with source.block("if size"):
            if not fields:
                source.line("room, position = skip_tags(buffer, position - 1, end, room)")
                return
            tag, after = source.name("tag"), source.name("after")
            source.line("size, position = read_tag_count(buffer, position - 1, end, room)")
            source.line("room -= size")
            source.line(f"{tag} = -1")
            with source.block("for _ in range(size)"):
                source.line(f"{tag}, position, {after} = read_tag(buffer, position, end, {tag})")
                word = "if"
                for field in fields:
                    with source.block(f"{word} {tag} == {field.tag}"):
                        self._field(field, f"{variable}.{field.name}")
                        self.flush()
                    word = "elif"
                with source.block("else"):
                    source.line(f"position = {after}")
                with source.block(f"if position != {after}"):
                    source.line(f'raise ProtocolError(f"the size of tagged field {{{tag}}} is not that of its value")')
