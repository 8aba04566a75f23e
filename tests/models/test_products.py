"""Products by either library are the same."""

from __future__ import annotations

import pytest
import torch

from models.products import LARGE, added_product, is_faster, product

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
    monkeypatch.setattr("models.products._outruns_mkl", lambda: True)
    one = torch.ones(1, 1)
    assert is_faster(LARGE, one, one)
    assert not is_faster(LARGE - 1, one, one)
    assert not is_faster(LARGE, one, one.double())
    monkeypatch.setattr("models.products._outruns_mkl", lambda: False)
    assert not is_faster(LARGE, one, one)
