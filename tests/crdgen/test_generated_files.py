"""What lies in the tree is what the models say; and the command that sees to it."""

from pathlib import Path, PurePosixPath

import pytest
import yaml
from pydantic import BaseModel

from understudy.api.v1alpha1.metadata import ObjectMeta
from understudy.api.v1alpha1.modeldeployment import ModelDeployment
from understudy.api.v1alpha1.scalars import Label
from understudy.api.v1alpha1.shape import shape
from understudy.crdgen import rbac
from understudy.crdgen.__main__ import main
from understudy.crdgen.crd import crd
from understudy.crdgen.files import differing, generated, write
from understudy.crdgen.kinds import KINDS, Column, Kind
from understudy.crdgen.reference import page
from understudy.crdgen.yamltext import for_helm, to_yaml

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"


def test_the_tree_holds_what_the_models_say() -> None:
    assert differing(generated(ROOT), ROOT) == []


@pytest.mark.slow
def test_two_runs_give_the_same_bytes() -> None:
    assert generated(ROOT) == generated(ROOT)


def test_every_file_says_that_it_is_generated() -> None:
    for path, text in generated(ROOT).items():
        assert "do not edit" in text.splitlines()[0] or path.suffix == ".json", path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_crd_is_small_enough_for_client_side_apply(kind: Kind) -> None:
    assert len(to_yaml(crd(kind))) < 256 * 1024


class ThingSpec(BaseModel):
    """What is wanted of a thing."""

    model_config = shape()

    label: Label
    """How it is called."""


class Thing(BaseModel):
    """A thing."""

    model_config = shape()

    api_version: str
    kind: str
    metadata: ObjectMeta
    spec: ThingSpec
    """What is wanted."""


THING = Kind(Thing, "things", "th", (Column("Label", ".spec.label"), Column("Wide", ".x", wide=True)), status=False)


@pytest.mark.parametrize(
    ("name", "text"), [("thing.crd.yaml", to_yaml(crd(THING))), ("thing.md", page(THING))], ids=["crd", "reference"]
)
def test_a_small_kind_looks_as_it_always_did(name: str, text: str) -> None:
    assert text == (GOLDEN / name).read_text()


def test_writing_repairs_what_differs_and_removes_what_is_left_over(tmp_path: Path) -> None:
    files = {PurePosixPath("crds/a.yaml"): "a\n", PurePosixPath("crds/b.yaml"): "b\n"}
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "a.yaml").write_text("edited by hand\n")
    (tmp_path / "crds" / "gone.yaml").write_text("a kind of old\n")
    changed = [PurePosixPath(f"crds/{name}.yaml") for name in ("a", "b", "gone")]
    assert differing(files, tmp_path) == changed
    assert write(files, tmp_path) == changed
    assert differing(files, tmp_path) == []
    assert sorted(path.name for path in (tmp_path / "crds").iterdir()) == ["a.yaml", "b.yaml"]


@pytest.mark.slow
def test_the_check_names_the_files_and_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path), "--check"]) == 1
    assert "crds/models.understudy.dev.yaml (run `make generate`)" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["--root", str(tmp_path)]) == 0
    assert "wrote docs/reference/model.md" in capsys.readouterr().out
    assert main(["--root", str(tmp_path), "--check"]) == 0


@pytest.mark.slow
def test_an_incompatible_change_is_not_written_by_accident(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    path = tmp_path / "crds" / "models.understudy.dev.yaml"
    before = yaml.safe_load(path.read_text())
    spec = before["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["mood"] = {"type": "string"}
    path.write_text(yaml.safe_dump(before))
    assert main(["--root", str(tmp_path)]) == 1
    assert "incompatible: models.spec.mood: removed" in capsys.readouterr().err
    assert "mood" in path.read_text()
    assert main(["--root", str(tmp_path), "--breaking"]) == 0
    assert "mood" not in path.read_text()


def test_braces_in_a_message_survive_helm() -> None:
    assert for_helm("write {{name}}") == 'write {{ "{{" }}name}}'


def test_values_written_twice_have_no_anchor() -> None:
    shared = ["x"]
    assert to_yaml({"b": shared, "a": shared}) == "a:\n- x\nb:\n- x\n"


def test_every_rule_says_why_it_is_there() -> None:
    for block in rbac.BLOCKS.values():
        assert all(rule.why and rule.verbs and rule.resources for rule in block)
        assert not any("*" in (*rule.verbs, *rule.resources, rule.group) for rule in block)


def test_the_reference_names_every_field_with_its_default() -> None:
    text = page(next(kind for kind in KINDS if kind.model is ModelDeployment))
    assert "| `watch` | string, at most 20 characters | How long the previous revision stays warm" in text
    assert 'Default: "10m".' in text
    assert "Stored default: `1`." in text
    assert "- write weight: 100 in the last step" in text or "Rule: write weight: 100 in the last step." in text
