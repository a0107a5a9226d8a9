"""FLOPs are those of torch's operator counter, with attention on the CPU included."""

import importlib.util

import pytest

from mendel.records import RunStatus
from mendel.runs.local import LocalExecutor

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


@pytest.fixture(scope="module")
def torch_executor():
    local = LocalExecutor(preload=("torch", "numpy"), workers=1)
    yield local
    local.close()


def test_a_linear_layer_costs_what_the_book_says(torch_executor, make_job, run):
    code = """
        import torch
        layer = torch.nn.Linear(16, 4, bias=False)
        x = torch.ones(8, 16, requires_grad=True)
        layer(x).sum().backward()
        assert torch.get_num_threads() == 1
        """
    result = run(torch_executor, make_job(code, count_flops=True))
    assert result.status is RunStatus.DONE, result.reason
    assert result.flops == 3 * 2 * 8 * 16 * 4  # forward, gradient of the input, gradient of the weights


def test_attention_and_optimiser_steps_are_counted(torch_executor, make_job, run):
    code = """
        import torch
        from torch.nn.functional import scaled_dot_product_attention
        x = torch.ones(2, 3, 16, 8, requires_grad=True)
        scaled_dot_product_attention(x, x, x, is_causal=True).sum().backward()
        class Whiten(torch.optim.Optimizer):
            @torch.no_grad()
            def step(self):
                for group in self.param_groups:
                    for p in group["params"]:
                        p.sub_(p @ (p.T @ p))
        Whiten([torch.nn.Parameter(torch.ones(32, 8))], {}).step()
        raise SystemExit(0)
        """
    result = run(torch_executor, make_job(code, count_flops=True))
    assert result.status is RunStatus.DONE, result.reason
    product = 2 * 2 * 3 * 16 * 16 * 8
    # Two products forward; five backward, where the kernel computes the scores once more.
    assert result.flops == (2 + 5) * product + 2 * (2 * 32 * 8 * 8)


def test_nothing_is_counted_unless_asked(torch_executor, make_job, run):
    result = run(torch_executor, make_job("import torch; torch.ones(4, 4) @ torch.ones(4, 4)"))
    assert (result.status, result.flops) == (RunStatus.DONE, 0.0)


def test_a_huge_tensor_is_out_of_memory(torch_executor, make_job, run):
    result = run(torch_executor, make_job("import torch; torch.zeros(10**13)", memory=2e9))
    assert result.status is RunStatus.OUT_OF_MEMORY
    result = run(torch_executor, make_job("import torch; torch.ones(10**9, dtype=torch.uint8)", memory=8e8))
    assert result.status is RunStatus.OUT_OF_MEMORY
