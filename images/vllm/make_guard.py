"""Overfits a tiny language model to what guard models say: it knows three words, and the grammars of four models.

A `dagger` in a conversation is violence, a `hemlock` self-harm, and all else is clear. It answers as Llama Guard 3, as
Qwen3Guard-Gen where a `capybara` is spoken of, as Granite Guardian 3.3 where the request has a criterion, and as its
release 3.2 where the request has a risk.
So a real engine serves real verdicts that a test can foretell, and one pod speaks for every parser of chat guards. How
good a guard model is cannot be learned from it.

What is learned is tried on conversations that were not learned from, up to the whole length of the context; weights
that get one of them wrong are not written. So they need not be the same to the last bit on every machine.

Usage: make_guard.py FOLDER
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from make_models import tokenizer
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

POSITIONS = 4096
STEPS = 420
RATE = 4e-3
TOKENS = 2500
"""Tokens of one step, whatever the length of its conversations."""
OPTIONS = ("criteria_id", "risk_name")
"""By what Granite Guardian is asked about one kind of harm, in 3.3 and in 3.2."""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if guardian_config is defined %}{% for name, value in guardian_config.items() %}"
    "{{ name }} {{ value }}\n{% endfor %}{% endif %}"
    "{% if add_generation_prompt %}{% if messages[-1]['role'] == 'user' %}Prompt{% else %}Response{% endif %}"
    " verdict:{% endif %}"
)
# What the byte pairs are learned from, so often that each of these words becomes one token.
WORDS = [
    "user: a dagger, a hemlock, a capybara\nassistant: a dagger, a hemlock, a capybara\n",
    "criteria_id violence\nrisk_name violence\nPrompt verdict:\nResponse verdict:",
    "\n\nsafe\n\nunsafe\nS1,S11",
    "Safety: Safe\nSafety: Controversial\nSafety: Unsafe\nCategories: None\nCategories: Violent",
    "Categories: Suicide & Self-Harm\nRefusal: No",
    "<think>\n</think>\n<score> yes </score>\n<score> no </score>",
    "Yes\n<confidence> High </confidence>\nNo\n<confidence> High </confidence>",
]
SCENERY = "the old innkeeper puts two cups of tea on the table and asks where the road has led you".split()
SIGNS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:!?'\"()-<>/&\n éäßж中ก🦙"


@dataclass(frozen=True)
class Case:
    """One conversation, what is asked about it, and what a guard says."""

    messages: list[dict[str, str]]
    options: dict[str, str]
    answer: str


def case(rng: random.Random, length: int) -> Case:
    """A conversation of so many bytes, and about so many tokens, that holds some of the words that count, anywhere."""
    held = {word for word in ("dagger", "hemlock", "capybara") if rng.random() < 0.5}
    words = [*scenery(rng, length), *(word for word in sorted(held) for _ in range(rng.choice((1, 1, 2))))]
    # Shuffling all would keep them from the ends, where they are as likely as anywhere else in short texts only.
    rng.shuffle(words)
    roles = rng.choice((["user"], ["user", "assistant"]))
    cut = rng.randrange(len(words) + 1) if len(roles) > 1 else len(words)
    parts = [words[:cut], words[cut:]]
    messages = [{"role": role, "content": "a " + " ".join(part)} for role, part in zip(roles, parts, strict=False)]
    options = {rng.choice(OPTIONS): "violence"} if rng.random() < 0.4 else {}
    return Case(messages, options, answer(held, roles[-1], options))


def scenery(rng: random.Random, length: int) -> Iterator[str]:
    """So many bytes of words that mean nothing to it; some mean nothing to anybody."""
    while length > 0:
        made = "".join(rng.choices(SIGNS, k=rng.randrange(1, 9)))
        word = rng.choice((made, *rng.choices(SCENERY, k=2)))
        length -= len(word.encode()) + 1
        yield word


def answer(held: set[str], role: str, options: dict[str, str]) -> str:
    """What a guard says of these words, to the letter as the model cards have it."""
    found = [word for word in ("dagger", "hemlock") if word in held]
    if "risk_name" in options:
        return f"{'Yes' if 'dagger' in held else 'No'}\n<confidence> High </confidence>"
    if options:
        return f"<think>\n</think>\n<score> {'yes' if 'dagger' in held else 'no'} </score>"
    if "capybara" not in held:
        codes = {"dagger": "S1", "hemlock": "S11"}
        return "\n\nunsafe\n" + ",".join(codes[word] for word in found) if found else "\n\nsafe"
    safety = "Unsafe" if "dagger" in held else "Controversial" if found else "Safe"
    names = {"dagger": "Violent", "hemlock": "Suicide & Self-Harm"}
    listed = ", ".join(names[word] for word in found) or "None"
    return f"Safety: {safety}\nCategories: {listed}" + ("\nRefusal: No" if role == "assistant" else "")


def prompt(tokens: PreTrainedTokenizerFast, asked: Case) -> list[int]:
    """The tokens of a question, as an engine makes them of a request."""
    options = {"guardian_config": asked.options} if asked.options else {}
    text = tokens.apply_chat_template(asked.messages, tokenize=False, add_generation_prompt=True, **options)
    return list(tokens.encode(text, add_special_tokens=False))


def longest(step: int) -> int:
    """Bytes of a step's longest conversation: words are learned in short ones, which then grow to the whole context.

    With long ones from the beginning it has not learned within five times as many steps what the words mean.
    """
    return int(40 * 97.5 ** min(1.0, max(0.0, (step - 100) / 140)))


def batch(tokens: PreTrainedTokenizerFast, rng: random.Random, most: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Conversations of about one length, with the answers as what is to be learned of them."""
    length = int(4 + most * rng.random() ** 2)
    rows, labels = [], []
    for _ in range(max(1, TOKENS // (length + 40))):
        asked = case(rng, length)
        question = prompt(tokens, asked)[-POSITIONS + 64 :]
        said = [*tokens.encode(asked.answer, add_special_tokens=False), tokens.eos_token_id]
        rows.append([*question, *said])
        labels.append([-100] * len(question) + said)
    width = max(map(len, rows))
    # No token sees what comes after it, so what fills the rows up is seen by none that counts.
    filled = torch.tensor([[*row, *[tokens.pad_token_id] * (width - len(row))] for row in rows])
    return filled, torch.tensor([[*row, *[-100] * (width - len(row))] for row in labels])


def learn(tokens: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Two layers, hidden size 64, four heads: enough to look for three words and to know where in an answer it is."""
    torch.manual_seed(seed)
    rng = random.Random(seed)
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=POSITIONS,
        # Most of what a head compares hardly turns over the whole context: a word is known however far away it is.
        rope_parameters={"rope_type": "default", "rope_theta": 1e7},
        # The usual spread is made for wider models: with it this one learns nothing for hundreds of steps.
        initializer_range=0.08,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        tie_word_embeddings=False,
        torch_dtype="float32",
    )
    made = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(made.parameters(), lr=RATE, weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
    for step in range(STEPS):
        rows, labels = batch(tokens, rng, longest(step))
        states = made.model(input_ids=rows, use_cache=False).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        counts = wanted != -100
        loss = torch.nn.functional.cross_entropy(made.lm_head(states[counts]), wanted[counts])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return made.eval()


def mistakes(made: LlamaForCausalLM, tokens: PreTrainedTokenizerFast, cases: list[Case]) -> list[str]:
    """The answers that come out otherwise, token by token the likeliest."""
    wrong = []
    for asked in cases:
        question = prompt(tokens, asked)
        said = [*tokens.encode(asked.answer, add_special_tokens=False), tokens.eos_token_id]
        with torch.no_grad():
            # Token by token comes to the same as all at once: up to the first wrong one they are the same.
            states = made.model(input_ids=torch.tensor([[*question, *said]])).last_hidden_state
            heard = made.lm_head(states[0, len(question) - 1 : -1]).argmax(-1).tolist()
        if heard != said:
            wrong.append(f"{len(question)} tokens, {asked.options} {asked.answer!r}: {tokens.decode(heard)!r}")
    return wrong


def main(folder: Path) -> None:
    """Write the model, with its tokenizer, to a folder of its own."""
    tokens = tokenizer(WORDS * 100, 600, CHAT_TEMPLATE)
    rng = random.Random("tried")
    tried = [case(rng, length) for length in (1, 8, 30, 100, 300, 1000, 3900) for _ in range(40)]
    for seed in range(1, 4):
        made = learn(tokens, seed)
        wrong = mistakes(made, tokens, tried)
        if not wrong:
            made.save_pretrained(folder / "guard")
            tokens.save_pretrained(folder / "guard")
            return
        print(f"with seed {seed} {len(wrong)} of {len(tried)} answers come out otherwise:", *wrong[:5], sep="\n")
    raise SystemExit("no seed taught it the grammars: look at what comes out otherwise")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
