# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from cove.errors import CommandError, DeadlineError, ToolError, UsageError
from cove.image.registry.credentials import Credentials, credentials_for

HUB_KEY = "https://index.docker.io/v1/"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def no_helper(program: str, _key: bytes) -> bytes:
    raise AssertionError(program)


def answering(**answers: Any) -> Any:
    def helper(program: str, key: bytes) -> bytes:
        answer = answers[program.removeprefix("docker-credential-")]
        if isinstance(answer, dict):
            answer = answer.get(
                key.decode(), CommandError("no", argv=[], returncode=1, output="credentials not found")
            )
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()

    return helper


def secret(user: str, password: str) -> bytes:
    return json.dumps({"ServerURL": "x", "Username": user, "Secret": password}).encode()


def test_nothing_known() -> None:
    assert credentials_for("a.example", {}, no_helper) is None
    assert credentials_for("a.example", {"auths": {"a.example": {}}}, no_helper) is None


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        ("docker.io", HUB_KEY),
        ("docker.io", "docker.io"),
        ("a.example:5000", "a.example:5000"),
        ("a.example", "https://a.example/v1/"),
        ("a.example", "http://a.example"),
    ],
)
def test_stored_in_the_file(registry: str, key: str) -> None:
    config = {"auths": {"other.example": {"auth": encoded("x:y")}, key: {"auth": encoded("ann:se:cret")}}}
    assert credentials_for(registry, config, no_helper) == Credentials(username="ann", password="se:cret")


def test_an_identity_token() -> None:
    config = {"auths": {"a.example": {"auth": encoded("x:"), "identitytoken": "t"}}}
    assert credentials_for("a.example", config, no_helper) == Credentials(identity_token="t")


def test_the_store_of_all() -> None:
    config = {"credsStore": "all", "auths": {HUB_KEY: {}}}
    helper = answering(all={HUB_KEY: secret("ann", "pw"), "b.example": secret("<token>", "t")})
    assert credentials_for("docker.io", config, helper) == Credentials(username="ann", password="pw")
    assert credentials_for("b.example", config, helper) == Credentials(identity_token="t")
    assert credentials_for("c.example", config, helper) is None


def test_a_helper_of_its_own_goes_first() -> None:
    config = {"credsStore": "all", "credHelpers": {"a.example": "own"}, "auths": {"a.example": {"auth": "x"}}}
    helper = answering(own={"a.example": secret("ann", "own")}, all={})
    assert credentials_for("a.example", config, helper) == Credentials(username="ann", password="own")


@pytest.mark.parametrize(
    "answer",
    [
        CommandError("no", argv=[], returncode=1, output="the keychain is locked"),
        DeadlineError("slow"),
        ToolError("missing"),
        b"no json",
        b'{"Username": "x"}',
    ],
)
def test_helpers_that_fail(answer: Any) -> None:
    with pytest.raises(ToolError):
        credentials_for("a.example", {"credsStore": "bad"}, answering(bad=answer))


@pytest.mark.parametrize(
    "config",
    [
        {"auths": 3},
        {"auths": {"a.example": 3}},
        {"auths": {"a.example": {"auth": "%"}}},
        {"credHelpers": [1]},
    ],
)
def test_damaged_configuration(config: Any) -> None:
    with pytest.raises(UsageError, match="damaged"):
        credentials_for("a.example", config, no_helper)


def test_secrets_are_not_shown() -> None:
    assert "cret" not in repr(Credentials(username="ann", password="secret"))
    assert "cret" not in repr(Credentials(identity_token="secret"))
