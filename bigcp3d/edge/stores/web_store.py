"""Reads zarr stores from web servers as they are.

Some know no HEAD requests, so everything is asked for with GET. Some know no ranges, so whole objects are read and cut.
Some answer 400, 403 or 410, or send a web page with status 200, where there is nothing.
"""

from __future__ import annotations

from typing import Any

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import ObjectStore

from bigcp3d.edge.stores.connections import METADATA, is_bad_request, is_denied, is_page, refuse_packed


class WebStore(ObjectStore[Any]):
    """A folder on a web server. Pages count as missing, and so do metadata to which access is denied."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of an object or of a part of it; None where it is missing."""
        from obstore import get_async
        from obstore.exceptions import BaseError, NotSupportedError

        try:
            options: Any = None if byte_range is None else {"range": _in_words(byte_range)[0]}
            answer = await get_async(self.store, key, options=options)
            if is_page(answer):
                return None
            refuse_packed(answer, key)
            return prototype.buffer.from_bytes(bytes(await answer.bytes_async()))
        except FileNotFoundError:
            return None
        except NotSupportedError:
            whole = await self.get(key, prototype)
            return None if whole is None or byte_range is None else whole[_in_words(byte_range)[1]]
        except BaseError as error:
            if is_bad_request(error) or (is_denied(error) and key.rpartition("/")[2] in METADATA):
                return None
            raise

    async def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        from obstore import get_async
        from obstore.exceptions import BaseError

        try:
            return not is_page(await get_async(self.store, key))
        except FileNotFoundError:
            return False
        except BaseError as error:
            if is_bad_request(error):
                return False
            raise


def _in_words(wanted: ByteRequest) -> tuple[Any, slice]:
    """A part of an object in obstore's words, and as a slice of its bytes."""
    match wanted:
        case RangeByteRequest(start, end):
            return (start, end), slice(start, end)
        case OffsetByteRequest(offset):
            return {"offset": offset}, slice(offset, None)
        case SuffixByteRequest(suffix):
            return {"suffix": suffix}, slice(-suffix, None)
