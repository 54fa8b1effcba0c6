"""Programs that JAX has compiled, kept on this machine: compiling one costs more than most fits."""

from __future__ import annotations

import os

import jax
from platformdirs import user_cache_path

MAX_BYTES = 256 * 2**20


def keep_compiled_programs() -> None:
    """Let later processes take what JAX compiles here from the user's cache folder.

    Not the workspace: a compiled program fits one kind of processor, and runs as it is.
    """
    settings: dict[str, object] = {
        "jax_compilation_cache_max_size": MAX_BYTES,
        "jax_persistent_cache_min_compile_time_secs": 0,
    }
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        settings["jax_compilation_cache_dir"] = str(user_cache_path("tagsage") / "jax")
    for name, value in settings.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]
