"""The one place that imports numba, with types that its own decorators do not have.

`@kernel` compiles a function without the interpreter lock and keeps the machine code in numba's cache (`NUMBA_CACHE_DIR`, else
`__pycache__` beside the file). Where the cache cannot be written the kernels compile at every start: one warning, no failure.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")


class CacheWarning(RuntimeWarning):
    """Compiled kernels cannot be kept; each start compiles them again."""


_warned = False


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and integers at its first call. `python_function` gives the plain one back."""
    compiled = _compiled(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal compiled
        try:
            return compiled(*args, **kwargs)
        except OSError as error:  # kernels do no I/O of their own: only keeping or reading the machine code can raise it
            _warn(str(error))
            compiled = cast("Callable[P, R]", numba.njit(nogil=True)(function))
            return compiled(*args, **kwargs)

    return call


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """A function that kernels of the same file call; it is compiled into each of them."""
    return cast("Callable[P, R]", numba.njit(nogil=True, inline="always")(function))


def python_function(compiled: Callable[P, R]) -> Callable[P, R]:
    """The undecorated function behind a kernel, for tests."""
    return cast("Callable[P, R]", compiled.__wrapped__)  # type: ignore[attr-defined]  # set by functools.wraps


def _compiled(function: Callable[P, R]) -> Callable[P, R]:
    try:
        return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError as error:  # numba's word for "no place for the cache"
        _warn(str(error))
        return cast("Callable[P, R]", numba.njit(nogil=True)(function))


def _warn(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"compiled kernels are not kept, every start compiles them again: {reason}", CacheWarning, stacklevel=4)
