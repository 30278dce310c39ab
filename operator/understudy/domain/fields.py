"""Fields of a request that no engine ever gets from a client: the API refuses to allow them, the gateway to pass them.

By each of them one client could change the engine, its cache or its order of work for others. `cache_salt` is the
gateway's own: it keeps tenants' prefix caches apart.
"""

from typing import Final

NEVER_PASSED: Final = (
    "chat_template",
    "kv_transfer_params",
    "ec_transfer_params",
    "mm_processor_kwargs",
    "media_io_kwargs",
    "priority",
    "request_id",
    "session_id",
    "vllm_xargs",
    "cache_salt",
)
