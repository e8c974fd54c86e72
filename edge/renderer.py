"""The render workers: low-priority processes that draw. A dead worker is replaced; its label is drawn again."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Final, TypeVar

from edge import render_worker
from edge.render_worker import RenderedLabel
from render.fields import LabelFields, TemplateSource

T = TypeVar("T")

DRAW_TIMEOUT_S: Final = 120.0  # a cold compile of every kernel takes some 10 s on a slow mini PC


class RenderFailed(Exception):
    """The workers could not draw it for a reason of ours (a worker died twice, or took too long)."""


class Renderer:
    """A pool of `workers` processes, started at the first picture. Kernels and glyphs are cached in `cache_dir`."""

    def __init__(self, workers: int, cache_dir: Path, templates: TemplateSource) -> None:
        self._workers = workers
        self._cache_dir = cache_dir
        self._templates = templates
        self._pool: ProcessPoolExecutor | None = None

    async def draw(self, fields: LabelFields, attempt_number: int, codecs: tuple[str, ...]) -> RenderedLabel:
        """Raises render's errors for a picture that cannot be, RenderFailed for workers that fail."""
        return await self._run(render_worker.draw, fields, attempt_number, codecs, self._templates)

    async def draw_again(self, fields: str, attempt_number: int, scale: int) -> tuple[str, bytes]:
        """(picture hash, PNG) of an attempt that was sent once, from its stored fields. Raises as `draw`, and ValueError."""
        return await self._run(render_worker.draw_again, fields, attempt_number, scale, self._templates)

    async def draw_png(self, fields: LabelFields, scale: int) -> bytes:
        return await self._run(render_worker.draw_png, fields, scale, self._templates)

    def start(self) -> None:
        """Start the workers now, so that they warm up behind the opening of the lanes."""
        pool = self._started()
        for _ in range(self._workers):
            pool.submit(os.getpid)

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        for _ in range(2):
            pool = self._started()
            try:
                async with asyncio.timeout(DRAW_TIMEOUT_S):
                    return await asyncio.get_running_loop().run_in_executor(pool, function, *args)
            except BrokenProcessPool:
                if self._pool is pool:
                    self.stop()
            except TimeoutError:
                self.stop()
                raise RenderFailed(f"no picture within {DRAW_TIMEOUT_S:.0f} s") from None
        raise RenderFailed("render workers die: see the log of the service")

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            os.environ.setdefault("NUMBA_CACHE_DIR", str(self._cache_dir))
            context = multiprocessing.get_context("spawn")  # a fork would copy the lanes' sockets and threads
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=context, initializer=render_worker.prepare, initargs=(self._cache_dir, os.getpid())
            )
        return self._pool

    def stop(self) -> None:
        """End the workers without waiting for what they draw."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in multiprocessing.active_children():  # nothing else here starts any
                worker.kill()
