"""The fake LLM behind a real port that notices who hangs up. Reads requests, produces what `FakeLLM` replies.

with SocketLLM(FakeLLM()) as llm:
    llm.hold()  # chat requests wait from now on
    …
    llm.wait(begun=1)  # one waits
    llm.wait(gone=1)  # whoever asked has closed the connection
"""

from __future__ import annotations

import asyncio
import threading

import httpx2

PATIENCE_S = 580


class SocketLLM:
    """A context manager; `base_url` is where it listens.

    Attributes:
        begun: chat requests that had to wait since `hold`; `gone`: those of them whose client hung up.
    """

    def __init__(self, fake, port=0):
        self.fake = fake
        self.port = port
        self.begun = self.gone = 0
        self._changed = threading.Condition()
        self._held = False
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def hold(self):
        """Let chat requests wait, and count anew."""
        with self._changed:
            self.begun = self.gone = 0
        self._held = True

    def release(self):
        """Answer those that wait, and let all through."""
        self._held = False
        self._loop.call_soon_threadsafe(self._let_go)

    def wait(self, **counts):
        """Return when the counts have come to this."""
        with self._changed:
            come = self._changed.wait_for(
                lambda: all(getattr(self, name) >= n for name, n in counts.items()), PATIENCE_S
            )
        assert come, {name: getattr(self, name) for name in counts}

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(PATIENCE_S)
        return self

    def __exit__(self, *_exc):
        self.stop()

    def stop(self):
        """Close all connections and listen no more, as a server that was killed."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(PATIENCE_S)

    def _let_go(self):
        self._released.set()
        self._released = asyncio.Event()

    def _count(self, name):
        with self._changed:
            setattr(self, name, getattr(self, name) + 1)
            self._changed.notify_all()

    async def _serve(self):
        self._loop, self._end, self._released = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        self._clients = {}
        server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for writer in self._clients.values():
            writer.close()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _talk(self, reader, writer):
        task = asyncio.current_task()
        self._clients[task] = writer
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self._clients[task]
            writer.close()

    async def _exchange(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path = head.split(" ", 2)[:2]
        lengths = [line.partition(":")[2] for line in head.lower().splitlines() if line.startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0]) if lengths else 0)
        if self._held and path.endswith("/chat/completions") and not await self._waited(reader):
            return False
        reply = await self.fake.handle(httpx2.Request(method, f"http://fake{path}", content=body))
        status = f"HTTP/1.1 {reply.status_code} OK\r\ncontent-type: application/json\r\n"
        writer.write(f"{status}content-length: {len(reply.content)}\r\n\r\n".encode() + reply.content)
        await writer.drain()
        return True

    async def _waited(self, reader):
        """Whether the request may be answered; False if its client has hung up: nothing else can come before that."""
        self._count("begun")
        released = asyncio.create_task(self._released.wait())
        gone = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({released, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            released.cancel()
            gone.cancel()
            await asyncio.gather(released, gone, return_exceptions=True)
        if released.done() and not released.cancelled():
            return True
        self._count("gone")
        return False
