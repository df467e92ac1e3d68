"""Replies of bounded size. Reads a response's stream, produces its bytes decoded, or an error once they are too many.

An endpoint is outside input: a reply may be endless, or a megabyte of gzip that unpacks to gigabytes.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

import httpx2

MAX_REPLY: Final = 2 * 2**20
"""Decoded bytes of one reply. The largest honest one, the token ids of a prompt of 128,000 tokens, takes half of it."""

_PIECE: Final = 2**16
_GZIP_OR_ZLIB: Final = zlib.MAX_WBITS | 32


async def bound(response: httpx2.Response) -> None:
    """A response hook of an `httpx2.AsyncClient`: reading the body raises `DecodingError` past `MAX_REPLY` bytes."""
    encoding = response.headers.pop("content-encoding", "identity").strip().lower()
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream, encoding)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, encoding: str) -> None:
        self._stream = stream
        self._encoding = encoding

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._encoding not in {"identity", "", "gzip", "x-gzip", "deflate"}:
            raise httpx2.DecodingError(f"the reply is packed by {self._encoding[:20]}, which was not asked for")
        packed = self._encoding not in {"identity", ""}
        unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
        size = 0
        async for chunk in self._stream:
            # Unpacked piece by piece: the limit holds before the memory is taken.
            for piece in _unpacked(unpacker, chunk) if packed else (chunk,):
                size += len(piece)
                if size > MAX_REPLY:
                    raise httpx2.DecodingError(f"the reply has more than {MAX_REPLY:,} bytes")
                yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


def _unpacked(unpacker: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    try:
        while chunk:
            yield unpacker.decompress(chunk, _PIECE)
            chunk = unpacker.unconsumed_tail
    except zlib.error as exc:
        raise httpx2.DecodingError(f"the reply cannot be unpacked: {exc}") from exc
