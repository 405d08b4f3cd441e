"""Masking of passwords and tokens in texts that leave the process: files of a run, messages, logs, trackers, reports.

Texts are masked where they are written, by one function for all places. It knows secrets by their form, because they
come from anywhere (a comment of a sweep file, an error message of a library, the command line):

    http://user:PASSWORD@host    https://TOKEN@host    postgresql://user:PASSWORD@host/database
    http://host/?token=TOKEN     http://host/#access_token=TOKEN
    WANDB_API_KEY=KEY            Authorization: Bearer TOKEN

Of the query of a URL every value is masked whose name is not known to be harmless: names of secrets cannot be listed.
A secret that is part of the path of a URL cannot be distinguished from other paths.
"""

from __future__ import annotations

import io
import re
from typing import Any

__all__ = ["MASK", "MaskedOutput", "masked"]

MASK = "***"

# Names of citations and searches, and options of databases that are no secrets.
# fmt: off
_HARMLESS = frozenset({
    "abstract_id", "application_name", "arxiv", "cache", "charset", "check_same_thread", "collation",
    "connect_timeout", "dl", "doi", "driver", "format", "host", "id", "immutable", "isolation_level", "journal",
    "lang", "mode", "name", "nolock", "options", "p", "page", "port", "q", "query", "raw", "read_default_file",
    "read_default_group", "ref", "rev", "schema", "sslcert", "sslkey", "sslmode", "sslrootcert", "ssl_ca",
    "ssl_cert", "ssl_key", "start", "tab", "target_session_attrs", "timeout", "type", "unix_socket", "uri", "v",
    "version", "vfs", "year",
})
# fmt: on
# Every pattern takes time proportional to the text: sweep files and messages may be hostile. They are texts, which `re`
# compiles on use and keeps: compiling them here takes as long as a verb that masks nothing.
_END = r"\s\"'<>`\\"
_URL = rf"(?<=://)(?:(?!://)[^{_END}])+"
_WEB = r"(?i)https?://\Z"
_AUTHORITY = r"[^/?#]*(?=@)"
# A password may contain every character but @ where a database is named (SQLAlchemy), also / and ?.
_DATABASE = r"([^:/?#@]*):[^@]+(?=@)"
_VALUE = rf"=((?:[^&#{_END}}}\],]|,(?=[^{_END}]))+)"
_NAME = r"([A-Za-z0-9_.~%\[\]-]{1,64})"
_QUERY = rf"([?&]|&amp;){_NAME}{_VALUE}"  # also without a host: `url: /path?token=...`
_QUERY_OF_URL = rf"([?&;#]){_NAME}{_VALUE}"
_VARIABLE = (
    rf"\b((?:[A-Z][A-Z0-9_]*_)?(?:API_?KEY|ACCESS_?KEY|SECRET_?KEY|TOKEN|PASSWORD|PASSWD|SECRET)"
    rf"|api_?key|access_token|auth_token|client_secret|password|passwd)"
    rf"(\s*[=:]\s*[\"']?)([^{_END},;&}}\]]+)"
)
_HEADER = r"(?i)\b(authorization[\"']?\s*[=:]\s*[\"']?(?:bearer|basic|token)\s+)[^\s\"',;}]+"


def masked(text: str) -> str:
    """The text with `***` for each password and token in it. Masked text stays as it is."""
    text = re.sub(_URL, _masked_url, text)
    text = re.sub(_QUERY, _without_value, text)
    text = re.sub(_VARIABLE, rf"\g<1>\g<2>{MASK}", text)
    return re.sub(_HEADER, rf"\g<1>{MASK}", text)


class MaskedOutput(io.TextIOBase):
    """A text stream that masks what is written to it, for the output of libraries; each write on its own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str, /) -> int:
        self._stream.write(masked(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


def _masked_url(found: re.Match[str]) -> str:
    """What follows `://`."""
    url = found[0]
    is_web = re.search(_WEB, found.string[max(0, found.start() - len("https://")) : found.start()]) is not None
    if user := re.match(_AUTHORITY, url):
        name, colon, _ = user[0].partition(":")
        # https://TOKEN@host; ssh://git@host and postgresql://user@host hold no secret
        shown = MASK if is_web and user[0] else f"{name}:{MASK}" if colon else name
        url = shown + url[user.end() :]
    elif (user := re.match(_DATABASE, url)) and not (is_web and re.match(r"\d*[/?#]", user[0].partition(":")[2])):
        url = (MASK if is_web else f"{user[1]}:{MASK}") + url[user.end() :]
    return re.sub(_QUERY_OF_URL, _without_value, url)


def _without_value(found: re.Match[str]) -> str:
    return found[0] if found[2].lower() in _HARMLESS else f"{found[1]}{found[2]}={MASK}"
