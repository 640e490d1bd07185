"""The calculator: exact, bounded, and no way to Python."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.agent.tools.calculator import shown, value_of
from demos.agent.tools.workplace import ToolFailure


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("0.1 + 0.2", "0.3"),
        ("2 ^ 10", "1024"),
        ("2*3^2", "18"),
        ("-2**2", "-4"),
        ("-7 // 2", "-4"),
        ("15 % 4", "3"),
        ("10**-5", "0.00001"),
        ("2**200", str(2**200)),
        ("1/3", "1/3 ≈ 0.333333333333333"),
        ("-1/4", "-0.25"),
        ("sqrt(16/9)", "4/3 ≈ 1.33333333333333"),
        ("4 ** 0.5", "2"),
        ("sqrt(10**40)", str(10**20)),
        ("sqrt(2)", "≈ 1.4142135623731"),
        ("round(2.675, 2)", "2.68"),
        ("round(-0.5)", "-1"),
        ("comb(49, 6)", "13983816"),
        ("factorial(20)", "2432902008176640000"),
        ("gcd(12, 18, 27)", "3"),
        ("lcm(4, 6)", "12"),
        ("log10(10**500)", "≈ 500"),
        ("log(8, 2)", "≈ 3"),
        ("sin(radians(30))", "≈ 0.5"),
        ("max(1, 2, 3.5)", "3.5"),
        ("floor(-2.5)", "-3"),
        ("（17＋4）× 3 ÷ 7", "9"),
        ("３．５＊２", "7"),
        ("5² + 2¹⁰", "1049"),
        ("√2 * √(2)", "≈ 2"),
        ("√16", "4"),
        ("5! / 3!", "20"),
        ("200 * 15%", "30"),
        ("(12.5 %) * 8", "1"),
        ("17 % 5 + 17 mod 5", "4"),
        ("10**3890 + 1/3", f"{3 * 10**3890 + 1}/3 ≈ 1.00000000000000e+3890"),
        ("1e-100", f"1/{10**100} ≈ 1e-100"),
        ("1_000 * 3 =", "3000"),
        ("(-1) ** 99999999999", "-1"),
        ("0 ** 5", "0"),
        ("1e3", "1000"),
        ("123456789 * 987654321", "121932631112635269"),
        ("12.5 % 4", "0.5"),
        ("abs(-3) + pi - pi", "≈ 3"),
        ("0xff", "255"),
    ],
)
def test_answers(expression: str, answer: str) -> None:
    assert shown(value_of(expression)) == answer


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("1/0", "Division by zero"),
        ("0 ** -1", "Division by zero"),
        ("9**9**9", "too big"),
        ("10**4000", "too big"),
        ("1e999999999", "too big"),
        ("1.0e-999999999", "too big"),
        ("factorial(10**9)", "too big"),
        ("comb(10**9, 10**8)", "too big"),
        ("perm(10000, 9999)", "too big"),
        ("exp(1000)", "too big"),
        ("(1/3)**100000", "too big"),
        ("lcm(" + ",".join(["2**12000-1", "3**7000"]) + ")", "too big"),
        ("2 ** (2 ** 0.5) ** 99", "too big"),
        ("sqrt(-1)", "not defined"),
        ("(-8) ** (1/3)", "no real number"),
        ("log(0)", "not defined"),
        ("asin(2)", "not defined"),
        ("factorial(-1)", "not defined"),
        ("factorial(2.5)", "whole number"),
        ("sin()", "not defined"),
        ("sin(1, 2)", "not defined"),
        ("", "no arithmetic"),
        ("2 +", "no arithmetic"),
        ("1,000", "comma between two numbers"),
        ("100 + 5% - 3", "percent or a remainder"),
        ("½", "no arithmetic"),
        ("3!=4", "not known"),
        ("x + 1", "not known"),
        ("__import__('os')", "not known"),
        ("(1).__class__", "not known"),
        ("[1]*9", "not known"),
        ("'a'*9", "not known"),
        ("True", "not known"),
        ("2j", "not known"),
        ("1 if 1 else 2", "not known"),
        ("lambda: 1", "not known"),
        ("sin(x=1)", "not known"),
        ("f'{1}'", "not known"),
        ("1 < 2", "not known"),
        ("(" * 300 + "1" + ")" * 300, "no arithmetic|nested"),
        ("-" * 500 + "1", "nested|no arithmetic"),
        ("1" * 1001, "1000 characters"),
        ("1\0", "no arithmetic"),
        ("max()", "not defined"),
        ("gcd(1.5)", "whole number"),
        ("a := 1", "no arithmetic"),
        ("1 << 99999999999", "not known"),
        ("~1", "not known"),
        ("\ud800", "no arithmetic"),
    ],
)
def test_what_is_no_arithmetic_or_too_much_is_said(expression: str, said: str) -> None:
    with pytest.raises(ToolFailure, match=said):
        value_of(expression)


NUMBERS = st.fractions(max_denominator=1000).map(lambda value: f"({value.numerator}/{value.denominator})")


@given(
    st.recursive(
        NUMBERS, lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda parts: f"({''.join(parts)})"), max_leaves=8
    )
)
@settings(max_examples=60, deadline=None)
def test_arithmetic_on_fractions_is_exact(expression: str) -> None:
    assert value_of(expression) == eval(expression.replace("/", "*One/"), {"One": Fraction(1)})


@given(st.text(alphabet="0123456789.+-*/%^()e,_ sqrtfacolgpin²√!％５", max_size=60))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_number_or_a_failure(expression: str) -> None:
    try:
        assert shown(value_of(expression))
    except ToolFailure as failure:
        assert str(failure)
