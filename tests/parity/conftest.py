import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """Small tensors on many threads are slow."""
    torch.set_num_threads(1)
