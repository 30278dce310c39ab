"""Makes two tiny language models on the spot, so that a real engine serves real tokens without any download.

Both are LLaMA models with random weights from a fixed seed: `tiny-a` and `tiny-b` answer differently, and each answers
the same prompt the same way on every machine. They stand for two revisions of one model.

Usage: make_models.py FOLDER
"""

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SEEDS = {"tiny-a": 1, "tiny-b": 2}
VOCABULARY = 300
POSITIONS = 2048
SPECIAL = ["<|begin|>", "<|end|>", "<|pad|>"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# What the byte pairs are learned from: enough text for the forty merges between the bytes and the vocabulary's size.
TEXT = [
    "system: You are a stand-in for a language model.",
    "user: What is the capital of France?",
    "assistant: The answer is the same every time, because the weights come from a seed.",
    "The quick brown fox jumps over the lazy dog, and the understudy waits in the wings.",
]


def tokenizer(text: list[str], size: int, chat_template: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE of so many tokens: every byte, three special tokens, and the most common pairs of the text."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(text, trainer)
    begin, end, pad = SPECIAL
    wrapped = PreTrainedTokenizerFast(tokenizer_object=core, bos_token=begin, eos_token=end, pad_token=pad)
    wrapped.chat_template = chat_template
    return wrapped


def model(seed: int, tokens: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Two layers, hidden size 128, four heads: the CPU attention refuses a head size below 32."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=POSITIONS,
        # Ten times the usual spread: with less, every prompt gets nearly the same answer.
        initializer_range=0.2,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        tie_word_embeddings=False,
        torch_dtype="float32",
    )
    made = LlamaForCausalLM(config)
    speak_plainly(made, tokens)
    return made


def speak_plainly(made: LlamaForCausalLM, tokens: PreTrainedTokenizerFast) -> None:
    """Let only printable ASCII be said: a row of zeros never wins against random rows of a wide spread.

    So every answer is text that a terminal and a diff can show, and none ends before its token limit.
    """
    with torch.no_grad():
        made.lm_head.weight.mul_(4)
        for token in range(VOCABULARY):
            text = tokens.decode([token])
            if token in tokens.all_special_ids or not (text.isascii() and text.isprintable()):
                made.lm_head.weight[token].zero_()


def main(folder: Path) -> None:
    """Write every model, with its tokenizer, to a folder of its own."""
    tokens = tokenizer(TEXT, VOCABULARY, CHAT_TEMPLATE)
    for name, seed in SEEDS.items():
        model(seed, tokens).save_pretrained(folder / name)
        tokens.save_pretrained(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
