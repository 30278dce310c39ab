"""The kubeconfig as kubectl reads it: several files, contexts, and a sentence for each mistake."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from understudy.kube import kubeconfig
from understudy.kube.aio import NoClusterError
from understudy.kube.kubeconfig import chosen_context, connect_as_user, read_kubeconfig


def written(path: Path, *contexts: str, current: str = "", **more: Any) -> Path:
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": c, "cluster": {"server": f"http://{c}.example:1"}} for c in contexts],
        "users": [{"name": c, "user": {"token": f"token-of-{c}"}} for c in contexts],
        "contexts": [
            {"name": c, "context": {"cluster": c, "user": c, "namespace": f"ns-{c}"} if c != "bare" else {"cluster": c}}
            for c in contexts
        ],
        **({"current-context": current} if current else {}),
        **more,
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


async def refusal(path: str = "", context: str = "") -> str:
    with pytest.raises(NoClusterError) as caught:
        await connect_as_user(path, context)
    return str(caught.value)


async def test_the_current_context_says_server_and_namespace(tmp_path: Path) -> None:
    access = await connect_as_user(str(written(tmp_path / "one", "a", "b", current="b")))
    assert (access.server, access.context, access.namespace) == ("http://b.example:1", "b", "ns-b")
    await access.client.close()


async def test_a_context_that_is_asked_for_wins(tmp_path: Path) -> None:
    access = await connect_as_user(str(written(tmp_path / "one", "a", "bare", current="a")), "bare")
    assert (access.server, access.namespace) == ("http://bare.example:1", "default")
    await access.client.close()


async def test_of_several_files_the_first_current_context_counts_and_all_contexts_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = written(tmp_path / "1", "a", current="a"), written(tmp_path / "2", "b", current="b")
    (tmp_path / "empty").write_text("")
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/absent:{tmp_path}/empty:{first}:{second}")
    access, other = await connect_as_user(), await connect_as_user(context="b")
    assert (access.server, other.server) == ("http://a.example:1", "http://b.example:1")
    await access.client.close()
    await other.client.close()


async def test_without_anything_it_is_the_file_in_the_home(tmp_path: Path) -> None:
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    written(tmp_path / "home" / ".kube" / "config", "home", current="home")
    access = await connect_as_user()
    assert access.context == "home"
    await access.client.close()


async def test_no_kubeconfig_is_one_sentence() -> None:
    assert "set KUBECONFIG or give --kubeconfig FILE" in await refusal()


async def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    assert await refusal(f"{tmp_path}/none") == f"cannot read the kubeconfig {tmp_path}/none: there is no such file"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [unclosed, secret-token", "it is not YAML"),
        ("just words", "holds no mapping"),
        ("contexts: [7]", "contexts must be a list"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_and_never_quoted(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad").write_text(text)
    sentence = await refusal(str(tmp_path / "bad"))
    assert said in sentence
    assert str(tmp_path / "bad") in sentence
    assert "secret-token" not in sentence


async def test_a_context_that_is_not_there_is_answered_with_those_that_are(tmp_path: Path) -> None:
    path = written(tmp_path / "one", "a", "b")
    assert (await refusal(str(path), "c")).endswith("there is: a, b")
    assert (await refusal(str(path))).endswith("give --context, one of a, b")


async def test_a_context_without_its_cluster_is_a_sentence(tmp_path: Path) -> None:
    path = written(tmp_path / "one", "a", current="a", clusters=[])
    assert (await refusal(str(path))).startswith(f"cannot use context a of {path}")


async def test_in_a_pod_it_is_the_pods_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(client_configuration: Any) -> None:
        client_configuration.host = "https://inside"

    namespace = tmp_path / "namespace"
    namespace.write_text("mine\n")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setattr(kubeconfig, "load_incluster_config", load)
    monkeypatch.setattr(kubeconfig, "_SERVICE_ACCOUNT", namespace)
    access = await connect_as_user()
    assert (access.server, access.context, access.namespace) == ("https://inside", "", "mine")
    await access.client.close()


async def test_a_pod_without_a_service_account_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert "the service account of this pod cannot be read" in await refusal()


def test_reading_looks_at_no_environment_of_its_own(tmp_path: Path) -> None:
    environment: Mapping[str, str] = {"KUBECONFIG": str(written(tmp_path / "one", "a", current="a"))}
    assert chosen_context(read_kubeconfig("", environment), "") == "a"
