"""Passwords and tokens are masked wherever a text leaves the process; other text stays as it is."""

from __future__ import annotations

import io
import time

import pytest

from search_space import Problem
from search_space.parsing.secrets import MaskedOutput, masked

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://h/?token=hunter2", "http://h/?token=***"),
        ("http://h/?anything=hunter2&id=3", "http://h/?anything=***&id=3"),
        ("http://h/?id=3&token=hunter2#part", "http://h/?id=3&token=***#part"),
        ("http://h/#access_token=hunter2", "http://h/#access_token=***"),
        ("http://h/p;jsessionid=hunter2?x=hunter2", "http://h/p;jsessionid=***"),
        ("https://h/?X-Amz-Signature=hunter2", "https://h/?X-Amz-Signature=***"),
        ("http://h/?a%5Bb%5D=hunter2", "http://h/?a%5Bb%5D=***"),
        ("http://user:hunter2@h/x", "http://***@h/x"),
        ("HTTPS://user:hunter2@h/x", "HTTPS://***@h/x"),
        ("http://user:a@hunter2@h/x", "http://***@h/x"),
        ("https://hunter2@h", "https://***@h"),
        ("https://user:hunt/hunter2@h", "https://***@h"),
        ("postgresql+psycopg://user:hunter2@h:5432/d", "postgresql+psycopg://user:***@h:5432/d"),
        ("postgresql://user:hunter2/a?b@h/d", "postgresql://user:***@h/d"),
        ("redis://:hunter2@h:6379/0", "redis://:***@h:6379/0"),
        ("ray://user:hunter2@h:10001", "ray://user:***@h:10001"),
        ("http://a,http://user:hunter2@h", "http://a,http://***@h"),
        ("{name: mlflow, tracking_uri: 'http://h/?token=hunter2'}", "{name: mlflow, tracking_uri: 'http://h/?token=***'}"),
        ("{tracking_uri: http://h/?token=hunter2, name: m}", "{tracking_uri: http://h/?token=***, name: m}"),
        ("[http://h/?token=hunter2]", "[http://h/?token=***]"),
        (r'{"uri": "\"http://h/?token=hunter2\""}', r'{"uri": "\"http://h/?token=***\""}'),
        ("&lt;a href=&quot;http://h/?a=hunter2&amp;token=hunter2", "&lt;a href=&quot;http://h/?a=***&amp;token=***"),
        ("failed with url: /api?token=hunter2 (Caused by", "failed with url: /api?token=*** (Caused by"),
        ("WANDB_API_KEY=hunter2 archsweep run", "WANDB_API_KEY=*** archsweep run"),
        ("export MLFLOW_TRACKING_PASSWORD='hunter2'", "export MLFLOW_TRACKING_PASSWORD='***'"),
        ("api_key: hunter2", "api_key: ***"),
        ("{'Authorization': 'Bearer hunter2'}", "{'Authorization': 'Bearer ***'}"),
        ("authorization: basic hunter2", "authorization: basic ***"),
    ],
)  # fmt: skip
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert masked(shown) == shown
    assert masked(f"before {text}\nafter") == f"before {shown}\nafter"


@pytest.mark.parametrize(
    "text",
    [
        "class_token: false, global_pool: token, num_reg_tokens=4",
        "https://openreview.net/forum?id=YicbFdNTTy",
        "https://www.youtube.com/watch?v=abc",
        "git+https://github.com/user/project@v1.0",
        "archsweep@git+ssh://git@github.com/user/project@abc",
        "postgresql://user@host/database?connect_timeout=3",
        "sqlite:////folder/file.db?timeout=10",
        "http://127.0.0.1:5000",
        "http://host:80/page@x",
        "mail a@b.org, see a://b",
        "arch.depth == 2 and task.dataset == 'folder' and x=3",
        "embed_dim % num_heads == 0; key = value",
        "",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "part",
    ["://", "://a:", "a", "?a=", "A_", "TOKEN ", "@", ":", "&", "authorization: ", "://a,", "?a=,", "#", "a=", "KEY= "],
)
def test_hostile_text_takes_no_longer_than_its_length(part: str) -> None:
    """A quarter of a MiB takes less than 0.2 s of this process; in quadratic time it would be minutes."""
    count = 2**18 // len(part)
    for text in (part * count, "://" + part * count, "TOKEN" + part * count):
        begin = time.process_time()
        masked(text)
        assert time.process_time() - begin < 5


def test_messages_and_output_are_masked() -> None:
    problem = Problem(
        "no server at http://h/?token=hunter2", "--set a=http://user:hunter2@h", excerpt="x: http://hunter2@h"
    )
    assert SECRET not in str(problem)
    stream = io.StringIO()
    print("http://h/?token=hunter2", file=MaskedOutput(stream))
    assert stream.getvalue() == "http://h/?token=***\n"
