"""What a worker process of a local cluster does first; dask.distributed calls it by its name."""

from __future__ import annotations

import signal
import threading
from typing import Any


def dask_setup(_worker: Any) -> None:
    """Leave Ctrl-C, which a terminal sends to every process, to the program that started the workers."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
