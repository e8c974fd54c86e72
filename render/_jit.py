"""What kernels are made with: numba, with types that its own decorators do not have.

`@kernel` compiles a function without the interpreter lock and keeps the machine code in numba's cache (`NUMBA_CACHE_DIR`, else
`__pycache__` beside the file). Where the cache cannot be written the kernels compile at every start: one warning, no failure.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba

P = ParamSpec("P")
R = TypeVar("R")

_njit: Any = numba.njit  # its own type knows neither of the options below by name


class CacheWarning(RuntimeWarning):
    """Compiled kernels cannot be kept; each start compiles them again."""


STALE: Final = -1  # a bare kernel's answer when it was compiled from other sources

_warned = False
_BARE: Final = {"_nrt": False}  # numba's documented switch for code that needs no memory of its own (numba.extending.register_jitable)


def kernel(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function of arrays and integers at its first call. `python_function` gives the plain one back."""
    compiled = _compiled(function, {})

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal compiled
        try:
            return compiled(*args, **kwargs)
        except OSError as error:  # kernels do no I/O of their own: only keeping or reading the machine code can raise it
            _warn(str(error))
            compiled = cast("Callable[P, R]", _njit(nogil=True)(function))
            return compiled(*args, **kwargs)

    return call


def bare_kernel(function: Callable[P, int]) -> Callable[P, int]:
    """A kernel that makes no arrays, only takes them: numba then counts no references to them. Where rows of arrays are taken thousands of
    times, as in the drawing of text, counting costs more than the work. It may call routines and helpers, also from other files.

    numba keeps machine code until the kernel's own file changes. One that is made of several files is told a digest of them, compares it
    with the one that was compiled into it, and answers STALE: it is then compiled anew and called again.
    """
    compiled = _compiled(function, _BARE)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> int:
        nonlocal compiled
        try:
            answer = compiled(*args, **kwargs)
            if answer == STALE:
                compiled.recompile()  # type: ignore[attr-defined]  # of numba's dispatcher
                answer = compiled(*args, **kwargs)
        except OSError as error:  # as for `kernel`
            _warn(str(error))
            compiled = cast("Callable[P, int]", _njit(nogil=True, **_BARE)(function))
            answer = compiled(*args, **kwargs)
        return answer

    return call


def helper(function: Callable[P, R]) -> Callable[P, R]:
    """A function that kernels call; it is compiled into each of them. For kernels of other files see `bare_kernel`'s STALE."""
    return cast("Callable[P, R]", _njit(nogil=True, inline="always")(function))


def routine(function: Callable[P, R]) -> Callable[P, R]:
    """A larger function that bare kernels and other routines call, never Python; the optimiser decides whether it becomes part of them.
    For kernels of other files see `bare_kernel`'s STALE."""
    return cast("Callable[P, R]", _njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_BARE)(function))


def python_function(compiled: Callable[P, R]) -> Callable[P, R]:
    """The undecorated function behind a kernel, for tests."""
    return cast("Callable[P, R]", compiled.__wrapped__)  # type: ignore[attr-defined]  # set by functools.wraps


def _compiled(function: Callable[P, R], options: dict[str, bool]) -> Callable[P, R]:
    try:
        return cast("Callable[P, R]", _njit(cache=True, nogil=True, **options)(function))
    except RuntimeError as error:  # numba's word for "no place for the cache"
        _warn(str(error))
        return cast("Callable[P, R]", _njit(nogil=True, **options)(function))


def _warn(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(f"compiled kernels are not kept, every start compiles them again: {reason}", CacheWarning, stacklevel=4)
