"""Small frames are computed fastest by one thread; stops at a chosen moment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from napari_i2ipr.progress import Cancel


@pytest.fixture(autouse=True)
def one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class _After(Cancel):
    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.fixture(scope="session")
def after() -> Callable[[int], Cancel]:
    """Stops that are set once they have been looked at so many times."""
    return _After
