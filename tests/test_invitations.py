"""Invitations: what is spelled is read, however it is typed, and every slip of the finger is caught and explained."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import json
import random
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, printable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.errors import BadInput
from coterie.invitations import (
    VERSION,
    Form,
    Invitation,
    read,
    secret_bytes,
    spell_code,
    spell_link,
    spell_raw,
    spell_words,
)
from coterie.spelling import BASE32, check_symbol
from coterie.words import words

ROOT = Path(__file__).parents[1]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "invitations.json").read_text("utf-8"))["invitations"]
FINGERPRINT = hashlib.sha256(b"a certificate").digest()

CODE = spell_code("192.168.1.50", 9847, b"\x12\x34\x56")
WORDS = spell_words("192.168.1.50", 9847, b"\x12\x34\x56\x78\x9a")
RAW = spell_raw(bytes.fromhex("a3f29b1cd4e5f6"))
LINK = spell_link("Laptop", [("192.168.1.50", 9847), ("fe80::1", 80)], b"\x01\x23\x45\x67\x89\xab\xcd\xef", FINGERPRINT)
ALL = (CODE, WORDS, RAW, LINK)

hosts = st.ip_addresses(v=4).map(str).filter(lambda ip: 0 < int(ip.partition(".")[0]) < 224)
ports = st.integers(1, 65535)


def refused(text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(text)
    return caught.value


def is_caught(text: str, right: Invitation) -> bool:
    """Whether a slip is refused; one that changes nothing of what is said is none."""
    try:
        return read(text) == right
    except BadInput:
        return True


def changed(text: str, alphabet: str) -> Iterator[str]:
    for at, letter in ((at, letter) for at in range(len(text)) for letter in alphabet):
        yield text[:at] + letter + text[at + 1 :]


def longer(text: str, alphabet: str) -> Iterator[str]:
    for at, letter in ((at, letter) for at in range(len(text) + 1) for letter in alphabet):
        yield text[:at] + letter + text[at:]


def shorter(text: str) -> Iterator[str]:
    yield from (text[:at] + text[at + 1 :] for at in range(len(text)))


def exchanged(text: str) -> Iterator[str]:
    for left, right in combinations(range(len(text)), 2):
        letters = list(text)
        letters[left], letters[right] = letters[right], letters[left]
        yield "".join(letters)


# --- What is spelled is read -----------------------------------------------------------------------------------------


@given(hosts, ports, st.binary(min_size=3, max_size=3))
def test_code(ip: str, port: int, drawn: bytes) -> None:
    text = spell_code(ip, port, drawn)
    assert re.fullmatch("([A-Z2-7]{3}-){4}[A-Z2-7]{3}", text)
    number = int.from_bytes(drawn, "big") & 0x3FFFFF
    assert read(text) == Invitation(Form.CODE, number.to_bytes(3, "big"), ((ip, port),))


@given(hosts, ports, st.binary(min_size=5, max_size=5))
def test_words(ip: str, port: int, drawn: bytes) -> None:
    text = spell_words(ip, port, drawn)
    assert re.fullmatch("([a-z]{4,7}-){8}[a-z]{4,7}", text)
    assert read(text) == Invitation(Form.WORDS, drawn, ((ip, port),))


@given(st.binary(min_size=7, max_size=7))
def test_raw(drawn: bytes) -> None:
    text = spell_raw(drawn)
    assert re.fullmatch("([0-9a-f]{4}-){3}[0-9a-f]{4}", text)
    assert read(text) == Invitation(Form.RAW, drawn)


@given(
    st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,38}[A-Za-z0-9])?", fullmatch=True),
    st.lists(
        st.tuples(hosts | st.ip_addresses(v=6).map(str).filter(lambda ip: not ip.startswith("::ffff:")), ports),
        min_size=1,
        max_size=8,
    ),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=32, max_size=32),
)
def test_link(name: str, endpoints: list[tuple[str, int]], drawn: bytes, fingerprint: bytes) -> None:
    text = spell_link(name, endpoints, drawn, fingerprint)
    assert len(text) < 600
    assert read(text) == Invitation(Form.LINK, drawn, tuple(endpoints), fingerprint, name)


def test_a_link_takes_names_too() -> None:
    text = spell_link("a", [("Build.Example", 443)], bytes(8), FINGERPRINT)
    assert read(text).addresses == (("build.example", 443),)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann's laptop", "Ann-s-laptop"),
        ("b\u00fcro/2", "b-ro-2"),
        ("", "device"),
        ("@", "device"),
        ("x" * 99, "x" * 40),
    ],
)
def test_a_name_in_a_link_has_no_sign_of_its_own(name: str, shown: str) -> None:
    assert read(spell_link(name, [("10.0.0.1", 1)], bytes(8), FINGERPRINT)).name == shown


@pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["text"][:30])
def test_the_published_examples(row: dict[str, object]) -> None:
    found = read(str(row["text"]))
    assert found.form == row["form"]
    assert found.secret.hex() == row["secret"]
    assert [list(endpoint) for endpoint in found.addresses] == row["addresses"]
    assert (found.fingerprint.hex() if found.fingerprint else None) == row["fingerprint"]
    assert found.name == row["name"]
    assert again(found) == row["text"]


def again(found: Invitation) -> str:
    if found.form is Form.CODE:
        return spell_code(*found.addresses[0], found.secret)
    if found.form is Form.WORDS:
        return spell_words(*found.addresses[0], found.secret)
    if found.form is Form.RAW:
        return spell_raw(found.secret)
    return spell_link(found.name, found.addresses, found.secret, found.fingerprint or b"")


def test_the_document_has_the_same_examples() -> None:
    document = (ROOT / "docs" / "invitations.md").read_text("utf-8")
    assert [row["text"] for row in VECTORS if row["text"] not in document] == []


def test_how_much_is_drawn() -> None:
    assert {form: secret_bytes(form) for form in Form} == {Form.CODE: 3, Form.WORDS: 5, Form.LINK: 8, Form.RAW: 7}


@pytest.mark.parametrize("form", Form)
def test_other_amounts_are_a_defect(form: Form) -> None:
    drawn = bytes(secret_bytes(form) + 1)
    with pytest.raises(AssertionError):
        again(Invitation(form, drawn, (("10.0.0.1", 1),), FINGERPRINT, "a"))


def test_equal_addresses_look_different() -> None:
    rng = random.Random(1)
    codes = [spell_code("192.168.1.50", 9847, rng.randbytes(3)).replace("-", "") for _ in range(200)]
    phrases = [spell_words("192.168.1.50", 9847, rng.randbytes(5)).split("-") for _ in range(200)]
    assert len({code[:9] for code in codes}) == 200
    assert all(len({phrase[place] for phrase in phrases}) > 150 for place in range(4))


def test_nobody_sees_the_secret_of_one_that_is_printed() -> None:
    for text in ALL:
        assert read(text).secret.hex() not in repr(read(text))
        assert repr(read(text).secret) not in repr(read(text))


# --- Addresses that do not fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ip", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "laptop.local", "fe80::1%eth0"])
def test_what_fits_into_a_link_only(ip: str) -> None:
    for spell, form in ((spell_code, Form.CODE), (spell_words, Form.WORDS)):
        with pytest.raises(BadInput, match="does not fit into") as caught:
            spell(ip, 9847, bytes(secret_bytes(form)))
        assert "a link takes any address" in caught.value.hint


def test_a_zone_goes_into_no_link() -> None:
    with pytest.raises(BadInput, match="on this device only"):
        spell_link("a", [("fe80::1%eth0", 1)], bytes(8), FINGERPRINT)


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_ports_that_there_are_not(port: int) -> None:
    for form in (Form.CODE, Form.WORDS, Form.LINK):
        with pytest.raises(BadInput, match="no port"):
            again(Invitation(form, bytes(secret_bytes(form)), (("10.0.0.1", port),), FINGERPRINT, "a"))


@pytest.mark.parametrize("count", [0, 9])
def test_a_link_has_one_to_eight_addresses(count: int) -> None:
    with pytest.raises(AssertionError):
        spell_link("a", [("10.0.0.1", 1)] * count, bytes(8), FINGERPRINT)


# --- However it is typed ---------------------------------------------------------------------------------------------

SEPARATORS = [
    " ",
    "-",
    ".",
    "\n",
    "\t",
    "  ",
    " - ",
    "\u00a0",
    "\u2013",
    "\u2014",
    "\u2011",
    "\u200b",
    "\u00ad",
    "_",
    ",",
]


@given(st.sampled_from([CODE, RAW]), st.randoms(use_true_random=False))
def test_a_code_with_anything_between_its_letters(text: str, rng: random.Random) -> None:
    bare = text.replace("-", "")
    typed = "".join(rng.choice(["", "", *SEPARATORS]) + rng.choice([c.upper(), c.lower()]) for c in bare)
    assert read(typed + rng.choice(SEPARATORS)) == read(text)


def test_lookalikes_in_a_code() -> None:
    text = next(t for t in codes() if {"O", "I", "B"} <= set(t))
    assert read(text.replace("O", "0").replace("I", "1").replace("B", "8")) == read(text)


def codes() -> Iterator[str]:
    rng = random.Random(7)
    while True:
        yield spell_code("10.0.0.1", 9847, rng.randbytes(3))


@given(st.randoms(use_true_random=False))
def test_words_in_any_case_with_anything_between(rng: random.Random) -> None:
    typed = rng.choice(SEPARATORS[:11]).join(
        "".join(rng.choice([c.upper(), c]) for c in word[: rng.choice([4, 7])]) for word in WORDS.split("-")
    )
    assert read(typed) == read(WORDS)


def test_words_by_their_first_four_letters() -> None:
    assert read(" ".join(word[:4] for word in WORDS.split("-"))) == read(WORDS)
    assert read(" ".join(word[:4] + "zzz" for word in WORDS.split("-"))) == read(WORDS)


def test_words_without_anything_between() -> None:
    assert read(WORDS.replace("-", "")) == read(WORDS)


def test_words_with_a_line_break_inside() -> None:
    for at in range(len(WORDS)):
        assert read(WORDS[:at] + "\n" + WORDS[at:]) == read(WORDS)


@pytest.mark.parametrize("around", ["{}", "  {}\n", "<{}>", '"{}".', "`{}`", "({})", "{},"])
@pytest.mark.parametrize("text", ALL)
def test_what_a_chat_puts_around_it(text: str, around: str) -> None:
    assert read(around.format(text)) == read(text)


def test_a_link_in_any_case_and_broken_over_lines() -> None:
    assert read(LINK.upper()) == read(LINK.lower().replace("laptop", "LAPTOP")) != read(LINK)
    assert read(LINK.upper()).name == "LAPTOP"
    assert read(LINK[:40] + "\n  " + LINK[40:90] + "\r\n" + LINK[90:]) == read(LINK)
    assert read(LINK.replace("-", "\u2013")) == read(LINK)


def test_lookalikes_in_a_link() -> None:
    head, slash, tail = LINK.rpartition("/")
    assert set("oib") <= set(tail)
    assert read(head + slash + tail.replace("o", "0").replace("i", "1").replace("b", "8")) == read(LINK)


# --- Every slip is caught --------------------------------------------------------------------------------------------


def test_every_slip_in_a_code() -> None:
    bare, right = CODE.replace("-", ""), read(CODE)
    for text in [*changed(bare, ascii_uppercase + digits), *exchanged(bare)]:
        assert is_caught(text, right), text
    for text in [*longer(bare, ascii_uppercase + digits), *shorter(bare)]:
        refused(text)


def test_every_slip_in_a_raw_code() -> None:
    bare, right = RAW.replace("-", ""), read(RAW)
    for text in [*changed(bare, ascii_lowercase + digits), *exchanged(bare)]:
        assert is_caught(text, right), text
    for text in [*longer(bare, ascii_lowercase + digits), *shorter(bare)]:
        refused(text)


def test_any_two_wrong_digits_of_a_raw_code() -> None:
    bare = RAW.replace("-", "")
    values = [int(digit, 16) for digit in bare]
    rng = random.Random(3)
    for left, right in combinations(range(16), 2):
        for _ in range(40):
            other = list(values)
            other[left] ^= rng.randrange(1, 16)
            other[right] ^= rng.randrange(1, 16)
            refused("".join(f"{value:x}" for value in other))


def test_one_wrong_digit_of_a_raw_code_is_located() -> None:
    bare = RAW.replace("-", "")
    for at in range(16):
        wrong = f"{int(bare[at], 16) ^ 5:x}"
        assert f"look at group {at // 4 + 1} first" in refused(bare[:at] + wrong + bare[at + 1 :]).hint


def test_every_other_word_at_every_place() -> None:
    right, phrase = read(WORDS), WORDS.split("-")
    for place in range(9):
        for word in words():
            text = " ".join([*phrase[:place], word, *phrase[place + 1 :]])
            assert is_caught(text, right), text


def test_every_exchange_of_two_words() -> None:
    phrase = WORDS.split("-")
    assert len(set(phrase)) == 9
    for left, right in combinations(range(9), 2):
        other = list(phrase)
        other[left], other[right] = phrase[right], phrase[left]
        assert "together they do not fit" in refused("-".join(other)).message


def test_every_slip_in_a_word() -> None:
    right = read(WORDS)
    for text in [*changed(WORDS, "aest1-"), *longer(WORDS, "at-"), *shorter(WORDS), *exchanged(WORDS[:15])]:
        whole = text if len(text) > 30 else text + WORDS[15:]
        assert is_caught(whole, right), whole


def test_every_slip_in_a_link() -> None:
    right, typed = read(LINK), [c for c in printable if not c.isspace()]
    for at in range(len(LINK)):
        for letter in typed if at % 4 == 0 else "abceiko018.:-/@,[]%":
            text = LINK[:at] + letter + LINK[at + 1 :]
            if text.lower() != LINK.lower():
                assert is_caught(text, right), text
    for text in [*shorter(LINK), *longer(LINK, "a1.-"), *(LINK[:at] for at in range(len(LINK)))]:
        assert is_caught(text, right), text


def test_two_wrong_characters_in_a_link() -> None:
    rng = random.Random(5)
    for _ in range(500):
        left, right = sorted(rng.sample(range(len("coterie://"), len(LINK)), 2))
        letters = list(LINK)
        letters[left], letters[right] = rng.choice(ascii_lowercase), rng.choice(ascii_letters)
        text = "".join(letters)
        if text.lower() != LINK.lower():
            assert is_caught(text, read(LINK)), text


def test_what_somebody_makes_up_passes_as_often_as_is_said() -> None:
    """One in 32 letters of a code, less the addresses that there are not; docs/invitations.md says so."""
    rng = random.Random(11)
    passed = sum(not is_refused("".join(rng.choices(BASE32, k=15))) for _ in range(20_000))
    assert 1 / 45 < passed / 20_000 < 1 / 30


def is_refused(text: str) -> bool:
    try:
        read(text)
    except BadInput:
        return True
    return False


# --- None can be taken for another -----------------------------------------------------------------------------------


def test_a_code_has_a_letter_that_no_raw_code_has() -> None:
    """So with a character too many it is no raw code, and a raw code with one too few is no code."""
    for text, _ in zip(codes(), range(3000), strict=False):
        assert set(text) & set("GHJKLMNPQRSTUVWXYZ")


def test_a_secret_whose_code_lacks_it_gives_way_to_the_next() -> None:
    ip, port, drawn = "192.168.1.50", 9847, bytes.fromhex("0177c2")
    found = read(spell_code(ip, port, drawn))
    assert found.secret == (int.from_bytes(drawn, "big") + 1).to_bytes(3, "big")
    assert found.addresses == ((ip, port),)


def test_a_raw_code_with_a_digit_missing_is_named_as_such() -> None:
    rng = random.Random(2)
    for _ in range(200):
        for text in shorter(spell_raw(rng.randbytes(7)).replace("-", "")):
            error = refused(text)
            assert "9 in it" in error.message or "15 digits instead of 16" in error.message


def test_no_raw_code_is_made_of_words() -> None:
    assert not any(set(word) <= set("0123456789abcdef") for word in words())


def test_the_shortest_phrase_has_more_letters_than_a_code() -> None:
    shortest = sorted((word[:4] for word in words()), key=len)[:9]
    assert len("".join(shortest)) == 36 > 16


@given(
    st.text(max_size=60) | st.text("abcdefoi0189-", max_size=40) | st.text(ascii_uppercase + "234567- ", max_size=60)
)
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    if not is_refused(text):
        assert read(again(read(text))) == read(text)


# --- What passes the check, and yet nobody here spelled ------------------------------------------------------------


def sealed(link: str) -> str:
    """A link with the checks that belong to it."""
    values = list(link.lower().encode())
    number = check_symbol(values, 11, VERSION) << 11 | check_symbol(values[::-1], 11, VERSION)
    return f"{link}-{''.join(BASE32[number >> 5 * place & 31] for place in reversed(range(5))).lower()}"


def test_the_checks_of_a_link() -> None:
    assert sealed(LINK.rpartition("-")[0]) == LINK


@pytest.mark.parametrize(
    "where", [",".join(["10.0.0.1:1"] * 9), "[fe80::1%eth0]:1", "10.0.0.256:1", "10.0.0.1:0", "10.0.0.1,", "a b"]
)
def test_a_link_with_addresses_that_there_are_not(where: str) -> None:
    tail = LINK.rpartition("/")[2].partition("-")[0]
    refused(sealed(f"coterie://a@{where}/k/{tail}"))
    assert read(sealed(f"coterie://a@10.0.0.1/k/{tail}")).addresses == (("10.0.0.1", 9847),)


def test_a_long_name_is_cut() -> None:
    tail = LINK.rpartition("/")[2].partition("-")[0]
    assert read(sealed(f"coterie://{'x' * 1500}@10.0.0.1/k/{tail}")).name == "x" * 40


def by_the_document(ip: str, port: int, secret: int) -> str:
    """A code, made step by step as docs/invitations.md says, with the standard library's base32."""
    plain = ipaddress.IPv4Address(ip).packed + port.to_bytes(2, "big")
    mask = hashlib.sha256(b"coterie invitation 1 code " + secret.to_bytes(3, "big")).digest()[-6:]
    masked = bytes(left ^ right for left, right in zip(plain, mask, strict=True))
    bits = (int.from_bytes(masked, "big") << 22 | secret) << 2  # 72 bits are nine bytes: two too many.
    text = base64.b32encode(bits.to_bytes(9, "big")).decode()[:14]
    return text + BASE32[check_symbol([BASE32.index(letter) for letter in text], 5, 1)]


@given(hosts, ports, st.integers(0, 2**22 - 1))
def test_a_code_is_what_the_document_says(ip: str, port: int, secret: int) -> None:
    text = by_the_document(ip, port, secret)
    if set(text) & set("GHJKLMNPQRSTUVWXYZ"):
        assert spell_code(ip, port, secret.to_bytes(3, "big")).replace("-", "") == text


@pytest.mark.parametrize(("ip", "port"), [("10.0.0.1", 0), ("0.1.2.3", 1), ("224.0.0.1", 1), ("255.255.255.255", 1)])
def test_an_address_that_no_device_has_is_a_slip(ip: str, port: int) -> None:
    assert refused(by_the_document(ip, port, 7)).message == "there is a slip in that invitation"
    assert read(by_the_document("223.0.0.1", 1, 7)).addresses == (("223.0.0.1", 1),)


# --- What whoever mistypes is told -----------------------------------------------------------------------------------

PHRASE = WORDS.replace("-", " ")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "there is no invitation", "coterie relay invite"),
        (" - \n", "there is no invitation", "coterie relay invite"),
        ("x" * 2001, "too long", "coterie relay invite"),
        ("ABC-DEF-GHI-JKL-MN", "14 letters and digits", "a relay code has 15, a raw code 16, and a phrase 9 words"),
        ("ABC-DEF-GHI-JKL-MNOPQ", "17 letters and digits", "a relay code has 15"),
        ("ABC-DEF-GHI-JKL-MNOP", "16 characters, too many for a relay code", "a raw code has 16, of 0 to 9 and a to f"),
        ("ABC-DEF-GHI-JKL-MN9", "group 5 of that relay code has a 9", "look again"),
        ("ABC-D9F-GHI-JKL-MNO", "group 2 of that relay code has a 9", "look again"),
        (CODE[:-1] + ("A" if CODE[-1] != "A" else "B"), "slip in that relay code", "five groups"),
        ("a3f2-9b1g-d4e5-f678", "group 2 of that raw code", "look again"),
        ("a3f2/9b1c", "no invitation", "begins with coterie://"),
        ("ABC-DEF-GHI-JKL-MN\u00d6", "characters in it", "coterie relay invite"),
        ("ABC-DEF-GHI-JKL-MN=", "characters in it", "coterie relay invite"),
        ("anchor banana camera", "3 words, and a phrase has 9", "first four letters"),
        (PHRASE + " anchor", "10 words, and a phrase has 9", "first four letters"),
        (PHRASE.partition(" ")[2], "8 words, and a phrase has 9", "first four letters"),
        ("xqz " + PHRASE.partition(" ")[2], "word 1 is not on the list", "look again"),
        (PHRASE.rpartition(" ")[0] + " anhcor", "word 9 is not on the list", "perhaps anchor"),
        (PHRASE.rpartition(" ")[0] + " anch0r", "word 9 is not on the list", "perhaps anchor"),
        ("http://coterie.example/k/x", "no invitation", "begins with coterie://"),
        (LINK[:60], "link is not whole", "copy it from end to end"),
        (LINK[:-3] + "999", "link is not whole", "copy it from end to end"),
        (LINK.replace("/k/", "/k/9", 1)[:-7] + LINK[-6:], "link is not whole", "copy it"),
        (LINK.replace("Laptop", "L\u00e4ptop"), "link is not whole", "copy it"),
        (LINK.replace("192.168.1.50", "192.168.1.51"), "slip in that link", "copy it again"),
    ],
)
def test_what_is_wrong_and_what_to_do(text: str, message: str, hint: str) -> None:
    error = refused(text)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("cctl://laptop-a3f2@192.168.1.50:9847/k/a3f29b1cd4e5f678", "a link"),
        (" CCTL://x", "a link"),
        ("YCU-ACM-UAV-PG6-6AI", "a relay code"),
        ("BIA-AAA-JVV-PG6-6AI", "a relay code"),
        ("vqi-aaa-mav-pg6-6ai", "a relay code"),
        ("nut-may-act-dub-jag-mid-orb-rap-act", "a word phrase"),
        ("ark ace ace act duo mid orb rap act", "a word phrase"),
    ],
)
def test_an_invitation_of_claudectl_is_named(text: str, what: str) -> None:
    error = refused(text)
    assert error.message == f"that looks like {what} of claudectl, which cannot work here"
    assert "coterie relay invite" in error.hint


def test_a_pair_code_of_claudectl_may_be_one_of_ours_with_a_slip() -> None:
    assert "one of claudectl cannot work here" in refused("a3f2-9b1c-d4e5-f678").hint


def test_no_error_repeats_what_was_typed() -> None:
    """Errors are logged, and what was typed is a secret but for one slip."""
    typed = [
        "ABCDEFGHIJKLMNP",
        CODE[:-1] + "9",
        RAW[:-1] + "g",
        RAW[::-1],
        LINK[:-1],
        WORDS + "-anchor",
        "zebra " + PHRASE.partition(" ")[2],
    ]
    for text in typed:
        said = str(refused(text)).lower()
        parts = [part.lower() for part in re.split(r"[\s/@-]+", text) if len(part) > 2]
        assert [part for part in parts if part in said.replace("coterie", "")] == []
