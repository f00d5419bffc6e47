"""Minor units of ISO 4217, and the one rounding: half up on the absolute value."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from math import floor
from typing import Final

from core.errors import Invalid

PLACES: Final = 12  # of a precise amount: numeric(30, 12)
EXACT: Final = Context(prec=400)

_OTHERS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_HUNDREDTHS: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC CUP CVE CZK DKK
DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK
LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR
RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED
VES WST XCD XCG YER ZAR ZMW ZWG
"""
MINOR_UNITS: Final = dict.fromkeys(_HUNDREDTHS.split(), 2) | {
    code: places for places, codes in _OTHERS.items() for code in codes.split()
}


def minor_units(currency: str) -> int:
    """How many decimals the currency has: CNY 2, JPY 0, KWD 3. Raises Invalid `currency_unknown`."""
    if currency not in MINOR_UNITS:
        raise Invalid("currency_unknown", "this is no currency code of ISO 4217", field="currency")
    return MINOR_UNITS[currency]


def rounded(amount: Fraction) -> int:
    """To a whole number, half away from zero.

    >>> rounded(Fraction(5, 2)), rounded(Fraction(-5, 2))
    (3, -3)
    """
    whole = floor(abs(amount) + Fraction(1, 2))
    return whole if amount >= 0 else -whole


def precise(amount: Fraction | Decimal) -> Decimal:
    """A precise amount: currency units with twelve decimals, half up.

    >>> precise(Fraction(2, 3))
    Decimal('0.666666666667')
    """
    return EXACT.scaleb(Decimal(rounded(Fraction(amount) * 10**PLACES)), -PLACES)


def minor_of(amount: Fraction | Decimal, currency: str) -> int:
    """A line's amount in the currency's minor unit (fen, yen, fils). To be called once per line.

    >>> minor_of(Decimal("1.005"), "CNY"), minor_of(Decimal("1.5"), "JPY"), minor_of(Decimal("1.0005"), "KWD")
    (101, 2, 1001)
    """
    return rounded(Fraction(amount) * 10 ** minor_units(currency))


def units_of(minor: int, currency: str) -> Decimal:
    """Minor units as an amount in currency units, with the currency's decimals.

    >>> units_of(-105, "CNY")
    Decimal('-1.05')
    """
    return EXACT.scaleb(Decimal(minor), -minor_units(currency))


def round_carried(amount: Decimal, carried: Decimal, currency: str) -> tuple[int, Decimal]:
    """Round an amount together with what earlier rounding left over: (minor units, what is carried on).

    What is carried is never more than half a minor unit, either way, so that any number of lines drifts by no more than that.

    >>> round_carried(Decimal("0.004"), Decimal("0.004"), "CNY")
    (1, Decimal('-0.002000000000'))
    """
    whole = Fraction(amount) + Fraction(carried)
    minor = minor_of(whole, currency)
    return minor, precise(whole - Fraction(minor, 10 ** minor_units(currency)))
