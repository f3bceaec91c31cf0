"""The Arrow C data interface in pure Python, through ctypes: columns as capsules that any consumer of Arrow takes.

The buffers are bytes objects, which stay as long as some consumer holds what was given to it: `_given` keeps them until
its release callback is called, in whatever thread. The twin of `_pages_arrow.c`.

Source: https://arrow.apache.org/docs/format/CDataInterface.html
"""

import ctypes
import struct
from collections.abc import Callable, Iterator, Sequence
from errno import EIO
from itertools import count
from typing import Any, Final, NamedTuple

Schema = tuple[tuple[str, str, int], ...]
"""Columns: name, Arrow format or one of the two below, bytes of one value (0: it varies)."""
CODED: Final = "d:u"
"""Text: each row holds the number (int32) of its text in the column's dictionary."""
JSON: Final = "json"
"""Text that is JSON, and said to be: Arrow's extension type."""


class Buffers(NamedTuple):
    """A column: how many nulls, and its buffers as Arrow orders them; of a coded one, how many texts and theirs."""

    nulls: int
    buffers: tuple[bytes | None, ...]
    dictionary: tuple[int, tuple[bytes | None, ...]] | None = None


Failed = Callable[[BaseException], None]

_NULLABLE: Final = 2
_EXTENSION: Final = ((b"ARROW:extension:name", b"arrow.json"), (b"ARROW:extension:metadata", b""))
_METADATA: Final = struct.pack("<i", len(_EXTENSION)) + b"".join(
    struct.pack("<i", len(word)) + word for pair in _EXTENSION for word in pair
)


class _ArrowSchema(ctypes.Structure):
    pass


class _ArrowArray(ctypes.Structure):
    pass


class _ArrowStream(ctypes.Structure):
    pass


_ReleaseSchema = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ArrowSchema))
_ReleaseArray = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ArrowArray))
_ReleaseStream = ctypes.CFUNCTYPE(None, ctypes.POINTER(_ArrowStream))
_GetSchema = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_ArrowStream), ctypes.POINTER(_ArrowSchema))
_GetNext = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_ArrowStream), ctypes.POINTER(_ArrowArray))
_GetLastError = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ArrowStream))

_ArrowSchema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_char_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowSchema))),
    ("dictionary", ctypes.POINTER(_ArrowSchema)),
    ("release", _ReleaseSchema),
    ("private_data", ctypes.c_void_p),
]
_ArrowArray._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_ArrowArray))),
    ("dictionary", ctypes.POINTER(_ArrowArray)),
    ("release", _ReleaseArray),
    ("private_data", ctypes.c_void_p),
]
_ArrowStream._fields_ = [
    ("get_schema", _GetSchema),
    ("get_next", _GetNext),
    ("get_last_error", _GetLastError),
    ("release", _ReleaseStream),
    ("private_data", ctypes.c_void_p),
]

_given: Final[dict[int, tuple[Any, ...]]] = {}
"""What consumers hold, by the number in its `private_data`."""
_numbers: Final = count(1)


def _give(*kept: object) -> int:
    number = next(_numbers)
    _given[number] = kept
    return number


def _release(given: Any) -> None:
    """Release a structure and its children; a child that was moved away has a release of its own elsewhere."""
    children = [given.contents.children[number] for number in range(given.contents.n_children)]
    for child in [*children, given.contents.dictionary]:
        if child and child.contents.release:
            child.contents.release(child)
    _given.pop(given.contents.private_data, None)
    ctypes.memset(
        ctypes.addressof(given.contents) + type(given.contents).release.offset, 0, ctypes.sizeof(ctypes.c_void_p)
    )


_release_schema: Final = _ReleaseSchema(_release)
_release_array: Final = _ReleaseArray(_release)


def _pointers(kind: Any, structures: Sequence[Any]) -> Any:
    return (ctypes.POINTER(kind) * len(structures))(*map(ctypes.pointer, structures))


def _described(name: str, format_: str) -> Any:
    texts = ctypes.pointer(_described("", "u")) if format_ == CODED else None
    metadata = _METADATA if format_ == JSON else None
    words = {CODED: "i", JSON: "u"}.get(format_, format_).encode(), name.encode(), metadata
    found = _ArrowSchema(*words, _NULLABLE, 0, None, texts, _release_schema)
    found.private_data = _give(words, texts, found._objects)
    return found


def _fill_schema(out: Any, schema: Schema) -> None:
    children = [_described(name, format_) for name, format_, _ in schema]
    pointers = _pointers(_ArrowSchema, children)
    filled = _ArrowSchema(b"+s", b"", None, 0, len(children), pointers, None, _release_schema)
    filled.private_data = _give(filled, pointers, children)
    ctypes.memmove(ctypes.byref(out), ctypes.byref(filled), ctypes.sizeof(out))


def _array(
    length: int, nulls: int, buffers: Sequence[bytes | None], children: Sequence[Any] = (), texts: Any = None
) -> Any:
    places = (ctypes.c_void_p * len(buffers))(
        *(None if each is None else ctypes.cast(ctypes.c_char_p(each), ctypes.c_void_p).value for each in buffers)
    )
    pointers = _pointers(_ArrowArray, children) if children else None
    place = ctypes.cast(places, ctypes.POINTER(ctypes.c_void_p))
    dictionary = None if texts is None else ctypes.pointer(texts)
    found = _ArrowArray(length, nulls, 0, len(buffers), len(children), place, pointers, dictionary, _release_array)
    found.private_data = _give(buffers, places, pointers, children, dictionary, found._objects)
    return found


def _column(length: int, column: Buffers) -> Any:
    texts = _array(column.dictionary[0], 0, column.dictionary[1]) if column.dictionary else None
    return _array(length, column.nulls, column.buffers, texts=texts)


def _fill_array(out: Any, length: int, columns: Sequence[Buffers]) -> None:
    filled = _array(length, 0, (None,), [_column(length, column) for column in columns])
    ctypes.memmove(ctypes.byref(out), ctypes.byref(filled), ctypes.sizeof(out))


# Streams.


def _stream_of(stream: Any) -> list[Any]:
    found: list[Any] = _given[stream.contents.private_data][0]
    return found


def _get_schema(stream: Any, out: Any) -> int:
    _fill_schema(out.contents, _stream_of(stream)[0])
    return 0


def _get_next(stream: Any, out: Any) -> int:
    _, following, failed = _stream_of(stream)
    try:
        chunk = next(following, None)
    except BaseException as error:  # the consumer is C, and takes a number only
        failed(error)
        return EIO
    if chunk is None:
        ctypes.memset(out, 0, ctypes.sizeof(_ArrowArray))
    else:
        _move_array(chunk.__arrow_c_array__()[1], out)
    return 0


def _move_array(capsule: object, out: Any) -> None:
    """Move the array in a capsule to where a consumer wants it; the capsule no longer has it."""
    array = _ArrowArray.from_address(_content_of(capsule, _ARRAY))
    ctypes.memmove(out, ctypes.byref(array), ctypes.sizeof(_ArrowArray))
    ctypes.memset(ctypes.addressof(array) + _ArrowArray.release.offset, 0, ctypes.sizeof(ctypes.c_void_p))


def _release_stream(stream: Any) -> None:
    _given.pop(stream.contents.private_data, None)
    ctypes.memset(ctypes.addressof(stream.contents) + _ArrowStream.release.offset, 0, ctypes.sizeof(ctypes.c_void_p))


_callbacks: Final = (
    _GetSchema(lambda stream, out: _get_schema(stream, out)),
    _GetNext(lambda stream, out: _get_next(stream, out)),
    _GetLastError(lambda _stream: None),
    _ReleaseStream(_release_stream),
)

# Capsules: whoever does not move the structure out of one leaves it to its destructor, which must not touch the
# capsule's reference count: it is handed over as a bare address.

_new = ctypes.pythonapi.PyCapsule_New
_new.restype = ctypes.py_object
_new.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_content = ctypes.PyDLL(None).PyCapsule_GetPointer
_content.restype = ctypes.c_void_p
_content.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
_content_of = ctypes.PyDLL(None).PyCapsule_GetPointer
_content_of.restype = ctypes.c_void_p
_content_of.argtypes = [ctypes.py_object, ctypes.c_char_p]

_SCHEMA: Final = b"arrow_schema"
_ARRAY: Final = b"arrow_array"
_STREAM: Final = b"arrow_array_stream"
_KINDS: Final = {_SCHEMA: _ArrowSchema, _ARRAY: _ArrowArray, _STREAM: _ArrowStream}


def _destructor(label: bytes) -> Any:
    def destroy(capsule: int) -> None:
        address = _content(capsule, label)
        structure = _KINDS[label].from_address(address)
        if structure.release:
            structure.release(ctypes.pointer(structure))
        _structures.pop(address, None)

    return ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(destroy)


_structures: Final[dict[int, Any]] = {}
_destructors: Final = {label: _destructor(label) for label in _KINDS}

# Consumers may release what they hold while Python ends: what is called then stays for good.
for _kept in (_release_schema, _release_array, *_callbacks, *_destructors.values()):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_kept))


def _capsule(label: bytes, structure: Any) -> object:
    address = ctypes.addressof(structure)
    _structures[address] = structure
    return _new(address, label, ctypes.cast(_destructors[label], ctypes.c_void_p))


class PureChunk:
    """Columns of equal length, for any consumer of Arrow."""

    def __init__(self, schema: Schema, length: int, columns: Sequence[Buffers]) -> None:
        self._schema = schema
        self._length = length
        self._columns = columns

    def __len__(self) -> int:
        """How many rows there are."""
        return self._length

    def __arrow_c_schema__(self) -> object:
        """Return the schema as a capsule."""
        schema = _ArrowSchema()
        _fill_schema(schema, self._schema)
        return _capsule(_SCHEMA, schema)

    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
        """Return schema and array as capsules; another schema than ours cannot be asked for."""
        found = _ArrowArray()
        _fill_array(found, self._length, self._columns)
        return self.__arrow_c_schema__(), _capsule(_ARRAY, found)

    @staticmethod
    def stream(chunks: "tuple[PureChunk, ...]") -> object:
        """Return a stream of chunks as a capsule."""
        return _stream(chunks[0]._schema, iter(chunks))


def _stream(schema: Schema, chunks: Iterator[PureChunk], failed: Failed = lambda _: None) -> object:
    return _capsule(_STREAM, _ArrowStream(*_callbacks, _give([schema, chunks, failed])))


class LazyColumns:
    """Columns whose chunks are made while a consumer takes them, and anew for each: never all of them are in memory.

    `bound` is called when a consumer asks for the schema. `failed` is told what ended the chunks early, in the
    consumer's thread; the consumer itself sees an error without words.
    """

    def __init__(
        self,
        schema: Schema,
        chunks: Callable[[], Iterator[PureChunk]],
        bound: Callable[[], None] = lambda: None,
        failed: Failed = lambda _: None,
    ) -> None:
        self.schema = schema
        self._chunks = chunks
        self._bound = bound
        self._failed = failed

    def __arrow_c_schema__(self) -> object:
        """Return the schema as a capsule."""
        self._bound()
        return PureChunk(self.schema, 0, ()).__arrow_c_schema__()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return a stream as a capsule; another schema than ours cannot be asked for."""
        return _stream(self.schema, self._chunks(), self._failed)
