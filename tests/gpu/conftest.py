"""What needs a CUDA device says so: each test here is skipped, with the reason, where there is none."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def cuda() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: nothing about the GPU has been verified on this machine")
