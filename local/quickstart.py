"""The last part of `up`: a real model answers through the gateway, word by word; then, what to try next."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from local import cache, kube, release
from local.commands import ask
from local.kube import kubectl
from local.steps import CommandFailed, Step, step

NAMESPACE = "stories"
DEPLOYMENT = "storyteller"
QUESTION = "Tell me a story about a lighthouse."
READY_DEADLINE = 300.0


def run() -> None:
    """Apply `manifests/quickstart/`, wait until the deployment is Ready, stream one answer, say what to try next."""
    with step("apply manifests/quickstart") as current:
        current.run(
            kubectl("apply", "--server-side", "--force-conflicts", "-f", str(cache.REPOSITORY / "manifests/quickstart"))
        )
    with step("wait until the model answers") as current:
        _wait_ready(current)
    key = release.create_key()
    with step("ask through the gateway") as current:
        # A new key reaches every gateway within a second; until then it is refused.
        end = time.monotonic() + 15
        while not (words := _try(key)):
            if time.monotonic() > end:
                raise CommandFailed("the gateway did not accept the new key within 15 s")
            time.sleep(0.5)
        print(f"\n  {QUESTION}\n  » ", end="", flush=True)
        count = 0
        for word in words:
            count += 1
            print(word.replace("\n", " "), end="", flush=True)
        print("\n")
        if not count:
            raise CommandFailed("the answer had no words")
        current.note(f"{count} pieces")
    _next_steps(key)


def _wait_ready(current: Step) -> None:
    end = time.monotonic() + READY_DEADLINE
    while True:
        text = ask(kubectl("-n", NAMESPACE, "get", "mdep", DEPLOYMENT, "-o", "json"), seconds=10)
        status = json.loads(text).get("status", {}) if text else {}
        conditions = {c["type"]: c for c in status.get("conditions", [])}
        if conditions.get("Ready", {}).get("status") == "True":
            return
        if conditions.get("Stalled", {}).get("status") == "True":
            raise CommandFailed(f"{conditions['Stalled']['reason']}: {conditions['Stalled'].get('message', '')}")
        if time.monotonic() > end:
            current.note(ask(kubectl("-n", NAMESPACE, "describe", "mdep,pod"), seconds=10) or "")
            raise CommandFailed(f"{NAMESPACE}/{DEPLOYMENT} not Ready after {READY_DEADLINE:.0f} s")
        current.progress(status.get("plan") or "waiting for the operator's first word")
        time.sleep(1)


def _try(key: str) -> Iterator[str] | None:
    body = {
        "model": DEPLOYMENT,
        "messages": [{"role": "user", "content": QUESTION}],
        "max_tokens": 48,
        "stream": True,
    }
    request = urllib.request.Request(
        f"{release.GATEWAY_URL}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        answer = urllib.request.urlopen(request, timeout=120)
    except urllib.error.HTTPError as error:
        if error.code in (401, 404, 503, 504):
            return None
        raise CommandFailed(f"the gateway answered {error.code}: {error.read().decode(errors='replace')}") from error
    except OSError:
        return None
    return _words(answer)


def _words(lines: Iterator[bytes]) -> Iterator[str]:
    for line in lines:
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            continue
        event = json.loads(line[len(b"data: ") :])
        if "error" in event:
            raise CommandFailed(f"the stream ended with an error: {event['error']}")
        for choice in event.get("choices", []):
            if piece := choice.get("delta", {}).get("content"):
                yield piece


def _next_steps(key: str) -> None:
    kubectl_line = " ".join(kube.kubectl())
    print(
        f"""That was a real vLLM pod (a tiny model with random weights: hence the gibberish). What to try next:

  alias k='{kubectl_line}'
  export KEY={key}

  k -n {NAMESPACE} get mdep,msnap,rtable,pods
  curl -N {release.GATEWAY_URL}/v1/chat/completions -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' \\
    -d '{{"model": "{DEPLOYMENT}", "stream": true, "messages": [{{"role": "user", "content": "Hello"}}]}}'

  A first rollout by hand, in five minutes: README.md. Remove everything: make down.
"""
    )
