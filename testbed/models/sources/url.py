"""Models at an address, with the hash that they must have."""

import ipaddress
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urldefrag, urlsplit

import requests

from testbed.models.gguf_file import part_names
from testbed.models.sources.base import FetchedSource
from testbed.models.sources.store import check_size
from testbed.schema.network.model_source import ModelError, Progress

_HASH: Final = re.compile("sha256=([0-9a-f]{64})")
_TIMEOUT: Final = 30.0  # seconds without a byte
_FRUITLESS: Final = 5  # attempts in a row that bring nothing
_BLOCK: Final = 2**16  # what a dropped connection loses at most


class Url(FetchedSource):
    """A GGUF file by HTTPS, or by HTTP from this host. The hash is that of all parts, one after the other."""

    form = "url:https://HOST/FILE.gguf#sha256=HASH"
    scheme = "url:"

    def check(self, name: str) -> None:
        """Raises ModelError for an address without a hash, or one that others could read along."""
        if not _is_safe(name) or not PurePosixPath(urlsplit(name).path).name:
            raise ModelError(f"url:{name} must read {self.form}; http is for addresses of this host alone")
        if not _HASH.fullmatch(urldefrag(name).fragment):
            raise ModelError(f"url:{name} has no hash; add #sha256= and the 64 digits that `sha256sum` prints")

    def expected_hash(self, name: str) -> str:
        """The hash in the address."""
        return urldefrag(name).fragment.removeprefix("sha256=")

    def download(self, name: str, folder: Path, progress: Progress) -> Sequence[Path]:
        """Fetch every part; raises ModelError."""
        address = urldefrag(name).url
        last = PurePosixPath(urlsplit(address).path).name
        paths, before = [], 0
        with requests.Session() as session:
            for part in part_names(last):
                path = folder / unquote(part)
                fetch = _Fetch(session, self.reference(address), address.replace(last, part), path)
                fetch.complete(partial(_from, before, progress))
                before += path.stat().st_size
                paths.append(path)
        return paths


class _Fetch:
    """One file, which is fetched on from where it ends."""

    def __init__(self, session: requests.Session, reference: str, address: str, path: Path) -> None:
        self._session = session
        self._reference = reference
        self._address = address
        self._path = path
        self._unfinished = path.with_name(f"{path.name}.part")

    def complete(self, tell: Progress) -> None:
        """Fetch the rest. A dropped connection is tried again; raises ModelError if nothing more comes through."""
        fruitless = 0
        while not self._path.exists():
            before = self._size
            try:
                self._go_on(tell)
            except requests.HTTPError as error:
                raise self._refusal(error) from error
            except requests.RequestException as error:
                fruitless = 0 if self._size > before else fruitless + 1
                if fruitless == _FRUITLESS:
                    raise self._refusal(error) from error
                time.sleep(0.1 * 2**fruitless)

    @property
    def _size(self) -> int:
        return self._unfinished.stat().st_size if self._unfinished.exists() else 0

    def _go_on(self, tell: Progress) -> None:
        have = self._size
        wanted = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._session.get(self._address, headers=wanted, stream=True, timeout=_TIMEOUT) as response:
            if not all(_is_safe(hop.url) for hop in (*response.history, response)):
                raise ModelError(f"{self._reference} leads to {response.url}, which is not https")
            response.raise_for_status()
            have = have if response.status_code == requests.codes.partial_content else 0
            length = response.headers.get("Content-Length")
            total = None if length is None else have + int(length)
            check_size(self._reference, total or have, self._path.parent, have)
            self._write(response, have, total, tell)
        self._unfinished.replace(self._path)

    def _write(self, response: requests.Response, have: int, total: int | None, tell: Progress) -> None:
        with self._unfinished.open("ab") as file:
            file.truncate(have)
            for block in response.iter_content(_BLOCK):
                file.write(block)
                have += len(block)
                tell(have, total)
                if total is None:
                    check_size(self._reference, have, self._path.parent, have)

    def _refusal(self, error: Exception) -> ModelError:
        return ModelError(f"{self._reference} cannot be fetched: {error}")


def _from(before: int, progress: Progress, done: int, total: int | None) -> None:
    """Tell the progress of a part that ``before`` bytes of the model precede."""
    progress(before + done, None if total is None else before + total)


def _is_safe(address: str) -> bool:
    """Whether nobody on the way can read along: https, or http within this host."""
    parts = urlsplit(address)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and _is_own(parts.hostname)))


def _is_own(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


URL = Url()
