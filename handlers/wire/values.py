"""Classes of the values that messages are decoded to: slotted, made by keyword, every field defaulted.

A structure's class is an attribute of the class that it stands in, and of the message's own:
`FetchRequest.FetchTopic.FetchPartition` is `FetchRequest.FetchPartition`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from handlers.wire.source import Source

if TYPE_CHECKING:
    from handlers.wire.declaration import Field, Structure

_UNSET: Any = ()


class Value:
    """Base of the generated classes. Equal to another of its class with equal fields; not hashable."""

    __slots__: ClassVar[tuple[str, ...]] = ()
    __hash__ = None  # type: ignore[assignment] # it can be changed

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__qualname__}({fields})"


def default_source(field: Field) -> str:
    """Expression for the default of *field*; it makes a new list or dict each time, never one that is shared."""
    return repr(field.default)


def build_classes(structure: Structure) -> dict[str, type[Value]]:
    """The class of *structure* and of all structures in it, by name."""
    classes: dict[str, type[Value]] = {}
    top = _build_class(structure, structure.name, classes)
    for name, cls in classes.items():
        if cls is not top:
            setattr(top, name, cls)
    return classes


def _build_class(structure: Structure, qualname: str, classes: dict[str, type[Value]]) -> type[Value]:
    names = tuple(field.name for field in structure.fields)
    namespace: dict[str, Any] = {
        "__slots__": names,
        "__init__": _build_init(structure, qualname),
        "__module__": __name__,
        "__qualname__": qualname,
    }
    cls = classes[structure.name] = type(structure.name, (Value,), namespace)
    for field in structure.fields:
        if field.structure is not None:
            name = field.structure.name
            if name not in classes:
                _build_class(field.structure, f"{qualname}.{name}", classes)
            setattr(cls, name, classes[name])
    return cls


def _build_init(structure: Structure, qualname: str) -> Any:
    source = Source(f"{qualname} class")
    source.constants["UNSET"] = _UNSET
    fresh = {field.name: repr(field.default) for field in structure.fields if field.default in ([], {})}
    fields = [f"{field.name}={'UNSET' if field.name in fresh else default_source(field)}" for field in structure.fields]
    with source.block(f"def __init__({', '.join(['self', *(['*'] if fields else []), *fields])})"):
        source.line("pass")
        for field in structure.fields:
            if field.name in fresh:
                source.line(f"self.{field.name} = {fresh[field.name]} if {field.name} is UNSET else {field.name}")
            else:
                source.line(f"self.{field.name} = {field.name}")
    return source.build("__init__")
