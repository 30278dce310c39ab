"""The fields that a request may have, by path: those that OpenAI's API and vLLM's define for it.

Left out, though one of them knows them: what speaks of the engine's inside (mm_payload, return_mm_kwargs,
return_weight_versions, routed_experts_prompt_start), what has it load tensors from clients (prompt_embeds),
stream_interval, by which a client could make a candidate look slow, and tools that would run on the server
(web_search_options). A deployment may add them; what is in `domain/fields.py` it may not.
"""

from typing import Final

_SAMPLING: Final = frozenset(
    {
        "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty", "seed",
        "stop", "stop_token_ids", "include_stop_str_in_output", "ignore_eos", "logit_bias", "skip_special_tokens",
        "spaces_between_special_tokens", "watermarking", "structured_outputs",
    }
)  # fmt: skip
_GENERATION: Final = _SAMPLING | {
    "model", "user", "stream", "stream_options", "max_tokens", "n", "logprobs", "prompt_logprobs", "logprob_token_ids",
    "use_beam_search", "length_penalty", "min_tokens", "allowed_token_ids", "bad_words", "echo", "add_special_tokens",
    "truncate_prompt_tokens", "truncation_side", "thinking_token_budget", "repetition_detection", "response_format",
    "return_tokens_as_token_ids", "return_token_ids", "return_token_offsets", "prompt_cache_key", "metadata",
    # What `structured_outputs` was called before.
    "guided_json", "guided_regex", "guided_choice", "guided_grammar",
}  # fmt: skip
_TEMPLATE: Final = frozenset(
    {"messages", "add_generation_prompt", "continue_final_message", "add_special_tokens", "chat_template_kwargs"}
)
CHAT: Final = _GENERATION | _TEMPLATE | {
    "max_completion_tokens", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls", "functions",
    "function_call", "reasoning_effort", "include_reasoning", "documents", "return_prompt_text", "audio", "modalities",
    "prediction", "verbosity", "store", "service_tier", "safety_identifier", "prompt_cache_options",
    "prompt_cache_retention",
}  # fmt: skip
COMPLETIONS: Final = _GENERATION | {"prompt", "suffix", "best_of"}
RESPONSES: Final = _SAMPLING | {
    "model", "user", "stream", "stream_options", "input", "instructions", "max_output_tokens", "max_tool_calls",
    "metadata", "include", "include_reasoning", "parallel_tool_calls", "reasoning", "service_tier", "store", "text",
    "tool_choice", "tools", "top_logprobs", "truncation", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "safety_identifier", "chat_template_kwargs",
    # Taken where they ask for nothing: see `policy/responses.py`.
    "previous_response_id", "conversation", "prompt", "background",
}  # fmt: skip
# `stream` is taken on every path, where it cannot be true too: some clients always send it.
_POOLING: Final = frozenset(
    {
        "model", "user", "stream", "truncate_prompt_tokens", "truncation_side", "padding", "use_activation",
        "chat_template_kwargs",
    }
)  # fmt: skip
EMBEDDINGS: Final = _POOLING | _TEMPLATE | {"input", "encoding_format", "dimensions", "embed_dtype", "endianness"}
_SCORING: Final = _POOLING | {"instruction", "max_tokens_per_query", "max_tokens_per_doc"}
SCORE: Final = _SCORING | {"text_1", "text_2", "data_1", "data_2", "queries", "documents", "items"}
RERANK: Final = _SCORING | {"query", "documents", "top_n"}
TOKENIZE: Final = _TEMPLATE | {"model", "stream", "prompt", "tools", "return_token_strs"}
DETOKENIZE: Final = frozenset({"model", "stream", "tokens"})
