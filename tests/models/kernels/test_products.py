"""Products by either library are the same."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.kernels import products
from nwb_latents.models.kernels.products import LARGE, added_product, is_faster, linear, product

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


@pytest.mark.parametrize("layout", ["rows", "columns", "gaps"])
def test_it_is_the_product_however_the_weights_lie(layout: str) -> None:
    torch.manual_seed(0)
    x, bias, y = torch.randn(6, 9)[:, 2:], torch.randn(5), torch.randn(6, 8)[:, :5]
    weight = {"rows": torch.randn(5, 7), "columns": torch.randn(7, 5).t(), "gaps": torch.randn(5, 9)[:, 1:8]}[
        layout
    ]
    expected = x.double() @ weight.double().T
    torch.testing.assert_close(product(x, weight).double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(product(x, weight, bias).double(), expected + bias, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(added_product(y, x, weight).double(), expected + y, rtol=1e-5, atol=1e-5)


def test_only_large_products_of_single_precision_are_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwb_latents.models.kernels.products.outruns_mkl", lambda: True)
    one, large = torch.ones(1, 1), LARGE * torch.get_num_threads()
    assert is_faster(large, one, one)
    assert not is_faster(large - 1, one, one)
    assert not is_faster(large, one, one.double())
    monkeypatch.setattr("nwb_latents.models.kernels.products.outruns_mkl", lambda: False)
    assert not is_faster(large, one, one)


def test_a_torch_without_the_other_library_multiplies_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    assert products._answers()

    def renamed(*given: object) -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    monkeypatch.setattr("nwb_latents.models.kernels.products.product", renamed)
    assert not products._answers()


@pytest.mark.parametrize(("n_in", "n_out"), [(7, 5), (5, 7)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_linear_map_has_the_same_gradient_by_both(
    monkeypatch: pytest.MonkeyPatch, n_in: int, n_out: int, *, biased: bool
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(3, 4, n_in, requires_grad=True), torch.randn(n_out, n_in, requires_grad=True)
    bias = torch.randn(n_out, requires_grad=True) if biased else None
    wanted = [x, weight, bias] if bias is not None else [x, weight]
    weigh = torch.randn(3, 4, n_out)
    monkeypatch.setattr("nwb_latents.models.kernels.products.LARGE", 0)
    made = []
    for faster in (False, True):
        monkeypatch.setattr("nwb_latents.models.kernels.products.outruns_mkl", lambda faster=faster: faster)
        y = linear(x, weight, bias)
        made.append([y, *torch.autograd.grad((y * weigh).sum(), wanted)])
    for mine, theirs in zip(*made, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_a_model_of_double_precision_and_one_under_autocast_stay_with_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nwb_latents.models.kernels.products.LARGE", 0)
    monkeypatch.setattr("nwb_latents.models.kernels.products.outruns_mkl", lambda: True)
    x, weight = torch.ones(2, 3, dtype=torch.float64), torch.ones(4, 3, dtype=torch.float64)
    assert linear(x, weight).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x.float(), weight.float()).dtype == torch.bfloat16
