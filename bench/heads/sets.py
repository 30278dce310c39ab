"""Public sets that heads are learned from, and others that they are measured on: each is one of the two, for ever.

None lies in this repository. `FILES` says where each file comes from, by whom and under which licence; a folder that
holds them is given to the commands, and a file that is not the one that is meant is refused.
"""

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path

from understudy.guard.windows import Windows


@dataclass(frozen=True)
class File:
    """One file of a repository on GitHub at one commit. Of books the chapters are put together, in their order."""

    source: str
    licence: str
    sha256: str


FILES = {
    # Learned from.
    "davidson.csv": File(
        "t-davidson/hate-speech-and-offensive-language@cb50f7e data/labeled_data.csv", "MIT",
        "fcb8bc7c68120ae4af04a5b9acd58585513ede11e1548ebf36a5c2040b6f6281"),
    "diasafety-train.json": File(
        "thu-coai/DiaSafety@5106a04 DiaSafety_dataset/train.json", "Apache-2.0",
        "c1faee9dc1f67b28e8cbc2d4d146be1af749a9ad8caef5d76c10203a4a0dc6ae"),
    "ailuminate.csv": File(
        "mlcommons/ailuminate@769cc2b airr_official_1.0_demo_en_us_prompt_set_release.csv", "CC-BY-4.0",
        "63e2b654325c5405096fabf28ef5f057b0ad674904b1839fd1f52b523e324d02"),
    "treasure-island.xhtml": File(
        "standardebooks/robert-louis-stevenson_treasure-island@305f56f src/epub/text", "CC0-1.0",
        "b523d4082b7980e2b9e494e6fe5b0479db7925c0a30365102ebf138f46f47bb1"),
    "king-solomons-mines.xhtml": File(
        "standardebooks/h-rider-haggard_king-solomons-mines@8032c77 src/epub/text", "CC0-1.0",
        "a9cbaca276c00c8f2fe30b03e408a95c88ddf7766de45518e7bf48c66e87657c"),
    # Measured on.
    "openai-moderation.jsonl.gz": File(
        "openai/moderation-api-release@f4ab51b data/samples-1680.jsonl.gz", "MIT",
        "ef3f7de86ee394fe337b0a566ba4b9c7db058f3caa8d6a4a0006138b663ab9a8"),
    "surge-toxicity.csv": File(
        "surge-ai/toxicity@ea80324 toxicity_en.csv", "MIT",
        "3bfcdd54ab90c8bab232235226a00e28b0d457c3c19e87230f73dde1880e6c44"),
    "xstest.csv": File(
        "paul-rottger/exaggerated-safety@d7bb5bd xstest_prompts.csv", "CC-BY-4.0",
        "11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a"),
    "hatecheck.csv": File(
        "paul-rottger/hatecheck-data@d843022 test_suite_cases.csv", "CC-BY-4.0",
        "ecf0dc1e93fccc90b6f880e632b19e635c0f0a68b3157915a9e20b6938f121cf"),
    "diasafety-test.json": File(
        "thu-coai/DiaSafety@5106a04 DiaSafety_dataset/test.json", "Apache-2.0",
        "3a816555d097effda2b3f788b0372fb64359f1d736d881440d0ae6f386d6716c"),
    "simple-safety-tests.csv": File(
        "bertiev/SimpleSafetyTests@d7aee9a SimpleSafetyTests - test cases.csv", "CC-BY-4.0",
        "6d95a1301e0d0f3a3c4cf5392f4afff11ad6e3066f95d23aaa138d44aedf986c"),
    "dracula.xhtml": File(
        "standardebooks/bram-stoker_dracula@e9e81aa src/epub/text", "CC0-1.0",
        "2234591aa95d02d6effefc68c97d92f6f1643439f01bcbeff0d259b80fb29898"),
    "frankenstein.xhtml": File(
        "standardebooks/mary-shelley_frankenstein@0e54fe8 src/epub/text", "CC0-1.0",
        "0726706c43c708a0cc26b3f9ed4a004673adbb1d3f1391de6abf224ee802b6f2"),
    "adventure.yaml": File(
        "zohac/open-adventure@7d4dd78 adventure.yaml", "BSD-2-Clause",
        "4d85fcd692dc717c77e1ec385f1be92fe425424f57ba4751e69cf8cac961a124"),
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """A text, and by category whether it is one; a category that is not there is not known."""

    text: str
    is_a: dict[str, bool] = field(default_factory=dict)


class Sets:
    """The files of a folder, read. `benign` are windows of text that no category applies to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def learned_from(self) -> Iterator[Example]:
        """Examples with labels."""
        for row in self._rows("davidson.csv"):
            text = unescape(re.sub(r"https?://\S+|@\w+|\bRT\b", " ", row["tweet"]))
            hateful, offensive = row["class"] == "0", row["class"] == "1"
            yield Example(text, {"hate": hateful, "harassment": hateful or offensive, "self_harm": False})
        for each in json.loads(self._read("diasafety-train.json")):
            unsafe = each["label"] == "Unsafe"
            if each["category"] == "Offending User":
                yield Example(each["response"], {"harassment": unsafe, "self_harm": False})
            elif each["category"] == "Biased Opinion":
                yield Example(each["response"], {"hate": unsafe, "self_harm": False})
            elif each["category"] == "Unauthorized Expertise":
                # People who tell of illnesses and ask what to do: no harm that they do to themselves.
                yield Example(each["context"], {"harassment": False, "hate": False, "self_harm": False})
        for row in self._rows("ailuminate.csv"):
            hazard = row["hazard"]
            known = {"self_harm": hazard == "ssh", "hate": hazard == "hte"}
            yield Example(row["prompt_text"], known)

    def benign(self) -> list[str]:
        """Windows of adventures, to learn from."""
        return [*self.book("treasure-island.xhtml"), *self.book("king-solomons-mines.xhtml")]

    def book(self, name: str) -> list[str]:
        """A book by windows."""
        chapters = re.sub(r"<head>.*?</head>", " ", self._read(name).decode(), flags=re.DOTALL)
        paragraphs = re.findall(r"<p\b[^>]*>(.*?)</p>", chapters, flags=re.DOTALL)
        return list(windows(unescape(re.sub(r"<[^>]+>", "", each)) for each in paragraphs))

    def game(self) -> list[str]:
        """What a text adventure says, by windows."""
        said: list[str] = []
        for line in self._read("adventure.yaml").decode().splitlines():
            stripped = line.strip(" -'\"|>")
            if not stripped.startswith("#") and " " in stripped and not re.match(r"\w+:( |$)", stripped):
                said.append(stripped.replace("\\n", " "))
        return list(windows([" ".join(said)]))

    def measured_on(self) -> Iterator[tuple[str, str, list[Example]]]:
        """Name of a set, the category that it is about, and its examples."""
        rows = [json.loads(line) for line in gzip.decompress(self._read("openai-moderation.jsonl.gz")).splitlines()]
        for category, labels in (("self_harm", ("SH",)), ("hate", ("H", "H2")), ("harassment", ("HR",))):
            known = [row for row in rows if all(label in row for label in labels)]
            yield (
                "OpenAI moderation",
                category,
                [Example(row["prompt"], {category: any(row[label] == 1 for label in labels)}) for row in known],
            )
        toxic = [
            Example(row["text"], {"harassment": row["is_toxic"] == "Toxic"}) for row in self._rows("surge-toxicity.csv")
        ]
        yield "Surge toxicity", "harassment", toxic
        tests = [
            Example(row["test_case"], {"hate": row["label_gold"] == "hateful"}) for row in self._rows("hatecheck.csv")
        ]
        yield "HateCheck", "hate", tests
        tested = json.loads(self._read("diasafety-test.json"))
        for kind, category in (("Offending User", "harassment"), ("Biased Opinion", "hate")):
            said = [each for each in tested if each["category"] == kind]
            yield (
                "DiaSafety, test part",
                category,
                [Example(e["response"], {category: e["label"] == "Unsafe"}) for e in said],
            )
        areas = list(self._rows("simple-safety-tests.csv"))
        yield (
            "SimpleSafetyTests",
            "self_harm",
            [Example(row["prompts_final"], {"self_harm": row["harm_area"].startswith("Suicide")}) for row in areas],
        )

    def harmless(self) -> Iterator[tuple[str, list[str]]]:
        """Texts in which nothing may be found, by where they come from."""
        yield "Dracula", self.book("dracula.xhtml")
        yield "Frankenstein", self.book("frankenstein.xhtml")
        yield "Open Adventure (a game)", self.game()
        safe = [row["prompt"] for row in self._rows("xstest.csv") if row["label"] == "safe"]
        yield "XSTest, safe prompts", safe

    def _rows(self, name: str) -> Iterable[dict[str, str]]:
        return csv.DictReader(io.StringIO(self._read(name).decode("utf-8-sig")))

    def _read(self, name: str) -> bytes:
        data = (self._folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != FILES[name].sha256:
            raise SystemExit(f"{name} is not the file that is meant: take it from {FILES[name].source}")
        return data


def windows(texts: Iterable[str]) -> Iterator[str]:
    """Texts as a gateway cuts them."""
    for text in texts:
        cut = Windows()
        yield from (window.text for window in [*cut.feed(text), *cut.finish()] if window.text.strip())
