"""Files that somebody sent: bounded in time and memory, and refused with a sentence."""

import io
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Plugin
from understudy.cli.plugin import main as plugin
from understudy.cli.plugin.failure import PluginError
from understudy.cli.plugin.parsing import MAX_DEPTH, MAX_TEXT, MAX_VALUES, documents, text_of

LAUGHS = "a0: &a0 [ha, ha]\n" + "".join(
    f"a{n}: &a{n} [{', '.join(f'*a{n - 1}' for _ in range(9))}]\n" for n in range(1, 40)
)
MERGES = "m0: &m0 {a: 1, b: 2}\n" + "".join(
    f"m{n}: &m{n} {{<<: [{', '.join(f'*m{n - 1}' for _ in range(9))}]}}\n" for n in range(1, 40)
)


def refusal(text: str) -> str:
    with pytest.raises(PluginError) as caught:
        documents("story.yaml", text)
    return str(caught.value)


@pytest.mark.parametrize("bomb", [LAUGHS, MERGES])
def test_few_lines_that_stand_for_billions_are_refused_at_once(bomb: str) -> None:
    begun = time.process_time()
    assert refusal(bomb).startswith(f"story.yaml has a document of more than {MAX_VALUES} values, counting all")
    assert time.process_time() - begun < 2


def test_the_command_ends_with_the_sentence(kubectl: Plugin, tmp_path: Path) -> None:
    (tmp_path / "bomb.yaml").write_text(LAUGHS)
    code, out, errors = kubectl.run("plan", "-f", str(tmp_path / "bomb.yaml"))
    assert (code, out) == (1, "")
    assert errors.startswith(f"kubectl understudy: {tmp_path / 'bomb.yaml'} has a document of more than")


@pytest.mark.slow
@pytest.mark.parametrize("text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 5000 + "]" * 5000, "[" * 101 + "]" * 101])
def test_what_has_no_end_or_is_too_deep_is_refused(text: str) -> None:
    assert refusal(text).startswith(f"story.yaml has more than {MAX_DEPTH} levels, or an alias inside")


def test_levels_that_aliases_add_count() -> None:
    chain = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, MAX_DEPTH))
    assert f"more than {MAX_DEPTH} levels" in refusal(chain)


def test_a_few_aliases_are_fine() -> None:
    text = "one: &x {cpu: 1}\ntwo: *x\nthree: {<<: *x, memory: 2Gi}\n---\n---\nlast"
    assert documents("story.yaml", text) == [
        {"one": {"cpu": 1}, "two": {"cpu": 1}, "three": {"cpu": 1, "memory": "2Gi"}},
        None,
        "last",
    ]


def test_a_date_is_the_text_that_kubernetes_takes_it_for() -> None:
    assert documents("story.yaml", "{at: 2026-02-01, then: 2026-02-01T00:00:00Z}") == [
        {"at": "2026-02-01", "then": "2026-02-01T00:00:00Z"}
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("spec: {1: a}", "spec in story.yaml has the key 1, which is no text: write it in quotes"),
        ("? [a, b]\n: c", "story.yaml is not YAML"),
        (
            "spec: {a: [!!binary aGk=]}",
            "spec.a[0] in story.yaml is b'hi', which JSON cannot say: write a text in quotes",
        ),
        ("spec: {a: !!set {b}}", "spec.a in story.yaml is {'b'}, which JSON cannot say"),
        ("spec: {a: .nan}", "spec.a in story.yaml is nan, which"),
        ("spec: {a: 99999999999999999999}", "spec.a in story.yaml is 99999999999999999999, which"),
        ('"\\ud800"', "story.yaml is '\\ud800', which"),
        ("!!int many", "story.yaml is not YAML: invalid literal for int()"),
        ("a: " + "9" * 5000, "story.yaml is not YAML: Exceeds the limit"),
        ("a: \x00", "story.yaml is not YAML: unacceptable character"),
    ],
)
def test_what_json_has_not_is_refused_with_its_place(text: str, said: str) -> None:
    assert refusal(text).startswith(said)


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    endless = io.StringIO("x" * (MAX_TEXT + 2))
    with pytest.raises(PluginError, match=r"story\.yaml is longer than 3 million characters: leave out"):
        text_of("story.yaml", endless)
    assert endless.tell() == MAX_TEXT + 1
    assert len(text_of("story.yaml", io.StringIO("x" * MAX_TEXT))) == MAX_TEXT


@pytest.mark.parametrize(
    "words",
    [
        ("status", "../../api/v1/secrets"),
        ("abort", "story/status"),
        ("history", "story?x"),
        ("diff", "Story"),
        ("snapshots", "a,b!=c"),
        ("pause", ""),
        ("rollback", "..", "3"),
    ],
)
def test_what_no_deployment_is_called_is_not_asked_for(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        plugin.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert (
        f"nothing can be called {words[1]!r}: write lower case letters, digits and dashes, such as storyteller" in said
    )


@pytest.mark.parametrize("flag", ["-n", "--namespace", "--system-namespace"])
def test_nor_a_namespace(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    with pytest.raises(SystemExit) as ended:
        plugin.main(["plan", "-f", "x", flag, "../kube-system"])
    assert ended.value.code == 2
    assert "no namespace can be called '../kube-system': write lower case" in capsys.readouterr().err


@pytest.mark.parametrize("field", ["name", "namespace"])
@pytest.mark.parametrize("word", ["../x", "a b", 5, ["x"]])
def test_nor_in_a_file(kubectl: Plugin, tmp_path: Path, field: str, word: object) -> None:
    meta = {"name": "story", field: word}
    text = f"apiVersion: understudy.dev/v1alpha1\nkind: Model\nmetadata: {meta}"
    (tmp_path / "file.yaml").write_text(text)
    code, _, errors = kubectl.run("plan", "-f", str(tmp_path / "file.yaml"))
    assert code == 1
    assert f"file.yaml: metadata.{field} is {word!r}: write lower case letters" in errors
