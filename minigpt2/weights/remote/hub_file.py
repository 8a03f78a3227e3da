"""A file on the hub read by byte ranges over HTTP, through huggingface_hub's own session.

The headers of every answer are checked before a byte of it is used: status 206, exactly the range that was asked for, a
file of the published size, no content encoding, and the content unchanged since the first answer. Wrong bytes under
right headers cannot be detected, because only the whole file has a hash.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final
from urllib.parse import urljoin

from minigpt2.forking import RenewedLock
from minigpt2.hub.answers import ANSWER_SECONDS, LONGEST_WAIT, Published, ask, asked_pause, translated_errors, within
from minigpt2.hub.cache import cache_root
from minigpt2.hub.errors import HubError, RefusedError, answered, download_command, endpoint, origin, server_of

MOST_FAILURES: Final = 3  # connections in a row that end too early
MOST_REDIRECTS: Final = 5
LEAST_RATE: Final = 1000  # bytes a second; a slower server is refused
_SHA256 = re.compile(r'"([0-9a-f]{64})"')


class HubFile:
    """One file of a model, read by byte ranges; `fetched_bytes` counts what came over the network.

    `file` says which content it must be. If it has no `url`, the hub is asked for one at the first read.
    """

    def __init__(
        self,
        model: str,
        filename: str,
        file: Published,
        cache_dir: str | os.PathLike[str] | None = None,
        revision: str | None = None,
    ) -> None:
        self._download_command = download_command(model, revision)
        _refuse_an_old_huggingface_hub(model, self._download_command)
        self.model, self.filename, self.file = model, filename, file
        self.fetched_bytes = 0
        self.cache_dir = cache_dir
        self._url, self._in_xet = file.url or None, file.in_xet
        self._etag: str | None = None
        self._lock = RenewedLock()

    def read(self, begin: int, end: int) -> Iterator[bytes]:
        """The bytes of a range as they arrive. If a connection ends too early, another one continues from there.

        Raises:
            HubError: the hub or its storage cannot be reached, stalls, or answers with something else.
        """
        with translated_errors(self.model, self.filename, self.file.commit, cache_root(self.cache_dir)):
            self._find()
            failures, mark, since = 0, begin, time.monotonic()
            while begin < end:
                try:
                    for chunk in self._body(begin, end):
                        begin, since = begin + len(chunk), time.monotonic()
                        yield chunk
                except RefusedError:
                    raise
                except Exception:  # the session's errors have no common base class
                    failures = 1 if begin - mark >= 1 << 20 else failures + 1
                    mark = begin
                    if failures == MOST_FAILURES or time.monotonic() - since > _patience() / 2:
                        raise  # it fails again and again, or nothing came for a while
                    time.sleep(0.1 * failures)

    def _body(self, begin: int, end: int) -> Iterator[bytes]:
        """The body of one answer, of exactly the length that was asked for."""
        started, left = time.monotonic(), end - begin
        with closing(self._answer(begin, end)) as response:
            for chunk in response.iter_raw():
                with self._lock.now:
                    self.fetched_bytes += len(chunk)
                left -= len(chunk)
                if left < 0:
                    raise self._refusal(response, f"sent more than the {end - begin:,} bytes asked for")
                yield chunk
                if not left and "Content-Length" not in response.headers:
                    return  # all bytes are here; there is no need to wait until the connection closes
                if time.monotonic() - started > 2 * _patience() + (end - begin - left) / LEAST_RATE:
                    raise self._refusal(response, f"sends less than {LEAST_RATE:,} bytes a second")
        if left:
            raise ConnectionError(f"the connection ended {left:,} bytes too early")

    def _answer(self, begin: int, end: int) -> Any:
        """The response whose body is these bytes; its headers are checked, its body is not yet read."""
        url = self._find()
        response = self._get(url, begin, end)
        if response.status_code in (401, 403):  # a signed URL expires
            response.close()
            response = self._get(self._find(expired=url), begin, end)
        try:
            self._check(response, begin, end)
        except BaseException:
            response.close()
            raise
        return response

    def _find(self, expired: str | None = None) -> str:
        """The URL of the file's content; if the hub has to be asked, it must still be the same file."""
        from huggingface_hub import constants

        with self._lock.now:
            if self._url is None or self._url == expired:
                found = ask(self.model, self.filename, self.file.commit, ANSWER_SECONDS)
                if (found.commit, found.hash, found.size) != (self.file.commit, self.file.hash, self.file.size):
                    raise RefusedError(
                        f"{endpoint()} has another file there now ({found.size} bytes, hash {found.hash}, "
                        f"not {self.file.size} and {self.file.hash}); {self._download_command} gets the newest"
                    )
                # The URL is last: a forked child that finds the old one asks again.
                self._etag, self._in_xet, self._url = None, found.in_xet, found.url
            if origin(self._url)[0] not in {origin(constants.ENDPOINT)[0], "https"}:
                raise RefusedError(f"{endpoint()} redirects to {server_of(self._url)}; check HF_ENDPOINT")
            return self._url

    def _get(self, url: str, begin: int, end: int) -> Any:
        """The response to one request for these bytes; redirects within the same server are followed."""
        give_up = time.monotonic() + LONGEST_WAIT
        redirects = 0
        while redirects <= MOST_REDIRECTS:
            response = _send(url, {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"})
            pause = asked_pause(response.status_code, response.headers)
            if pause is not None and time.monotonic() + pause <= give_up:
                response.close()
                time.sleep(pause)
            elif response.status_code in (301, 302, 303, 307, 308):
                response.close()
                redirects, target = redirects + 1, urljoin(url, response.headers.get("Location", ""))
                if origin(target) != origin(url):
                    raise self._refusal(response, f"redirects to another server, {server_of(target)}")
                url = target
            else:
                return response
        raise self._refusal(response, "redirects again and again")

    def _check(self, response: Any, begin: int, end: int) -> None:
        """Refuse a response that is not exactly these bytes of this file."""
        status, headers = response.status_code, response.headers
        expected = f"bytes {begin}-{end - 1}/{self.file.size}"
        if status == 200:
            raise self._refusal(response, "cannot give a part of a file: it began to send all of it")
        if status == 416:
            raise self._refusal(response, f"says that the file has no bytes {begin:,} to {end:,}")
        if status != 206:
            raise RefusedError(answered(response))
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise self._refusal(response, f"encoded the bytes ({headers['Content-Encoding']}) though asked not to")
        if headers.get("Content-Range", "").strip() != expected:
            raise self._refusal(response, f"sent {headers.get('Content-Range', 'no range')!r} instead of {expected!r}")
        if headers.get("Content-Length", str(end - begin)) != str(end - begin):
            raise self._refusal(response, f"announced {headers['Content-Length']} bytes instead of {end - begin}")
        self._check_unchanged(response)

    def _check_unchanged(self, response: Any) -> None:
        """Refuse content that changed since the first answer, or that has another hash than the hub named."""
        etag = response.headers.get("ETag", "")
        with self._lock.now:
            first = self._etag = etag if self._etag is None else self._etag
        named = None if self._in_xet else _SHA256.fullmatch(etag)
        if etag != first or (named and len(self.file.hash) == 64 and named[1] != self.file.hash):
            expected = first if etag != first else self.file.hash
            raise self._refusal(response, f"has another file there now (ETag {etag}, not {expected})")

    def _refusal(self, response: Any, what: str) -> RefusedError:
        way_out = f"{self._download_command} gets the whole file and checks its hash"
        return RefusedError(f"{server_of(str(response.url))} {what}; {way_out}")


def _refuse_an_old_huggingface_hub(model: str, download: str) -> None:
    from huggingface_hub import __version__

    if int(__version__.partition(".")[0]) < 1:  # its session is another library's, with another interface
        raise HubError(
            f"reading {model} by byte ranges needs huggingface_hub 1.0 or newer, not {__version__}: "
            f"upgrade it, or download the whole model with {download}"
        )


def _send(url: str, headers: dict[str, str]) -> Any:
    """The response to a GET, its body not yet read. The user's token is sent to the hub alone."""
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers(headers=headers)
    if origin(url) != origin(constants.ENDPOINT):
        headers.pop("authorization", None)
    session = get_session()
    request = session.build_request("GET", url, headers=headers, timeout=_patience())
    # Each response that stays open keeps one of the session's connections, so a late one has to be closed.
    return within(
        2 * _patience(),
        lambda: session.send(request, stream=True, follow_redirects=False),
        close=lambda response: response.close(),
    )


def _patience() -> float:
    """How many seconds a server may be silent: huggingface_hub's setting HF_HUB_DOWNLOAD_TIMEOUT."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)
