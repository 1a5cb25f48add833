# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp.streams.errors import DocumentProblem
from webapp.streams.urls import MAX_URL, SIGNED_INDEX, StreamURL, check_path, join, normalise

ROOT = "https://images.maas.io/ephemeral-v3/stable/"
SAME_SOURCE = [
    ROOT,
    "https://images.maas.io/ephemeral-v3/stable",
    "https://images.maas.io/ephemeral-v3/stable///",
    "  https://images.maas.io/ephemeral-v3/stable/\n",
    "HTTPS://IMAGES.Maas.IO/ephemeral-v3/stable",
    "https://images.maas.io:443/ephemeral-v3/stable",
    "https://images.maas.io./ephemeral-v3/stable",
    "https://images.maas.io/ephemeral%2Dv3/st%61ble",
    "https://images.maas.io/ephemeral-v3/stable/streams/v1",
    "https://images.maas.io/ephemeral-v3/stable/streams/v1/",
    "https://images.maas.io/ephemeral-v3/stable/streams/v1/index.sjson",
    "https://images.maas.io/ephemeral-v3/stable/streams/v1/index.sjson/",
    "https://images.maas.io/ephemeral-v3/stable/streams/v1/index.json.gpg",
]
READ = [
    ("http://h", "http://h/", SIGNED_INDEX, True),
    ("http://h:80/", "http://h/", SIGNED_INDEX, True),
    ("http://h:8080/x", "http://h:8080/x/", SIGNED_INDEX, True),
    ("https://h:80/x", "https://h:80/x/", SIGNED_INDEX, True),
    ("http://h/streams/v1", "http://h/", SIGNED_INDEX, True),
    ("http://h/streams/v2", "http://h/streams/v2/", SIGNED_INDEX, True),
    ("http://h/a/streams/v1/index.json", "http://h/a/", "streams/v1/index.json", False),
    ("http://h/a/streams/v1/lts.sjson", "http://h/a/", "streams/v1/lts.sjson", True),
    ("http://h/a/streams/v1/a%3Ab.json.gpg", "http://h/a/", "streams/v1/a:b.sjson", True),
    ("file:///srv/m/streams/v1", "file:///srv/m/", SIGNED_INDEX, True),
    ("FILE://localhost/srv/a b".replace(" ", "%20"), "file:///srv/a%20b/", SIGNED_INDEX, True),
    ("http://10.0.0.7/m", "http://10.0.0.7/m/", SIGNED_INDEX, True),
    ("http://[2001:DB8:0:0::1]:8000/m", "http://[2001:db8::1]:8000/m/", SIGNED_INDEX, True),
    ("http://[::1]:80/m", "http://[::1]/m/", SIGNED_INDEX, True),
    ("http://bücher.example/m", "http://xn--bcher-kva.example/m/", SIGNED_INDEX, True),
    ("http://BÜCHER.example/m", "http://xn--bcher-kva.example/m/", SIGNED_INDEX, True),
    ("http://my_mirror.lan/m", "http://my_mirror.lan/m/", SIGNED_INDEX, True),
    ("http://h/ä", "http://h/%C3%A4/", SIGNED_INDEX, True),
    ("http://h/100%/x", "http://h/100%25/x/", SIGNED_INDEX, True),
    ("http://h/a~b+c:d", "http://h/a~b+c:d/", SIGNED_INDEX, True),
]
REFUSED = [
    ("", "empty"),
    ("   ", "empty"),
    ("http://h/" + "a" * MAX_URL, "too long"),
    ("images.maas.io/stable", "t a web address"),
    ("ftp://h/x", "t a web address"),
    ("file://server/srv/mirror", "another machine"),
    ("file:///srv//mirror", "empty segment"),
    ("file:///srv/../etc", "another folder"),
    ("javascript:alert(1)", "t a web address"),
    ("http://", "host"),
    ("http:///path", "host"),
    ("http://user:secret@h/x", "user name or password"),
    ("http://user@h/x", "user name or password"),
    ("http://@h/x", "user name or password"),
    ("http://h/x?release=noble", "query"),
    ("http://h/x?", "query"),
    ("http://h/x#top", "query or a fragment"),
    ("http://h:0/x", "port"),
    ("http://h:65536/x", "port"),
    ("http://h:http/x", "port"),
    ("http://[::1/x", "valid"),
    ("http://[fe80::1%25eth0]/x", "host"),
    ("http://[::g]/x", "valid"),
    ("http://h..example/x", "host"),
    ("http://-h/x", "host"),
    ("http://h!/x", "host"),
    ("http://ex%61mple/x", "host"),
    ("http://" + "a" * 64 + "/x", "host"),
    ("http://0x7f.1/x", "host"),
    ("http://2130706433/x", "host"),
    ("http://127.1/x", "host"),
    ("http://1.2.3.256/x", "host"),
    ("http://\u2025.example/x", "host"),
    ("http://h/a b", "space"),
    ("http://h\\@evil/x", "backslash"),
    ("http://h/\x00", "control"),
    ("http://h/a\nb", "control"),
    ("http://h/a\u2028b", "control"),
    ("http://h/\ud800", "control"),
    ("http://h/a//b", "empty segment"),
    ("http://h/a/../b", "another folder"),
    ("http://h/a/./b", "another folder"),
    ("http://h/%2e%2e/b", "another folder"),
    ("http://h/%252e%252e/b", "another folder"),
    ("http://h/a%2fb", "separator"),
    ("http://h/a%5cb", "separator"),
    ("http://h/%00", "control"),
    ("http://h/%ff", "UTF-8"),
    ("http://h/" + "a" * 256, "longer than"),
    ("http://h/streams/v1/index", "t an index"),
    ("http://h/streams/v1/index.html", "t an index"),
    ("http://h/streams/v1/.sjson", "t an index"),
    ("http://h/x/index.sjson", "streams/v1 folder"),
    ("http://h/x.sjson/streams/v1", "streams/v1 folder"),
    ("http://h/streams/v1/streams/v1", "streams/v1 folder"),
    ("http://h/index.json", "streams/v1 folder"),
]


@pytest.mark.parametrize("text", SAME_SOURCE)
def test_every_spelling_of_a_source_is_the_same_source(text: str) -> None:
    assert normalise(text) == StreamURL(ROOT, SIGNED_INDEX, True)
    assert normalise(text).url == ROOT


@pytest.mark.parametrize(("text", "root", "index_path", "is_signed"), READ)
def test_address_is_read_as_root_and_index(
    text: str, root: str, index_path: str, is_signed: bool
) -> None:
    url = normalise(text)
    assert url == StreamURL(root, index_path, is_signed)
    assert normalise(url.url) == url
    assert normalise(url.index_url) == url


@pytest.mark.parametrize(("text", "flaw"), REFUSED)
def test_bad_address_is_refused_with_its_flaw(text: str, flaw: str) -> None:
    with pytest.raises(DocumentProblem) as caught:
        normalise(text)
    assert caught.value.code == "url-invalid"
    assert flaw in caught.value.what
    assert caught.value.next_step


def test_user_info_is_in_no_part_of_the_problem() -> None:
    with pytest.raises(DocumentProblem) as caught:
        normalise("https://admin:hunter2@mirror.example/x")
    assert "hunter2" not in str(caught.value)
    assert "authentication fields" in caught.value.next_step


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("streams/v1/index.sjson", "streams/v1/index.sjson"),
        (
            "streams/v1/com.ubuntu.maas:stable:v3:download.sjson",
            "streams/v1/com.ubuntu.maas:stable:v3:download.sjson",
        ),
        ("a/2.02~beta2-36ubuntu3.32+x/b", "a/2.02~beta2-36ubuntu3.32+x/b"),
        ("a b/c?d#e", "a%20b/c%3Fd%23e"),
        ("50%/ä", "50%25/%C3%A4"),
        ("...", "..."),
        ("a/..b/c", "a/..b/c"),
    ],
)
def test_joined_path_is_encoded_below_the_root(path: str, expected: str) -> None:
    assert join(ROOT, path) == ROOT + expected


@pytest.mark.parametrize(
    ("path", "flaw"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("//evil.example/x", "is absolute"),
        ("http://evil.example/x", "scheme"),
        ("c:/windows", "scheme or a drive"),
        ("a//b", "empty segment"),
        ("a/", "empty segment"),
        (".", "another folder"),
        ("a/..", "another folder"),
        ("../a", "another folder"),
        ("a/./b", "another folder"),
        ("a/%2e%2E/b", "another folder"),
        ("a/%25%32%65./b", "another folder"),
        ("a/b%2fc", "separator"),
        ("a%5cb", "separator"),
        ("a\\b", "separator"),
        ("a\x00b", "control"),
        ("a\nb", "control"),
        ("a%0ab", "control"),
        ("a\ud800", "control"),
        ("a/" + "b" * 256, "segment longer"),
        ("ä" * 128, "segment longer"),
        ("/".join("a" * 513), "longer than 1024"),
    ],
)
def test_path_that_is_not_plain_is_refused(path: str, flaw: str) -> None:
    with pytest.raises(DocumentProblem) as caught:
        join(ROOT, path)
    assert caught.value.code == "document-bad-path"
    assert flaw in caught.value.what
    assert caught.value.where == ROOT


@given(st.text() | st.builds("http://{}/{}".format, st.text(max_size=20), st.text(max_size=40)))
def test_any_text_is_normal_or_refused(text: str) -> None:
    try:
        url = normalise(text)
    except DocumentProblem:
        return
    assert url.root.endswith("/")
    assert url.root.isascii()
    assert normalise(url.url) == url


@given(st.text(st.sampled_from("abc./%2eE5cf\\:~+ \x00ä"), max_size=30))
def test_no_accepted_path_leaves_the_root(path: str) -> None:
    try:
        check_path(path, where="")
    except DocumentProblem:
        return
    joined = urlsplit(join("http://h/root/", path))
    assert (joined.netloc, joined.query, joined.fragment) == ("h", "", "")
    assert unquote(joined.path) == f"/root/{path}"
    decoded = joined.path
    for _ in range(20):
        assert not {".", "..", ""} & set(decoded.split("/")[1:])
        assert "\\" not in decoded
        decoded = unquote(decoded)
