"""What needs a CUDA device says so: each test here is skipped, with the reason, where there is none."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def cuda() -> torch.device:
    """The first CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: nothing about the GPU has been verified on this machine")
    return torch.device("cuda", 0)
