# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest

from webapp.errors import InvalidFields
from webapp.services.accounts import passwords

COMMON = """
password password1 Password1! Dr@g0n#12 L1verp00l!! m0nk3y2024
P@ssw0rd p@$$w0rd passw0rd2024 PASSWORD! 123456789 1234567890
qwertyuiop qwerty123456 1q2w3e4r 1qaz2wsx asdfghjkl zxcvbnm123 qwertz123 azertyuiop aaaaaaaa
abababab 12121212 abcabcabc abcd1234 iloveyou! letmein123 welcome2026 Welcome2026!! admin123
administrator changeme! slipway1 Slipway2026! maasmaas maas2026!! kubernetes provisioning1
trustno123 liverpool1 monkey1234 dragon12! sunshine! superman99 19840412 04-12-1984 12041984
Summer2026! winter2025 company123 ubuntu2404 vmware123! 987654321 qazwsxedc !qaz2wsx 11111111
maas-admin Maas-Admin! Slipway-2026 slipway_2026! maas-slipway ubuntu-2026 Maas2026!
""".split()
GOOD = (
    "correct horse battery staple",
    "tr0ub4dor&3 was never good",
    "mein-Hund-heißt-Balduin",
    "x7Kq-92fT-mmLz",
    "dragonfruit-sorbet-on-tuesdays",
    "passwords are for people",
    "パスワードは長いほうがいい",
    "qwerty and then some words",
    "1234567890 is not my number",
    "zk4vPw9!",
    "k7#mQ2vz",
)


@pytest.mark.parametrize("password", COMMON)
def test_what_everybody_guesses_first_is_refused(password: str) -> None:
    with pytest.raises(InvalidFields, match=r"too common"):
        passwords.check_choice(password, "maria")


@pytest.mark.parametrize("password", GOOD)
def test_a_password_of_ones_own_is_taken(password: str) -> None:
    passwords.check_choice(password, "maria")


def test_well_known_passwords_that_are_long_enough_are_refused() -> None:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    listed = [word for word in FREQUENCY_LISTS["passwords"] if len(word) >= passwords.SHORTEST]
    assert len(listed) > 10_000
    for word in [*listed[:300], *listed[300:3000:30]]:
        assert passwords.is_common(word), word
        assert passwords.is_common(f"{word}1"), word


def test_the_lists_are_loaded_only_when_a_password_is_chosen() -> None:
    code = "import sys; from webapp.services.accounts import users; print('zxcvbn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_user_name_makes_no_password() -> None:
    for password in ("mariasmith", "mariasmith1", "MariaSmith!!"):
        with pytest.raises(InvalidFields, match="base the password on the user name"):
            passwords.check_choice(password, "MariaSmith")
    passwords.check_choice("mariasmith likes long walks", "mariasmith")


@pytest.mark.parametrize(("length", "is_taken"), [(7, False), (8, True), (256, True), (257, False)])
def test_length_has_bounds(length: int, is_taken: bool) -> None:
    password = ("zk4vPw9x" * 33)[:length]
    if is_taken:
        passwords.check_choice(password if length > 8 else "zk4vPw9!", "maria")
    else:
        with pytest.raises(InvalidFields):
            passwords.check_choice(password, "maria")


def test_a_refusal_never_repeats_the_password() -> None:
    with pytest.raises(InvalidFields) as caught:
        passwords.check_choice("Password2024!", "maria")
    assert "Password2024!" not in str(caught.value)


def test_the_same_password_is_kept_differently_each_time() -> None:
    first, second = passwords.hash_password("x" * 20), passwords.hash_password("x" * 20)
    assert first != second
    assert passwords.verify("x" * 20, first)
    assert not passwords.verify("x" * 19, first)
    assert not passwords.needs_rehash(first)


def test_an_unknown_user_matches_no_password() -> None:
    assert not passwords.verify("nobody has this password", None)
