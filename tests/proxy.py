"""A proxy before a server, so that a test can see, drop and encrypt what goes by."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

Look = Callable[[bytes], bytes]
"""Given what came, it gives what is passed on."""
Greet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def through(data: bytes) -> bytes:
    """Passes everything on."""
    return data


@contextmanager
def proxy(
    url: str,
    *,
    asked: Look = through,
    answered: Look = through,
    tls: ssl.SSLContext | None = None,
    greet: Greet | None = None,
) -> Iterator[int]:
    """The port of a proxy before a server.

    Args:
        url: of the server.
        asked: looks at what a client sends.
        answered: looks at what the server sends.
        tls: the proxy's certificate; then it speaks TLS to its clients.
        greet: speaks with a client first.
    """
    place = urlsplit(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    writers: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, look: Look) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 20):
                sink.write(await asyncio.to_thread(look, data))
                await sink.drain()
        sink.close()

    async def connect(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # of a client that does not trust the certificate
            await _both(source, sink)

    async def _both(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        writers.append(sink)
        if greet:
            await greet(source, sink)
        behind, before = await asyncio.open_connection(place.hostname, place.port)
        writers.append(before)
        await asyncio.gather(pump(source, before, asked), pump(behind, sink, answered))

    async def serve() -> asyncio.Server:
        return await asyncio.start_server(connect, "127.0.0.1", 0, ssl=tls)

    async def stop() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        await loop.shutdown_default_executor()

    server = asyncio.run_coroutine_threadsafe(serve(), loop).result()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
