"""算力标识: structured, never ambiguous, with a check character that notices slips."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from marketplace.identifiers import LETTER_OF_KIND, is_identifier, pool_identifier, region_part
from marketplace.regions import PROVINCES

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
identifiers = st.builds(
    pool_identifier,
    st.sampled_from([one.gb_code for one in PROVINCES]) | st.integers(0, 99999).map(lambda n: region_part(None, n)),
    st.sampled_from(sorted(LETTER_OF_KIND)),
    st.integers(0, 2**40),
).filter(bool)


def test_an_identifier_names_region_kind_and_serial() -> None:
    assert pool_identifier("640000", "general", 42) == "640000-G-00001A-T"
    assert pool_identifier(region_part(None, 7), "intelligent", 1) == "X00007-I-000001-X"


def test_a_serial_whose_check_character_is_odd_is_skipped() -> None:
    made = [pool_identifier("640000", "general", serial) for serial in range(500)]
    assert None in made
    assert all("*" not in text for text in made if text)


@given(identifiers)
def test_every_identifier_is_valid_and_fits_its_column(text: str) -> None:
    assert is_identifier(text)
    assert len(text) <= 40


@given(identifiers, st.data())
def test_one_wrong_character_is_noticed(text: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([i for i, char in enumerate(text) if char != "-"]))
    other = data.draw(st.sampled_from([char for char in ALPHABET if char != text[place]]))
    assert not is_identifier(text[:place] + other + text[place + 1 :])


@given(identifiers, st.data())
def test_two_swapped_neighbours_are_noticed(text: str, data: st.DataObject) -> None:
    places = [i for i in range(len(text) - 1) if text[i] != text[i + 1] and "-" not in text[i : i + 2]]
    place = data.draw(st.sampled_from(places))
    assert not is_identifier(text[:place] + text[place + 1] + text[place] + text[place + 2 :])


def test_what_has_another_shape_is_no_identifier() -> None:
    for text in ("", "640000-G-00001A", "640000-Z-00001A-1", "640000-G-00001A-1 ", "64000-G-00001A-1"):
        assert not is_identifier(text)
