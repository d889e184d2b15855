"""Finding and downloading the files of the public corpora, without a network."""

import dataclasses
import hashlib
import http.client
import pathlib
import urllib.request

import pytest

from vaetx_jax.data.corpora import air, sst2
from vaetx_jax.data.corpora.source import Source, SourceFile, locate
from vaetx_jax.errors import UserError

CONTENT = b"one\ntwo\nthree\n"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tiny(url: str, **changes) -> Source:
    file = SourceFile("tiny/a.txt", lines=3, sha256=sha256(CONTENT), url=url)
    return Source(
        name="tiny",
        version="1.0.0",
        release_notes={},
        description="",
        licence="",
        citation="",
        homepage="",
        files=(dataclasses.replace(file, **changes),),
        rows={},
        read=lambda paths, dropped: {},
    )


@pytest.fixture
def home(tmp_path) -> pathlib.Path:
    path = tmp_path / "home.txt"
    path.write_bytes(CONTENT)
    return path


def test_a_download_is_laid_out_as_manual_dir_is(home, tmp_path):
    cache = tmp_path / "cache"
    found = locate(tiny(home.as_uri()), "", cache)
    assert found == {"tiny/a.txt": cache / "downloads" / "tiny" / "a.txt"}
    assert found["tiny/a.txt"].read_bytes() == CONTENT
    again = locate(tiny("file:///none"), str(cache / "downloads"), tmp_path / "unused")
    assert again["tiny/a.txt"].read_bytes() == CONTENT
    assert [p.name for p in (cache / "downloads" / "tiny").iterdir()] == ["a.txt"]


def test_a_file_is_downloaded_once(home, tmp_path):
    locate(tiny(home.as_uri()), "", tmp_path)
    home.unlink()
    assert locate(tiny(home.as_uri()), "", tmp_path)["tiny/a.txt"].read_bytes() == CONTENT


def test_a_damaged_download_is_fetched_again(home, tmp_path):
    path = locate(tiny(home.as_uri()), "", tmp_path)["tiny/a.txt"]
    path.write_bytes(CONTENT[:5])
    locate(tiny(home.as_uri()), "", tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_changed_file_upstream_is_refused_and_not_kept(home, tmp_path):
    home.write_bytes(b"one\ntwo\n")
    with pytest.raises(UserError, match=f"wrong checksum.*sha256 is {sha256(home.read_bytes())}"):
        locate(tiny(home.as_uri()), "", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.txt"))


def test_a_converted_file_is_verified_twice(home, tmp_path):
    home.write_bytes(CONTENT.upper())
    upper = sha256(CONTENT.upper())
    source = tiny(home.as_uri(), url_sha256=upper, convert=bytes.lower)
    assert locate(source, "", tmp_path)["tiny/a.txt"].read_bytes() == CONTENT
    wrong = tiny(home.as_uri(), url_sha256=upper, convert=bytes.title)
    with pytest.raises(UserError, match=f"expected {sha256(CONTENT)}"):
        locate(wrong, "", tmp_path / "other")


def test_the_upstream_form_in_manual_dir_is_converted(tmp_path):
    path = tmp_path / "mine" / "tiny" / "a.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT.upper())
    source = tiny("https://home", url_sha256=sha256(CONTENT.upper()), convert=bytes.lower)
    found = locate(source, str(tmp_path / "mine"), tmp_path / "cache")
    assert found["tiny/a.txt"].read_bytes() == CONTENT
    assert path.read_bytes() == CONTENT.upper()


def no_route(*_, **__):
    raise urllib.error.URLError(OSError(101, "Network is unreachable"))


def cut_short(*_, **__):
    raise http.client.IncompleteRead(b"on")


@pytest.mark.parametrize("failure", [no_route, cut_short])
def test_a_failed_download_says_which_file_to_put_where(tmp_path, monkeypatch, failure):
    monkeypatch.setattr(urllib.request, "urlopen", failure)
    with pytest.raises(
        UserError, match=r"cannot download https://x/y: .*as tiny/a\.txt and set da"
    ):
        locate(tiny("https://x/y"), "", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_half_download(home, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        locate(tiny(home.as_uri()), "", tmp_path / "cache")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b"one\ntwo\n", "it has 2 lines instead of 3: it looks truncated"),
        (b"one\r\ntwo\r\nthree\r\n", "Windows line ends"),
        (b"one\ntwo\nthird\n", r"it has 3 lines \(3 expected\)"),
    ],
)
def test_a_wrong_file_in_manual_dir_is_told(tmp_path, content, problem):
    path = tmp_path / "tiny" / "a.txt"
    path.parent.mkdir()
    path.write_bytes(content)
    expected = f"wrong checksum of {path}: sha256 is {sha256(content)}, expected {sha256(CONTENT)}"
    with pytest.raises(UserError, match=rf"{expected}; .*{problem}.*https://home"):
        locate(tiny("https://home"), str(tmp_path), tmp_path / "cache")


def test_a_missing_file_in_manual_dir_is_told(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*tiny/a\.txt: No such file.*https://home"):
        locate(tiny("https://home"), str(tmp_path), tmp_path)


def test_upstream_sst2_lines_are_turned_round():
    upstream = b"1 a fine -lrb- film\n0 it 's \" bad\n"
    assert sst2.label_last(upstream) == b"a fine -lrb- film\t1\nit 's \" bad\t0\n"


def test_upstream_sst2_has_the_published_checksum(real_data):
    for file in sst2.SOURCE.files:
        rows = (
            line.rpartition(b"\t") for line in (real_data / file.path).read_bytes().splitlines()
        )
        upstream = b"".join(label + b" " + text + b"\n" for text, _, label in rows)
        assert sha256(upstream) == file.url_sha256
        assert sha256(sst2.label_last(upstream)) == file.sha256


def test_a_tweet_is_cleaned():
    assert air.clean(" a &amp; b\r\n\nc &lt;3 \n") == "a & b c <3"
