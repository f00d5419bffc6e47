"""Capacity in another precision becomes FP32 by a cited factor, or not at all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client

from core.errors import Invalid
from index.defining import ensure_shipped
from index.importing.services import File, Source, commit, preview
from index.models import Observation
from index.precisions import BASE, PRECISIONS, conversion_of, devices, in_fp32, peaks
from tests import builders as build

HEAD = "region_code,indicator,year,value,unit,source,precision\n"


def test_every_device_of_the_table_has_an_fp32_peak_and_every_line_a_page() -> None:
    assert {one.device for one in peaks().values()} == set(devices())
    assert len(devices()) >= 10
    for one in peaks().values():
        assert one.precision in PRECISIONS
        assert one.tflops > 0
        assert one.cited.startswith("https://")


@pytest.mark.parametrize(
    ("text", "factor"),
    [("FP32", "1"), ("fp16  nvidia a100", "0.0625"), ("FP16 NVIDIA V100 SXM2", "0.1256"), ("FP64 AMD MI250X", "1")],
)
def test_a_factor_is_the_fp32_peak_over_the_quoted_one(text: str, factor: str) -> None:
    assert conversion_of(text).factor == Decimal(factor)


def test_more_precise_is_never_worth_less() -> None:
    for device in devices():
        factors = [conversion_of(f"{one} {device}").factor for one in PRECISIONS if (device.lower(), one) in peaks()]
        assert factors == sorted(factors, reverse=True), device
        assert in_fp32(Decimal(8), conversion_of(f"{BASE} {device}")) == 8


@pytest.mark.parametrize(
    ("text", "word"), [("", "without a precision"), ("FP16", "of which device"), ("FP16 Abacus 9", "has no FP16")]
)
def test_without_a_factor_nothing_is_guessed(text: str, word: str) -> None:
    with pytest.raises(Invalid, match=word) as refused:
        conversion_of(text)
    assert (refused.value.code, refused.value.field) == ("precision_unknown", "precision")


@pytest.mark.django_db
def test_a_file_in_fp16_is_kept_as_fp32_with_what_it_said() -> None:
    ensure_shipped()
    rows = "440000,dc_ai,2022,16,EFLOPS,a bulletin,FP16 NVIDIA A100\n310000,dc_ai,2022,2,EFLOPS,a bulletin,FP32\n"
    seen = preview(File("ai.csv", (HEAD + rows).encode(), Source("A bulletin")))
    assert [(one["code"], one["severity"], one["row"]) for one in seen.report] == [("fp32_converted", "warning", 2)]
    assert "16 EFLOPS of FP16 on NVIDIA A100 count as 1" in seen.report[0]["detail"]
    commit(seen.pk)
    kept = Observation.objects.get(region="440000")
    assert (kept.value, kept.unit) == (Decimal(1), "EFLOPS_FP32")
    assert kept.evidence["table"] == "fp32@1"
    assert Observation.objects.get(region="310000").value == 2
    client = Client()
    client.force_login(build.alice().user)
    page = client.get(f"/index/observations/{kept.pk}/").content.decode()
    assert "Quoted as 16 EFLOPS of FP16 on NVIDIA A100" in page
    assert "0.0625" in page


@pytest.mark.django_db
def test_a_file_without_a_precision_is_refused_at_its_row() -> None:
    ensure_shipped()
    seen = preview(File("ai.csv", (HEAD + "440000,dc_ai,2022,16,EFLOPS,a bulletin,\n").encode(), Source("A bulletin")))
    assert [(one["code"], one["severity"], one["row"]) for one in seen.report] == [("precision_unknown", "error", 2)]
