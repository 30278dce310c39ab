"""Records as files: read from `understudy records` page by page, and written as JSON lines or as Parquet.

What is read is what everybody reads there, so that rights hold and somebody who was erased is in no file. A page is
held at a time, and of Parquet a group of rows.
"""

import asyncio
import itertools
import types
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final, Literal, get_args, get_origin
from urllib.parse import urlencode

import orjson
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema, list_array
from arro3.io import write_parquet
from pydantic.alias_generators import to_camel

from understudy.gateway import kubeapi
from understudy.records.lines import unix_ms
from understudy.records.reads import PAGE
from understudy.records.shown import Kind

Rows = list[dict[str, Any]]
_TRIES: Final = 5
_PAUSE_SECONDS: Final = 1.0
_GROUP: Final = 65_536


def read(server: kubeapi.ApiServer, kind: Kind, filters: Mapping[str, str]) -> Iterator[Rows]:
    """All records of a kind that `filters` ask for, the oldest first, a page at a time.

    Raises ApiError or OSError for what cannot be read though it was tried several times.
    """
    question = {"order": "oldest", "limit": str(PAGE), **filters}
    with asyncio.Runner() as runner:
        while True:
            answer = runner.run(_page(server, f"/v1/{kind.name}?{urlencode(question)}"))
            if answer["items"]:
                yield answer["items"]
            if answer["next"] is None:
                return
            question["after"] = answer["next"]


def write(kind: Kind, pages: Iterator[Rows], path: Path) -> int:
    """Write a file, Parquet if its name ends so; it is there when it is whole. How many records it has.

    Raises OSError, and what `pages` raises, and then leaves none.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        with draft.open("wb") as file:
            count = _write_parquet(kind, pages, file) if path.suffix == ".parquet" else write_lines(pages, file)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return count


def write_lines(pages: Iterator[Rows], file: IO[bytes]) -> int:
    """Each record as a line of JSON; how many there were."""
    count = 0
    for rows in pages:
        file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
        count += len(rows)
    return count


async def _page(server: kubeapi.ApiServer, path: str) -> dict[str, Any]:
    for attempt in itertools.count(1):
        try:
            return await kubeapi.request(server, "GET", path)
        except (OSError, kubeapi.ApiError) as error:
            refused = isinstance(error, kubeapi.ApiError) and error.status < 500
            if refused or attempt == _TRIES:
                raise
        await asyncio.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
    raise AssertionError("the loop above has no end")


def _write_parquet(kind: Kind, pages: Iterator[Rows], file: IO[bytes]) -> int:
    fields = {to_camel(name): _type(field.annotation) for name, field in kind.shown.model_fields.items()}
    schema = Schema([Field(name, _ARROW[type_], nullable=True) for name, type_ in fields.items()])
    count = 0
    failed: list[Exception] = []

    def batches() -> Iterator[RecordBatch]:
        nonlocal count
        try:
            for rows in pages:
                count += len(rows)
                columns = [_array([row[name] for row in rows], type_) for name, type_ in fields.items()]
                yield RecordBatch.from_arrays(columns, schema=schema)
        except Exception as error:
            failed.append(error)
            raise

    try:
        write_parquet(
            RecordBatchReader.from_batches(schema, batches()), file, compression="zstd(3)", max_row_group_size=_GROUP
        )
    except Exception as error:
        # The library wraps what it was given in an error of its own.
        raise (failed[0] if failed else OSError(str(error))) from error
    return count


def _type(annotation: Any) -> Any:
    """What a field is when it is not null: a type that `_ARROW` knows."""
    if isinstance(annotation, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not types.NoneType)
    return str if get_origin(annotation) is Literal else annotation


_LIST: Final = DataType.list(Field("item", DataType.utf8()))
_TIME: Final = DataType.timestamp("ms", tz="UTC")
_ARROW: Final[Mapping[Any, DataType]] = {
    str: DataType.utf8(),
    int: DataType.int64(),
    float: DataType.float64(),
    bool: DataType.bool(),
    datetime: _TIME,
    list[str]: _LIST,
}


def _array(values: list[Any], type_: Any) -> Array:
    if type_ is datetime:
        return Array([unix_ms(datetime.fromisoformat(value)) for value in values], DataType.int64()).cast(_TIME)
    if type_ == list[str]:
        ends = itertools.accumulate((len(value) for value in values), initial=0)
        texts = Array([text for value in values for text in value], DataType.utf8())
        return list_array(Array(list(ends), DataType.int32()), texts, type=_LIST)
    return Array(values, _ARROW[type_])
